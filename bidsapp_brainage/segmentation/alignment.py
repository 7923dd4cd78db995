"""Tissue of a brain where that of other people lies.

An affine registration of intensities leaves a few millimetres, other ones where a scanner has
another contrast, or where the head is short or the skull was removed. Networks that look at fixed
places take them for age. Tissue has the same values on every scanner, so it is aligned once more.
"""

from __future__ import annotations

from typing import NamedTuple

import nibabel as nib
import numpy as np

from bidsapp_brainage.imaging.network_input import Tissue
from bidsapp_brainage.imaging.registration import refine_affine
from bidsapp_brainage.imaging.transforms import apply_xfm

from .segment import Segmentation


class Aligned(NamedTuple):
    """``tissue`` on the segmentation's grid, and ``affine`` from there (RAS mm) to the T1w's."""

    tissue: Tissue
    affine: np.ndarray


def aligned(found: Segmentation, mean_tissue: nib.Nifti1Image) -> Aligned:
    """Move the tissue of a brain by the affine that brings it closest to the mean of many brains.

    Parameters
    ----------
    found : Segmentation
        In template space.
    mean_tissue : nibabel.Nifti1Image
        From :func:`.card.load_mean_tissue`.

    Returns
    -------
    Aligned
        As it was, where there is no brain.
    """
    units, regions = found.tissue
    if not found.brain.any():
        return Aligned(found.tissue, found.to_t1w)
    moved = refine_affine(units, mean_tissue)
    labels = np.asarray(apply_xfm(regions, regions, moved, interpolation="nearest").dataobj)
    amounts = np.asarray(apply_xfm(units, units, moved).dataobj)
    tissue = Tissue(
        nib.Nifti1Image(np.where(labels > 0, amounts, np.float32(0)), found.affine),
        nib.Nifti1Image(labels.astype(np.int16), found.affine),
    )
    return Aligned(tissue, found.to_t1w @ moved)
