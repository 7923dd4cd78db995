"""Size-matched nulls: what occluding just any piece of the same size changes.

Larger regions change the predicted age more. A region is therefore compared with connected parcels
at random places: a null of location, which keeps size and compactness. Parcels of one compartment
have the sizes of its regions and serve all of them, each carried to the region's size. Sources:
size-matched null parcels as in Gordon et al. 2016 (Cerebral Cortex 26:288), which rotates parcels
on the cortical surface where these are grown in the volume; p values as in Phipson and Smyth 2010
(Statistical Applications in Genetics and Molecular Biology 9:39), which are never 0.
"""

from .parcels import NullParcels, compartment_masks, null_parcels
from .scores import SizeLaw, null_scores

__all__ = ["NullParcels", "SizeLaw", "compartment_masks", "null_parcels", "null_scores"]
