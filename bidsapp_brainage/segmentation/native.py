"""A segmentation at the T1w's own resolution: regions, and probabilities of tissue.

Posteriors are interpolated, not labels, so that borders of regions are smooth. All posteriors of
an image of 1 mm would take gigabytes; those of a slice are little. Most voxels need none: where one
region has more than half of the posterior at all eight voxels around, it has more than half there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp_brainage.imaging.distance import box_around
from bidsapp_brainage.imaging.transforms import box_through

from .labels import TISSUES
from .segment import Segmentation

_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))


def regions_in_t1w(segmentation: Segmentation, t1w: nib.Nifti1Image) -> nib.Nifti1Image:
    """Index of the most probable region of every voxel of a T1w, int16; 0 outside the brain."""
    indices = segmentation.labels.indices
    found = np.zeros(t1w.shape[:3], dtype=np.int16, order="F")
    if not segmentation.where.any():
        return nib.Nifti1Image(found, t1w.affine)
    number = np.full(segmentation.where.shape, -1, dtype=np.int32)  # row of the posteriors
    number[segmentation.where] = np.arange(len(segmentation.posteriors), dtype=np.int32)
    sure = _cells(_certain(segmentation), lambda a, b: np.where(a == b, a, np.int32(-1))).ravel()
    for places, around in _slices(segmentation, t1w):
        classes = sure[around.first]
        open_ones = np.flatnonzero(classes < 0)
        rows = number.ravel()[around.corners(open_ones)]
        classes[open_ones] = _most_probable(segmentation, rows, around.weights(open_ones))
        found.T[places] = indices[classes]
    return nib.Nifti1Image(found, t1w.affine)


def tissues_in_t1w(segmentation: Segmentation, t1w: nib.Nifti1Image) -> dict[str, nib.Nifti1Image]:
    """Probability of each of ``TISSUES`` in every voxel of a T1w, float32, 0 to 1."""
    import torch

    maps = np.zeros((len(TISSUES), *t1w.shape[2::-1]), dtype=np.float32)
    amounts = np.zeros((segmentation.where.size, len(TISSUES)), dtype=np.float32)
    amounts[segmentation.where.ravel()] = segmentation.tissues
    table = torch.from_numpy(amounts)
    everywhere = slice(None)
    for (number, rows, columns), around in _slices(segmentation, t1w):
        mixed = _weighted(table, around.corners(everywhere), around.weights(everywhere))
        maps[:, number, rows, columns] = np.clip(mixed, 0, 1).T
    return {
        name: nib.Nifti1Image(one.T, t1w.affine) for name, one in zip(TISSUES, maps, strict=True)
    }


@dataclass(frozen=True)
class _Around:
    """Eight voxels of the grid around each of some points.

    Attributes
    ----------
    first : ndarray of int, shape (n_points,)
        The first of them, as an index into the flattened grid.
    part : ndarray of float32, shape (3, n_points)
        Way from there to the next along each axis, 0 to 1.
    steps : tuple of int
        From a voxel of the flattened grid to the next along each axis.
    """

    first: np.ndarray
    part: np.ndarray
    steps: tuple[int, int, int]

    def corners(self, points: np.ndarray | slice) -> np.ndarray:
        """Indices into the flattened grid of the voxels around some of the points, (n, 8)."""
        return np.asarray(self.first[points, None] + _CORNERS @ self.steps)

    def weights(self, points: np.ndarray | slice) -> np.ndarray:
        """Weights of these voxels in a linear interpolation, float32, (n, 8)."""
        x, y, z = (np.stack([1 - part[points], part[points]], axis=1) for part in self.part)
        plane = x[:, :, None] * y[:, None, :]
        return np.asarray((plane[:, :, :, None] * z[:, None, None, :]).reshape(-1, 8))


def _slices(
    segmentation: Segmentation, t1w: nib.Nifti1Image
) -> Iterator[tuple[tuple[int, np.ndarray, np.ndarray], _Around]]:
    """Voxels of a T1w that touch what was segmented, slice by slice.

    Their place is the number of the slice, and rows and columns in it: indices of the transposed
    image, whose slices lie in one piece in memory.
    """
    where = segmentation.where
    if not where.any():
        return
    to_t1w = np.linalg.inv(t1w.affine) @ segmentation.to_t1w @ segmentation.affine
    box = box_through(box_around(where, np.ones(3, dtype=int)), to_t1w, t1w.shape[:3])
    touched = _cells(where, np.logical_or).ravel()
    last = np.array(where.shape) - 1
    steps = (where.shape[1] * where.shape[2], where.shape[2], 1)
    matrix = np.linalg.inv(to_t1w)
    rows, columns = np.mgrid[box[1], box[0]].reshape(2, -1)
    for number in range(box[2].start, box[2].stop):
        reached = [
            columns * a + rows * b + (number * c + shift) for a, b, c, shift in matrix[:3].tolist()
        ]
        near = np.flatnonzero(
            np.logical_and.reduce([(x >= 0) & (x <= n) for x, n in zip(reached, last, strict=True)])
        )
        points = np.stack([x[near] for x in reached])
        base = np.minimum(points.astype(np.int32), last[:, None] - 1)
        first = steps @ base
        seen = np.flatnonzero(touched[first])
        around = _Around(first[seen], (points - base)[:, seen].astype(np.float32), steps)
        yield (number, rows[near[seen]], columns[near[seen]]), around


def _cells(
    values: np.ndarray, joined: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """What a voxel and its seven next neighbours have in common; at the last ones anything."""
    for axis in range(3):
        values = joined(values, np.roll(values, -1, axis))
    return values


def _certain(segmentation: Segmentation) -> np.ndarray:
    """Class with more than half of the posterior, int32, shape (D, H, W); -1 where there is none.

    What was not segmented is outside the brain.
    """
    posteriors = segmentation.posteriors
    best = posteriors.argmax(axis=1)
    much = posteriors[np.arange(len(best)), best] > 0.5
    return segmentation.on_grid(np.where(much, best, -1).astype(np.int32))


def _most_probable(segmentation: Segmentation, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Class with the largest interpolated posterior; rows (n, 8) are -1 outside the brain."""
    import torch

    outside = np.where(rows < 0, weights, np.float32(0))
    table = torch.from_numpy(segmentation.posteriors)
    mixed = _weighted(table, np.maximum(rows, 0), weights - outside)
    mixed[:, 0] += outside.sum(axis=1)
    return np.asarray(mixed.argmax(axis=1))


def _weighted(table: Any, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums (n, n_columns) of rows (n, 8) of a tensor."""
    import torch

    with torch.inference_mode():
        return np.asarray(
            torch.nn.functional.embedding_bag(
                torch.from_numpy(rows.astype(np.int64)),
                table,
                per_sample_weights=torch.from_numpy(weights),
                mode="sum",
            )
        )
