"""Which positions a sliding window reaches: pure integer geometry in n dimensions.

A set of grid positions is a :class:`Patch`, a boolean box at an origin, so that the work follows
the size of a region and not that of the volume. Coordinates are integer voxel numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]
Coordinates: TypeAlias = NDArray[np.int64]  # (n, n_dims)

# Strides of more phases than this are not told apart: too few rows would be of one phase.
MAX_PHASES = 64


@dataclass(frozen=True)
class Window:
    """A sliding window: output ``o`` reads inputs ``o * stride - padding + dilation * tap``."""

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape

    @staticmethod
    def tiling(kernel: Shape) -> Window:
        """Windows that neither overlap nor leave gaps."""
        zeros, ones = (0,) * len(kernel), (1,) * len(kernel)
        return Window(kernel, kernel, zeros, ones)

    @staticmethod
    def single(n_dims: int) -> Window:
        """The window of pointwise operations: each output reads its own position."""
        return Window.tiling((1,) * n_dims)

    @property
    def size(self) -> int:
        """Number of taps."""
        return math.prod(self.kernel)

    @property
    def extent(self) -> Shape:
        """Length of the input that one output spans, along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def is_single(self) -> bool:
        """Whether each output reads the input at its own position, and nothing else."""
        return self.tiles and self.size == 1

    @property
    def tiles(self) -> bool:
        """Whether windows neither overlap nor leave gaps, and read no padding."""
        return self == Window.tiling(self.kernel)

    def taps(self) -> Coordinates:
        """Offsets of the taps in input positions, last axis fastest; shape (size, n_dims)."""
        steps = [range(0, d * k, d) for k, d in zip(self.kernel, self.dilation, strict=True)]
        return np.array(list(itertools.product(*steps)), dtype=np.int64)

    @property
    def n_phases(self) -> int:
        """Classes of inputs that meet different taps, because outputs lie a stride apart."""
        n = math.prod(self.stride)
        return n if n <= MAX_PHASES else 1

    def phase(self, inputs: Coordinates) -> NDArray[np.int64]:
        """Phase of each input position."""
        if self.n_phases == 1:
            return np.zeros(len(inputs), dtype=np.int64)
        remainder = (inputs + np.asarray(self.padding)) % np.asarray(self.stride)
        return flat_positions(remainder, self.stride)

    def phase_order(self) -> NDArray[np.int64]:
        """Taps in the order of the phase whose inputs meet them."""
        return np.argsort(self._tap_phases(), kind="stable")

    def phase_bounds(self) -> NDArray[np.int64]:
        """Where the taps of each phase begin in that order; then their number."""
        return np.concatenate(
            [[0], np.cumsum(np.bincount(self._tap_phases(), minlength=self.n_phases))]
        )

    def _tap_phases(self) -> NDArray[np.int64]:
        if self.n_phases == 1:
            return np.zeros(self.size, dtype=np.int64)
        return flat_positions(self.taps() % np.asarray(self.stride), self.stride)

    def grid(self, grid: Shape) -> Shape:
        """Shape of the output for inputs of shape `grid`."""
        return tuple(
            (n + 2 * p - e) // s + 1
            for n, p, e, s in zip(grid, self.padding, self.extent, self.stride, strict=True)
        )

    def taps_inside(self, axis: int, n: int) -> int:
        """Taps of all windows along an axis of `n` inputs that meet one of them."""
        n_outputs = self.grid((n,) * len(self.kernel))[axis]
        starts = np.arange(n_outputs) * self.stride[axis] - self.padding[axis]
        places = starts[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
        return int(((places >= 0) & (places < n)).sum())

    def reach(
        self, low: Coordinates, high: Coordinates, grid: Shape
    ) -> tuple[Coordinates, Coordinates]:
        """First outputs, and those behind the last, that reach inputs ``low <= input < high``.

        Outputs lie on a grid of shape `grid`; there are none where the second is not the larger.
        """
        extent, stride, padding = map(np.asarray, (self.extent, self.stride, self.padding))
        first = -((extent - 1 - padding - low) // stride)  # ceil((low + p - (e - 1)) / s)
        last = (high - 1 + padding) // stride + 1
        return np.maximum(first, 0), np.minimum(last, grid)

    def results(self, sides: Shape) -> Shape:
        """Outputs along each axis of a box of inputs with zeros around it."""
        return tuple(
            (n + e - 2) // s + 1 for n, e, s in zip(sides, self.extent, self.stride, strict=True)
        )

    def then(self, pool: Window) -> Window:
        """The dense window that one output of `pool` spans on the input of this window."""
        stride = tuple(a * b for a, b in zip(self.stride, pool.stride, strict=True))
        kernel = tuple(
            (k - 1) * s + e for k, s, e in zip(pool.extent, self.stride, self.extent, strict=True)
        )
        return Window(kernel, stride, self.padding, (1,) * len(kernel))


@dataclass(frozen=True)
class Patch:
    """A set of positions: those where ``box``, moved to ``origin``, is True."""

    origin: Shape
    box: NDArray[np.bool_]

    @staticmethod
    def of_mask(mask: NDArray[np.bool_]) -> Patch | None:
        """Positions of a boolean array; None when there are none."""
        bounds = []
        for axis in range(mask.ndim):
            used = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
            if used.size == 0:
                return None
            bounds.append(slice(int(used[0]), int(used[-1]) + 1))
        return Patch(tuple(b.start for b in bounds), np.ascontiguousarray(mask[tuple(bounds)]))

    @property
    def end(self) -> Shape:
        """First coordinate behind the box, along each axis."""
        return tuple(o + n for o, n in zip(self.origin, self.box.shape, strict=True))

    def fits(self, grid: Shape) -> bool:
        """Whether the box lies in a grid."""
        return all(o >= 0 and e <= n for o, e, n in zip(self.origin, self.end, grid, strict=True))

    def coordinates(self) -> Coordinates:
        """Positions, last axis fastest; shape (n, n_dims)."""
        return np.argwhere(self.box) + np.asarray(self.origin)

    def within(self, low: Sequence[int], high: Sequence[int]) -> NDArray[np.bool_]:
        """The set as a boolean array over the window ``low <= position < high``."""
        return moved(self.box, self.origin, low, high, fill=False).astype(bool, copy=False)


def moved(
    array: NDArray[np.generic],
    origin: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    *,
    fill: int | bool,
) -> NDArray[np.generic]:
    """Show `array`, which lies at `origin`, in the window from `low` to `high`.

    Positions of the window outside `array` hold `fill`.
    """
    shape = [h - lo for lo, h in zip(low, high, strict=True)]
    out = np.full(shape, fill, dtype=array.dtype)
    source, target = [], []
    for start, n, lo, h in zip(origin, array.shape, low, high, strict=True):
        first, last = max(start, lo), min(start + n, h)
        if last <= first:
            return out
        source.append(slice(first - start, last - start))
        target.append(slice(first - lo, last - lo))
    out[tuple(target)] = array[tuple(source)]
    return out


def reached(patch: Patch | None, window: Window, grid: Shape) -> Patch | None:
    """Outputs of a window, on a grid of shape `grid`, that read at least one position of `patch`.

    Exact for any stride, padding and dilation; None when no output does.
    """
    if patch is None or (window.is_single and patch.fits(grid)):
        return patch
    first, last = (
        bound.tolist() for bound in window.reach(np.array(patch.origin), np.array(patch.end), grid)
    )
    if any(b <= a for a, b in zip(first, last, strict=True)):
        return None
    low = [a * s - p for a, s, p in zip(first, window.stride, window.padding, strict=True)]
    high = [
        (b - 1) * s - p + e
        for b, s, p, e in zip(last, window.stride, window.padding, window.extent, strict=True)
    ]
    hit = patch.within(low, high)
    for axis in range(hit.ndim):
        hit = _any_tap(hit, axis, window, last[axis] - first[axis])
    return Patch(tuple(first), hit) if hit.any() else None


def _any_tap(hit: NDArray[np.bool_], axis: int, window: Window, n: int) -> NDArray[np.bool_]:
    """Combine the taps of one axis by `or`, leaving `n` outputs along it."""
    step, span = window.stride[axis], window.stride[axis] * (n - 1) + 1
    before = (slice(None),) * axis
    out = hit[(*before, slice(0, span, step))].copy()
    for tap in range(1, window.kernel[axis]):
        start = tap * window.dilation[axis]
        out |= hit[(*before, slice(start, start + span, step))]
    return out


def enclosing(patches: Sequence[Patch]) -> tuple[list[int], list[int]]:
    """First position of the smallest box that holds all patches, and the one behind the last."""
    low = [min(values) for values in zip(*(patch.origin for patch in patches), strict=True)]
    high = [max(values) for values in zip(*(patch.end for patch in patches), strict=True)]
    return low, high


def union(patches: Sequence[Patch | None]) -> Patch | None:
    """All positions that are in at least one patch."""
    present = [patch for patch in patches if patch is not None]
    if len(present) <= 1:
        return present[0] if present else None
    low, high = enclosing(present)
    box = present[0].within(low, high)
    for patch in present[1:]:
        box |= patch.within(low, high)
    return Patch(tuple(low), box)


@dataclass(frozen=True)
class RowNumbers:
    """The row number of each position of a set, -1 elsewhere, as an int32 box at an origin."""

    origin: Shape
    numbers: NDArray[np.int32]

    @staticmethod
    def of(patch: Patch) -> RowNumbers:
        """Number the positions of a patch in the order of :meth:`Patch.coordinates`."""
        counted = np.cumsum(patch.box.ravel(), dtype=np.int32) - np.int32(1)
        numbers = np.where(patch.box.ravel(), counted, np.int32(-1)).reshape(patch.box.shape)
        return RowNumbers(patch.origin, numbers)

    def read_by(self, outputs: Coordinates, window: Window) -> NDArray[np.int32]:
        """Rows that each output's window reads; shape (n_outputs, taps), -1 where there is none."""
        stride, padding = np.asarray(window.stride), np.asarray(window.padding)
        start = outputs * stride - padding
        low = start.min(axis=0)
        high = start.max(axis=0) + np.asarray(window.extent)
        numbers = moved(self.numbers, self.origin, low.tolist(), high.tolist(), fill=-1)
        steps = np.array(numbers.strides) // numbers.itemsize
        flat = ((start - low) @ steps)[:, None] + window.taps() @ steps
        return numbers.ravel()[flat]


def flat_positions(coordinates: Coordinates, grid: Shape) -> NDArray[np.int64]:
    """Positions as numbers in a grid of shape `grid`, last axis fastest."""
    steps = np.array([math.prod(grid[axis + 1 :]) for axis in range(len(grid))])
    return coordinates @ steps


def children(coordinates: Coordinates, pool: Window) -> Coordinates:
    """Inputs of each output of a tiling window, grouped by output: (n * pool.size, n_dims)."""
    corner = coordinates * np.asarray(pool.stride)
    return (corner[:, None, :] + pool.taps()).reshape(-1, coordinates.shape[1])
