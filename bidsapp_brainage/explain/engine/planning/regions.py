"""Positions of several regions: of each by itself, or of all with an axis of regions in front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.explain.engine.geometry import (
    Coordinates,
    Patch,
    RowNumbers,
    Shape,
    enclosing,
)

Patches: TypeAlias = tuple[Patch | None, ...]
Numbers: TypeAlias = tuple[RowNumbers | None, ...]


def side_by_side(patches: Patches) -> Patch | None:
    """Patches as one, with an axis of regions in front."""
    present = [patch for patch in patches if patch is not None]
    if not present:
        return None
    low, high = enclosing(present)
    box = np.zeros((len(patches), *(b - a for a, b in zip(low, high, strict=True))), dtype=bool)
    for number, patch in enumerate(patches):
        if patch is not None:
            box[number] = patch.within(low, high)
    return Patch((0, *low), box)


def apart(patch: Patch | None, n_regions: int) -> Patches:
    """The patches of regions, from one with an axis of regions in front."""
    if patch is None:
        return (None,) * n_regions
    return tuple(Patch(patch.origin[1:], box) if box.any() else None for box in patch.box)


def bounds(patches: Patches, n_regions: int, n_dims: int) -> tuple[Coordinates, Coordinates]:
    """First positions of the regions, and those behind the last (regions, axes); 0 without any."""
    low, high = np.zeros((2, n_regions, n_dims), dtype=np.int64)
    (first, *_) = patches
    if first is not None and first.box.ndim > n_dims:
        for axis in range(n_dims):
            others = tuple(k + 1 for k in range(n_dims) if k != axis)
            used = np.logical_or.reduce(first.box, axis=others)
            start, length = first.origin[axis + 1], used.shape[1]
            some = used.any(axis=1)
            low[:, axis] = np.where(some, start + used.argmax(axis=1), 0)
            high[:, axis] = np.where(some, start + length - used[:, ::-1].argmax(axis=1), 0)
        return low, high
    for number, patch in enumerate(patches):
        if patch is not None:
            low[number], high[number] = patch.origin, patch.end
    return low, high


def everything(grid: Shape, n_regions: int, *, joint: bool) -> Patches:
    """All positions of a grid for each region."""
    if joint:
        return (Patch((0,) * (len(grid) + 1), np.ones((n_regions, *grid), dtype=bool)),)
    return (Patch((0,) * len(grid), np.ones(grid, dtype=bool)),) * n_regions


def positions(patches: Patches, n_dims: int) -> tuple[NDArray[np.int64], Coordinates]:
    """Region and coordinates of every position, in the order of rows."""
    (first, *_) = patches
    if first is not None and first.box.ndim > n_dims:
        found = first.coordinates()
        return found[:, 0], found[:, 1:]
    parts = [(k, p.coordinates()) for k, p in enumerate(patches) if p is not None]
    regions = [np.full(len(part), k) for k, part in parts]
    nothing = np.zeros((0, n_dims), dtype=np.int64)
    return np.concatenate([nothing[:, 0], *regions]), np.concatenate(
        [nothing, *(part for _, part in parts)]
    )


def rows_in(
    numbers: Numbers, starts: Sequence[int], low: Coordinates, shape: Shape
) -> NDArray[np.int32]:
    """Changed rows in a window of each region (regions, *shape), -1 where there are none.

    Windows begin at `low`; the rows of each region begin at `starts`.
    """
    found = np.full((len(low), *shape), -1, dtype=np.int32)
    (first, *_) = numbers
    if first is not None and first.numbers.ndim > low.shape[1]:
        if len(first.numbers):
            origin, grid = np.asarray(first.origin[1:]), first.numbers.shape[1:]
            places, inside = window_positions(low - origin, shape, grid)
            places += math.prod(grid) * np.arange(len(low)).reshape(-1, *[1] * len(shape))
            found = np.where(inside, first.numbers.ravel()[places], np.int32(-1))
        return found
    for k, rows in enumerate(numbers):
        if rows is not None:
            grid = rows.numbers.shape
            places, inside = window_positions(low[k : k + 1] - rows.origin, shape, grid)
            own = np.where(inside[0], rows.numbers.ravel()[places[0]], np.int32(-1))
            found[k] = np.where(own >= 0, own + np.int32(starts[k]), np.int32(-1))
    return found


def window_positions(
    low: Coordinates, shape: Shape, grid: Shape
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Flat positions on a grid of windows that begin at `low` (windows, *shape).

    Positions outside the grid are moved into it, and are False in the second array.
    """
    n_axes = len(shape)
    places, inside = np.zeros((1,) * (n_axes + 1), np.int64), np.ones((1,) * (n_axes + 1), bool)
    for axis, (side, n) in enumerate(zip(shape, grid, strict=True)):
        along = low[:, axis, None] + np.arange(side)
        form = [len(low), *(side if k == axis else 1 for k in range(n_axes))]
        step = math.prod(grid[axis + 1 :])
        places = places + (np.clip(along, 0, n - 1) * step).reshape(form)
        inside = inside & ((along >= 0) & (along < n)).reshape(form)
    return places, inside


def count(patch: Patch | None) -> int:
    """Number of positions."""
    return 0 if patch is None else int(np.count_nonzero(patch.box))


def counts(patches: Patches, n_regions: int, *, joint: bool) -> tuple[int, ...]:
    """Number of positions of each region."""
    if not joint:
        return tuple(count(patch) for patch in patches)
    (everything,) = patches
    if everything is None:
        return (0,) * n_regions
    sums: NDArray[np.int64] = np.count_nonzero(everything.box.reshape(n_regions, -1), axis=1)
    return tuple(sums.tolist())
