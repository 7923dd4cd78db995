"""Brain extraction by a propagated template mask, refined by the image's own intensities."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bidsapp_brainage.errors import DataError

from .distance import box_around, filled, near_to, within
from .transforms import apply_xfm, gaussian

STRIPPED_ZERO_FRACTION = 0.4
STRIPPED_VOLUME_ML = 2300.0
MIN_BRAIN_ML = 500.0
GROW_MM = 4.0
FLUID_MM = 2.5
DEEP_MM = 6.0  # below the edge of the mask: tissue, whatever its edge is


def is_skull_stripped(img: nib.Nifti1Image) -> bool:
    """Tell whether a conformed T1w image holds a brain only.

    A stripped image has one exact background value over much of the field of view, and what
    remains fits into the volume of a brain (under 2.3 litres); a head does not.
    """
    data = np.asarray(img.dataobj, dtype=np.float32)
    voxel_ml = float(abs(np.linalg.det(img.affine[:3, :3]))) / 1000.0
    empty_fraction = float(np.mean(data == data.min()))
    support_ml = float(np.sum(data > 0.02 * np.percentile(data.ravel(order="K"), 99.9))) * voxel_ml
    return empty_fraction > STRIPPED_ZERO_FRACTION and support_ml < STRIPPED_VOLUME_ML


def extract_brain(
    t1w: nib.Nifti1Image,
    template_mask: nib.Nifti1Image,
    inverse_xfm: sitk.Transform,
    *,
    stripped: bool,
) -> nib.Nifti1Image:
    """Return the brain mask (uint8, one piece without holes) in the space of a bias-corrected T1w.

    The template's mask is propagated by `inverse_xfm` (:func:`~.transforms.inverse_transform`, with
    the nonlinear warp), and in an image that is `stripped` cut to what the image shows. It then
    grows into brain-bright voxels next to it, sheds rims of fat and marrow, and takes in the fluid
    around the cortex. The fluid's rim is part of the mask of a stripped image too, although the
    image is empty there: networks react to the edge of the mask, so it must be the same kind for
    both.

    Raises
    ------
    DataError
        Less than 500 ml are left: the image is no brain or the registration failed.
    """
    soft = apply_xfm(_as_float(template_mask), t1w, inverse_xfm, sparse=True)
    propagated = np.asarray(soft.dataobj) >= 0.5
    data = np.asarray(t1w.dataobj, dtype=np.float32)
    zooms = np.linalg.norm(t1w.affine[:3, :3], axis=0)
    if stripped:
        propagated &= filled(data > 0)
    box = box_around(propagated, np.ceil(3 * GROW_MM / zooms).astype(int))
    mask = np.zeros_like(propagated)
    mask[box] = _one_piece(_refined(propagated[box], data[box], zooms))
    volume_ml = float(mask.sum()) * float(np.prod(zooms)) / 1000.0
    if volume_ml < MIN_BRAIN_ML:
        raise DataError(
            f"The brain mask holds {volume_ml:.0f} ml (at least {MIN_BRAIN_ML:.0f} expected). "
            "The image may not be a T1w head scan, or it is badly cropped: look at it, and if the "
            "brain is already extracted, run with `skull_strip` skip."
        )
    return nib.Nifti1Image(mask.astype(np.uint8), t1w.affine)


def _as_float(mask: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.Nifti1Image((np.asarray(mask.dataobj) > 0).astype(np.float32), mask.affine)


def _refined(mask: np.ndarray, image: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Grow into grey matter next to the mask and shed what is brighter than white matter."""
    inner = near_to(~mask, zooms, DEEP_MM)
    near = within(mask, zooms, GROW_MM)
    low, high = _tissue_range(image.T[inner.T > DEEP_MM])  # as it lies in memory
    smooth = gaussian(image, 0.5 / zooms)
    tissue = (smooth > low) & (smooth < high)
    reachable = _opened(tissue & near | (inner > 2.0), zooms, 1.6)
    grown = mask | (reachable & near)
    rim = (inner > 0) & (inner <= 3.0) & (smooth >= high)
    brain = _smoothed_mask(grown & ~rim, zooms)
    # The template's mask hugs the cortex; cerebrospinal fluid around it belongs inside.
    fluid = within(brain, zooms, FLUID_MM) & ((smooth < high) | brain)
    return _smoothed_mask(fluid, zooms)


def _tissue_range(sample: np.ndarray) -> tuple[float, float]:
    """Return intensities between which grey and white matter lie (from deep brain voxels)."""
    if sample.size == 0:
        return 0.0, float("inf")
    white = float(np.percentile(sample, 80))
    return 0.55 * white, 1.25 * white


def _opened(mask: np.ndarray, zooms: np.ndarray, radius_mm: float) -> np.ndarray:
    """Morphological opening with a ball (millimetres), by distances."""
    return within(~within(~mask, zooms, radius_mm), zooms, radius_mm)


def _smoothed_mask(mask: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    closed = gaussian(mask.astype(np.float32), 1.2 / zooms) > 0.5
    return filled(closed)


def _one_piece(mask: np.ndarray) -> np.ndarray:
    labels, n = ndimage.label(mask.T)
    if n > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        mask = (labels == sizes.argmax()).T
    return filled(mask)
