"""Pairs of changed inputs that share their products with a kernel of three taps.

Two inputs and three taps along an axis give four outputs by four products instead of six (Toom
and Cook; Winograd's F(2,3) transposed). Along three axes a tile of 2x2x2 inputs needs 64 products
instead of 216, and the sums are the same to rounding. Additions before ("expanding") and after
("contracting") are the price.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidsapp_brainage.explain.engine.geometry import (
    Coordinates,
    Patch,
    RowNumbers,
    Shape,
    Window,
    moved,
)

SIDE, KERNEL, PRODUCTS = 2, 3, 4
# From three taps to what multiplies x0, (x0 + x1), (x0 - x1) and x1.
_WEIGHTS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
_Array = TypeVar("_Array", NDArray[np.bool_], NDArray[np.int32])
# Where `contract` leaves the four outputs.
_PLACES = np.array([0, 2, 1, 3], dtype=np.int32)


def tiled_axes(window: Window) -> tuple[int, ...]:
    """Axes with three taps, if all others have one and nothing has gaps or steps; else none."""
    steps = zip(window.kernel, window.stride, window.dilation, strict=True)
    if any(s != 1 or k not in (1, KERNEL) or (k > 1 and d != 1) for k, s, d in steps):
        return ()
    return tuple(axis for axis, k in enumerate(window.kernel) if k == KERNEL)


def tile_weights(weight: Tensor) -> Tensor:
    """Weights (products, in, out) of tiles, from those of a convolution (out, in, *kernel)."""
    matrix = torch.tensor(_WEIGHTS, dtype=torch.float64, device=weight.device)
    wide = weight.double()
    for axis in range(2, wide.dim()):
        if wide.shape[axis] == KERNEL:
            wide = (matrix @ wide.flip(axis).movedim(axis, -2)).movedim(-2, axis)
    by_product = wide.flatten(2).permute(2, 1, 0)
    return by_product.contiguous().to(weight.dtype)


@dataclass(frozen=True)
class Tiling:
    """Changed inputs in tiles.

    A slab is a position on the first axis if that axis is not tiled, else everything. Tiles of a
    slab begin where there are fewest of them.

    Attributes
    ----------
    origin : tuple of int
        First input position; with that of the slab if the first axis is tiled.
    axes : tuple of int
        Those along which a tile has two positions, counted after the slabs.
    shifts : ndarray of int64, shape (slabs, axes)
        How far before the origin the first tile begins.
    numbers : ndarray of int32
        Box of tiles (slabs, ...): their numbers, -1 for tiles without changed inputs.
    """

    origin: Shape
    axes: tuple[int, ...]
    shifts: NDArray[np.int64]
    numbers: NDArray[np.int32]

    @staticmethod
    def of(patch: Patch, axes: tuple[int, ...]) -> Tiling:
        """Tiles of a patch."""
        origin, box = patch.origin, patch.box
        if 0 in axes:
            origin, box, axes = (0, *origin), box[None], tuple(axis + 1 for axis in axes)
        shifts, occupied = _fewest(box, axes)
        return Tiling(origin, axes, shifts, RowNumbers.of(Patch(origin, occupied)).numbers)

    @property
    def n_tiles(self) -> int:
        """Tiles with changed inputs."""
        return int(self.numbers.max()) + 1

    def inputs(self, rows: RowNumbers) -> NDArray[np.int32]:
        """Rows of each tile (positions of a tile, tiles), -1 where nothing changed."""
        n_dims = self.numbers.ndim
        sides = [SIDE if axis in self.axes else 1 for axis in range(n_dims)]
        end = [n * s for n, s in zip(self.numbers.shape, sides, strict=True)]
        own = rows.numbers.reshape(self.numbers.shape[0], *rows.numbers.shape[1 - n_dims :])
        box = np.full(end, -1, dtype=np.int32)
        box[tuple(slice(0, n) for n in own.shape)] = own
        for axis, shift in zip(self.axes, self.shifts.T, strict=True):
            box = _chosen(shift, [box, np.roll(box, 1, axis)])
        parts = [size for n, s in zip(self.numbers.shape, sides, strict=True) for size in (n, s)]
        order = [*range(1, 2 * n_dims, 2), *range(0, 2 * n_dims, 2)]
        split = box.reshape(parts).transpose(order).reshape(-1, self.numbers.size)
        return split[:, self.numbers.ravel() >= 0].astype(np.int32, copy=False)

    def read_by(
        self, outputs: Coordinates, window: Window
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Tiles (n, 2 for each tiled axis) that reach each output, and by which product."""
        first = outputs - np.asarray(window.padding)
        if first.shape[1] < self.numbers.ndim:
            first = np.insert(first, 0, 0, axis=1)
        first -= np.asarray(self.origin)
        slab = np.clip(first[:, 0], 0, len(self.shifts) - 1)  # children of a pool may lie outside
        first[:, self.axes] += KERNEL - 1 + self.shifts[slab]
        tile, odd = first.copy(), first[:, self.axes] % SIDE
        tile[:, self.axes] //= SIDE
        steps_back = np.array(list(itertools.product((0, 1), repeat=len(self.axes))))
        back = np.zeros((len(steps_back), first.shape[1]), dtype=np.int64)
        back[:, self.axes] = steps_back
        low, high = tile.min(axis=0) - back.max(axis=0), tile.max(axis=0) + 1
        numbers = moved(self.numbers, [0] * first.shape[1], low.tolist(), high.tolist(), fill=-1)
        strides = np.array(numbers.strides) // numbers.itemsize
        found = numbers.ravel()[((tile - low) @ strides)[:, None] - back @ strides]
        place = np.zeros(found.shape, dtype=np.int32)
        for k in range(len(self.axes)):
            place *= np.int32(PRODUCTS)
            place += _PLACES[odd[:, k, None] + SIDE * steps_back[:, k]]
        return found.astype(np.int32, copy=False), place


def _fewest(
    box: NDArray[np.bool_], axes: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How far before each slab its first tile begins along each axis, and which are needed."""
    shifts, tiles = [], box
    for axis in axes:
        choices = [_pairs(tiles, axis, shift) for shift in range(SIDE)]
        counts = [np.count_nonzero(choice.reshape(len(box), -1), axis=1) for choice in choices]
        shifts.append(np.argmin(counts, axis=0))
        tiles = _chosen(shifts[-1], choices)
    return np.stack(shifts, axis=1), tiles


def _chosen(numbers: NDArray[np.int64], choices: Sequence[_Array]) -> _Array:
    """For each slab the choice of its number, out of two."""
    if len(numbers) == 1:
        return choices[numbers[0]]
    first, second = choices
    picked = numbers.astype(bool).reshape(-1, *[1] * (first.ndim - 1))
    return np.where(picked, second, first)


def _pairs(box: NDArray[np.bool_], axis: int, shift: int) -> NDArray[np.bool_]:
    """Combine two neighbours along an axis by `or`; the first pair begins `shift` before."""
    along = np.moveaxis(box, axis, 0)
    pairs = np.zeros(((len(along) + SIDE) // SIDE, *along.shape[1:]), dtype=bool)
    for start in range(SIDE):
        own = along[start::SIDE]
        place = (start + shift) // SIDE
        pairs[place : place + len(own)] |= own
    return np.moveaxis(pairs, 0, axis)


def expand(values: Tensor, out: Tensor, axis: int) -> None:
    """From two inputs along `axis` to the four that are multiplied."""
    first, second = values.unbind(axis)
    zeroth, plus, minus, last = out.unbind(axis)
    zeroth.copy_(first)
    torch.add(first, second, out=plus)
    torch.sub(first, second, out=minus)
    last.copy_(second)


def contract(products: Tensor, axis: int) -> None:
    """From four products along `axis` to four outputs, in place; the middle two change places."""
    zeroth, plus, minus, last = products.unbind(axis)
    plus += minus
    torch.sub(plus, minus, alpha=2, out=minus)
    plus -= zeroth
    minus -= last
