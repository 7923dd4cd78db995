"""A segmentation at the T1w's own resolution: regions, and probabilities of tissue.

Posteriors are interpolated, not labels, so that borders of regions are smooth. All posteriors of
an image of 1 mm would take gigabytes; one class at a time, in the box where it occurs, is little.
"""

from __future__ import annotations

from collections.abc import Iterator

import nibabel as nib
import numpy as np
from scipy import ndimage

from .labels import TISSUES
from .segment import Segmentation

_SMALL = 0.02  # a region whose posterior never reaches this is nowhere the most probable


def regions_in_t1w(segmentation: Segmentation, t1w: nib.Nifti1Image) -> nib.Nifti1Image:
    """Index of the most probable region of every voxel of a T1w, int16; 0 outside the brain."""
    best = np.zeros(t1w.shape[:3], dtype=np.float32)
    found = np.zeros(t1w.shape[:3], dtype=np.int16)
    for number, index in enumerate(segmentation.labels.indices):
        posterior = segmentation.on_grid(segmentation.posteriors[:, number])
        if index == 0:
            posterior[~segmentation.where] = 1
        for box, values in _interpolated(segmentation, posterior, t1w, above=_SMALL):
            larger = values > best[box]
            best[box][larger] = values[larger]
            found[box][larger] = index
    return nib.Nifti1Image(found, t1w.affine)


def tissues_in_t1w(segmentation: Segmentation, t1w: nib.Nifti1Image) -> dict[str, nib.Nifti1Image]:
    """Probability of each of ``TISSUES`` in every voxel of a T1w, float32, 0 to 1."""
    images = {}
    for number, name in enumerate(TISSUES):
        probability = np.zeros(t1w.shape[:3], dtype=np.float32)
        posterior = segmentation.on_grid(segmentation.tissues[:, number])
        for box, values in _interpolated(segmentation, posterior, t1w):
            probability[box] = values
        images[name] = nib.Nifti1Image(np.clip(probability, 0, 1), t1w.affine)
    return images


def _interpolated(
    segmentation: Segmentation, posterior: np.ndarray, t1w: nib.Nifti1Image, above: float = 0.0
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Box of the T1w in which a posterior (D, H, W) is `above` something, and its values there.

    Nothing where it occurs nowhere, or outside of the image only.
    """
    high = ndimage.find_objects((posterior > above).astype(np.uint8))
    if not high:
        return
    # a voxel more on every side, because interpolation reaches so far
    low = np.maximum([part.start - 1 for part in high[0]], 0)
    end = np.minimum([part.stop + 1 for part in high[0]], posterior.shape)
    source = posterior[tuple(slice(a, b) for a, b in zip(low, end, strict=True))]
    to_grid = np.linalg.inv(segmentation.to_t1w @ segmentation.affine) @ t1w.affine
    corners = np.array(np.meshgrid(*zip(low, end - 1, strict=True))).reshape(3, 8).T
    reached = nib.affines.apply_affine(np.linalg.inv(to_grid), corners)
    start = np.maximum(np.floor(reached.min(axis=0)).astype(int), 0)
    stop = np.minimum(np.ceil(reached.max(axis=0)).astype(int) + 1, t1w.shape[:3])
    if (stop <= start).any():
        return
    offset = nib.affines.apply_affine(to_grid, start) - low
    size = tuple(int(n) for n in stop - start)
    values = ndimage.affine_transform(
        source, to_grid[:3, :3], offset, output_shape=size, output=np.float32, order=1
    )
    yield tuple(slice(a, b) for a, b in zip(start, stop, strict=True)), values
