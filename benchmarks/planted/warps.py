"""Local changes of a brain, driven by labels: a region shrinks, swells, loses its rim or signal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp_brainage.explain.engine.geometry import Patch

REACH = 3  # voxels around a region that move with its border
SOFTNESS = 1.5  # voxels over which the movement fades on either side of the border
STEPS = 12  # of the search for the shift that changes the volume by a share


class Field(NamedTuple):
    """Where the voxels of a box look: ``box`` in the volume, and positions (3, *box) in the box."""

    box: tuple[slice, ...]
    positions: NDArray[np.float64]

    def pull(self, volume: NDArray[np.floating]) -> NDArray[np.float32]:
        """The box of a volume (D, H, W) after the change."""
        return self.pull_box(np.asarray(volume[self.box], dtype=np.float32))

    def nearest(self, labels: NDArray[np.integer]) -> NDArray[np.integer]:
        """The same for labels."""
        return ndimage.map_coordinates(labels[self.box], self.positions, order=0, mode="nearest")

    def pull_box(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of what the box holds."""
        return ndimage.map_coordinates(part, self.positions, order=1, mode="nearest")


def shrinking(mask: NDArray[np.bool_], share: float) -> Field:
    """Let a region shrink by a share of its volume; what lies around it takes its place.

    Voxels look along the normal of the region's border, so the border moves and what is on either
    side is pressed or stretched within a few voxels. A negative share lets the region swell.

    Parameters
    ----------
    mask : ndarray of bool, shape (D, H, W)
        The region; it needs voxels.
    share : float
        Part of its volume that it loses, below 1.
    """
    box = _box(mask, REACH)
    depth = _depth(mask[box])
    normals = np.stack(np.gradient(ndimage.gaussian_filter(depth, 0.7)))
    normals /= np.maximum(np.linalg.norm(normals, axis=0), 1e-6)
    fading = np.exp(-0.5 * (depth / SOFTNESS) ** 2)
    grid = np.indices(depth.shape).astype(np.float64)
    inside = mask[box].astype(np.float32)
    goal = (1 - share) * inside.sum()
    low, high = (0.0, REACH) if share > 0 else (-float(REACH), 0.0)
    for _ in range(STEPS):  # the volume falls as the shift grows
        shift = (low + high) / 2
        positions = grid - shift * fading * normals
        volume = ndimage.map_coordinates(inside, positions, order=1, mode="nearest").sum()
        low, high = (shift, high) if volume > goal else (low, shift)
    return Field(box, positions)


def thinned(
    volume: NDArray[np.floating], mask: NDArray[np.bool_], share: float
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """Turn a share of a region's tissue into fluid (0), from the side where fluid is nearest.

    Parameters
    ----------
    volume : ndarray, shape (D, H, W)
        Tissue units.
    mask : ndarray of bool, shape (D, H, W)
    share : float
        Part of the tissue that is lost, 0 to 1.
    """
    box = _box(mask, 1)
    inside, values = mask[box], np.array(volume[box], dtype=np.float32)
    wet = ndimage.distance_transform_edt(volume > 0.5)[box]
    order = np.argsort(wet[inside], kind="stable")
    tissue = values[inside]
    gone = np.cumsum(np.maximum(tissue[order], 0))
    left = np.clip((gone - share * gone[-1]) / np.maximum(tissue[order], 1e-6), 0, 1)
    tissue[order] *= left.astype(np.float32)
    values[inside] = tissue
    return box, values


def patch_of(before: NDArray[np.floating], box: tuple[slice, ...], after: NDArray) -> Patch | None:
    """The voxels that a change of a box touches."""
    changed = np.asarray(after != before[box])
    return Patch(tuple(part.start for part in box), changed) if changed.any() else None


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the border in voxels, positive inside."""
    inside, outside = (ndimage.distance_transform_edt(part) for part in (mask, ~mask))
    return np.where(mask, inside - 0.5, 0.5 - outside)


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip(found, mask.shape, strict=True)
    )
