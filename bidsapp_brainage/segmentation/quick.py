"""A brain found and segmented in a raw head, within seconds.

Nothing is corrected, masked or warped before. The head is laid on the mean tissue of many brains
by an affine at 4 mm; then the network looks where brains are, and once more at what it took for
brain.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from scipy import ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.conversion import to_sitk
from bidsapp_brainage.imaging.distance import within
from bidsapp_brainage.imaging.fitting.initialisation import best_poses
from bidsapp_brainage.imaging.network_input import card_grid
from bidsapp_brainage.imaging.registration import (
    AMBIGUOUS,
    MIN_CORRELATION,
    RIM_MM,
    by_correlation,
    robust_range,
    similarity,
)
from bidsapp_brainage.imaging.transforms import apply_xfm

from .segment import Segmentation, segment_on_grid

if TYPE_CHECKING:
    from .card import SegmentationCard
    from .network import SegmentationNet

FINE_MM, COARSE_MM = 2.0, 4.0
_BRAIN = 0.3  # mean tissue units from which a place belongs to the brain
_CLOSED = 3  # voxels: ventricles and sulci are a part of it
_MARGIN = 8  # voxels added around the grid, so that the rim has room
#: Levels, first and last step (mm) of the two stages of the affine.
_STAGES = (
    (MappingProxyType({2: 4.0}), (8.0, 0.3)),
    (MappingProxyType({1: 2.0}), (3.0, 0.1)),
)
_ITERATIONS = 60


@dataclass(frozen=True)
class QuickBrain:
    """What was found in a raw head.

    Attributes
    ----------
    t1w : nibabel.Nifti1Image
        The head on the grid of the segmentation network, float32, intensities as in the file.
    segmentation : Segmentation
        Of that image; its ``mask`` is the brain found at the first look.
    """

    t1w: nib.Nifti1Image
    segmentation: Segmentation


def quick_brain(
    t1w: nib.Nifti1Image,
    network: SegmentationNet,
    card: SegmentationCard,
    mean_tissue: nib.Nifti1Image,
    *,
    n_threads: int | None = None,
) -> QuickBrain:
    """Find and segment the brain in a raw head.

    Parameters
    ----------
    t1w : nibabel.Nifti1Image
        From :func:`bidsapp_brainage.imaging.conform.conform_t1w`; a head or a brain.
    network, card, mean_tissue
        From :func:`.card.load_network`, :func:`.card.find_segmentation` and
        :func:`.card.load_mean_tissue`.
    n_threads : int, optional
        CPU threads of the network; None leaves torch's setting alone.

    Raises
    ------
    DataError
        Nothing in the image resembles a brain.
    """
    small, template = averaged(t1w, FINE_MM), _Template(mean_tissue)
    affine = coarse_affine(small, template)
    head = apply_xfm(small, card_grid(card.grid), affine)
    volume, place = np.asarray(head.dataobj), template.brain
    for _ in range(2):
        found = segment_on_grid(
            volume, place, affine, network, card, both_ways=False, n_threads=n_threads
        )
        place = found.brain
        if not place.any():
            raise DataError("The segmentation finds no brain in this image: is it a T1w of a head?")
    return QuickBrain(head, found)


def averaged(image: nib.Nifti1Image, voxel_mm: float) -> nib.Nifti1Image:
    """Means of blocks of voxels that are together not larger than ``voxel_mm`` along any axis."""
    zooms = np.linalg.norm(image.affine[:3, :3], axis=0)
    factors = np.maximum(1, np.floor(1.05 * voxel_mm / zooms)).astype(int)
    data = np.asarray(image.dataobj, dtype=np.float32)
    for axis, factor in enumerate(factors):
        size = data.shape[axis] // factor
        data = data[(slice(None),) * axis + (slice(size * factor),)]
        blocks = (*data.shape[:axis], size, factor, *data.shape[axis + 1 :])
        data = data.reshape(blocks).mean(axis=axis + 1)
    affine = image.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(image.affine, (factors - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * factors
    return nib.Nifti1Image(data, affine)


class _Template:
    """The mean tissue of many brains as something to lay a head on."""

    def __init__(self, mean_tissue: nib.Nifti1Image) -> None:
        units = np.asarray(mean_tissue.dataobj, dtype=np.float32)
        zooms = np.linalg.norm(mean_tissue.affine[:3, :3], axis=0)
        self.brain = ndimage.binary_closing(units > _BRAIN, iterations=_CLOSED)
        affine = mean_tissue.affine.copy()
        affine[:3, 3] = nib.affines.apply_affine(affine, np.full(3, -_MARGIN))
        rim = within(np.pad(self.brain, _MARGIN), zooms, RIM_MM).astype(np.float32)
        wide = averaged(nib.Nifti1Image(rim, affine), COARSE_MM)
        self.tissue = averaged(nib.Nifti1Image(np.pad(units, _MARGIN), affine), COARSE_MM)
        inside = (np.asarray(wide.dataobj) >= 0.5).astype(np.uint8)
        self.wide = nib.Nifti1Image(inside, wide.affine)


def coarse_affine(t1w: nib.Nifti1Image, template: _Template) -> np.ndarray:
    """Find the affine from the mean tissue to a head, at 8 and 4 mm, from whatever pose.

    Returns
    -------
    numpy.ndarray
        4 x 4, template RAS mm to T1w RAS mm.
    """
    head = robust_range(averaged(t1w, COARSE_MM))
    poses = best_poses(head, template.tissue, template.wide)
    moving, fixed, wide = (to_sitk(image) for image in (head, template.tissue, template.wide))
    fits = [
        by_correlation(fixed, wide, moving, pose.matrix, *_STAGES[0], _ITERATIONS)
        for pose in poses
        if pose.score > poses[0].score - AMBIGUOUS
    ]
    best = max(fits, key=lambda fit: similarity(fixed, wide, moving, fit))
    affine = by_correlation(fixed, wide, moving, best, *_STAGES[1], _ITERATIONS)
    if not (score := similarity(fixed, wide, moving, affine)) >= MIN_CORRELATION:
        raise DataError(
            f"Nothing in the image resembles a brain (correlation {score:.2f}, at least "
            f"{MIN_CORRELATION:.2f} needed). Look at the image: it may be noise, another body part "
            "or another contrast than T1w."
        )
    return affine
