"""What the segmentation network sees."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.distance import grown
from bidsapp_brainage.model.tissue import tissue_units

#: Where levels of tissue are read: an ellipsoid inside the template's brain (RAS mm).
MIDDLE_MM = {"center": (0.0, -21.0, 17.0), "radii": (66.0, 77.0, 52.0)}

RIM_VOXELS = 2  # beyond the brain mask, where it may have cut the cortex
BOUNDS = (-0.2, 1.5)
_PERCENTILES = (1.0, 99.5)
_EMPTY = 0.01  # of bright tissue: what interpolation leaves beyond the edge of a stripped image


def segmentation_input(volume: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale a brain for the segmentation network, and say which voxels it is asked about.

    Parameters
    ----------
    volume : ndarray, shape (D, H, W)
        T1w on the network's grid, any unit from 0; 0 where a skull-stripping tool emptied it.
    mask : ndarray of bool, shape (D, H, W)
        Brain mask on that grid.

    Returns
    -------
    scaled : ndarray of float32, shape (D, H, W)
        The 1st and 99.5th percentiles inside the mask are 0 and 1, cut at ``BOUNDS``; 0 further
        than ``RIM_VOXELS`` steps from the mask and where the image is empty.
    where : ndarray of bool, shape (D, H, W)
        The mask with its rim.

    Raises
    ------
    DataError
        The mask is empty, or the image is the same everywhere in it.
    """
    where = grown(mask, RIM_VOXELS)
    if not mask.any():
        raise DataError("The brain mask is empty on the segmentation's grid: registration failed.")
    shown = volume > _EMPTY * np.percentile(volume[mask], _PERCENTILES[1])
    values = volume[mask & shown]
    low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 0.0)
    if not high > low:
        raise DataError("The brain has the same intensity everywhere: it cannot be segmented.")
    scaled = np.clip((volume - low) / (high - low), *BOUNDS).astype(np.float32)
    return np.where(where & shown, scaled, np.float32(0)), where


def image_units(volume: np.ndarray, inside: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A T1w on a grid in tissue units, -0.5 to 2.5; -1 where it is empty.

    See :func:`bidsapp_brainage.model.tissue.tissue_units`, whose levels are read in an ellipsoid
    inside the template's brain. `affine` (4 x 4) leads from voxels to template RAS mm.
    """
    center = nib.affines.apply_affine(np.linalg.inv(affine), MIDDLE_MM["center"])
    radii = np.array(MIDDLE_MM["radii"]) / np.linalg.norm(affine[:3, :3], axis=0)
    units = tissue_units(volume, inside, {"center": center.tolist(), "radii": radii.tolist()})
    return np.where(volume > 0, np.clip(units, -0.5, 2.5), -1.0)


def evened(volume: np.ndarray, inside: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Give a T1w the same levels of fluid (1), grey (2) and white matter (3) everywhere.

    The network finds the border of grey and white matter at nearly any contrast, but not at quite
    the same place. Where three levels cannot be told apart, the image stays as it is. Parameters
    are those of :func:`image_units`.
    """
    try:
        return image_units(volume, inside, affine) + 1.0
    except DataError:
        return volume
