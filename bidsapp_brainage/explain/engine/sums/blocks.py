"""Tables of the products that a sum over windows needs, block by block.

A block is so many changed inputs that their products fit into the workspace. They are multiplied
row by row with all taps (:class:`Block`), tile by tile (:class:`TileBlock`), or box by box
(:class:`~.layouts.BoxBlock`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bidsapp_brainage.explain.engine.geometry import Patch, RowNumbers, children
from bidsapp_brainage.explain.engine.graph import Kind, Layer
from bidsapp_brainage.explain.engine.planning.costs import Form, sums_costs
from bidsapp_brainage.explain.engine.planning.lookups import int32
from bidsapp_brainage.explain.engine.planning.regions import Patches

from .layouts import BoxBlock, ChangedInputs, make_box_blocks
from .tiling import PRODUCTS, Tiling, tiled_axes


@dataclass(frozen=True)
class Part:
    """Rows that are multiplied with some taps, those of one phase of the strides.

    ``pick`` are the rows, all of ``rows`` (first, last + 1) unless given; ``taps`` (first, last +
    1) are counted in the order of :meth:`Window.phase_order`.
    """

    rows: tuple[int, int]
    taps: tuple[int, int]
    pick: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """Products of rows with taps, part after part, and the outputs that they change.

    ``entries[offsets[o]:offsets[o + 1]]`` are the products that output ``outputs.start + o`` adds
    up.
    """

    parts: tuple[Part, ...]
    outputs: tuple[int, int]
    entries: Tensor
    offsets: Tensor

    @property
    def n_products(self) -> int:
        """Pairs of a row and a tap."""
        return sum(_n_rows(part) * (part.taps[1] - part.taps[0]) for part in self.parts)


@dataclass(frozen=True)
class TileBlock:
    """Products of tiles, and the outputs that they change.

    ``inputs`` (positions of a tile, tiles) are rows; the number behind the last row stands for
    zeros. ``entries`` and ``offsets`` as for :class:`Block`; products lie tile by tile.
    """

    inputs: Tensor
    n_axes: int
    outputs: tuple[int, int]
    entries: Tensor
    offsets: Tensor

    @property
    def n_tiles(self) -> int:
        """Tiles of this block."""
        return self.inputs.shape[1]

    @property
    def n_products(self) -> int:
        """Products of a row of channels with a matrix."""
        return self.n_tiles * PRODUCTS**self.n_axes


Blocks: TypeAlias = tuple[Block, ...] | tuple[TileBlock, ...] | tuple[BoxBlock, ...]


@dataclass(frozen=True)
class Change:
    """What changes the sums of one region.

    ``source`` are the changed inputs, whose rows begin at ``first_row`` in the order of
    ``numbers``; ``outputs`` are the changed outputs.
    """

    source: Patch
    numbers: RowNumbers
    first_row: int
    outputs: Patch


def make_blocks(
    layer: Layer,
    seen: Layer,
    channels: int,
    inputs: ChangedInputs,
    outputs: Patches,
    block_values: int,
    form: Form | None,
) -> Blocks:
    """Tables of a CONV or MEAN layer for its changed inputs of so many channels, in groups.

    `seen` is the layer with the axis of regions that `inputs` and `outputs` have, if they do.
    `form` is what blocks have if they can; None: the quickest.
    """
    changes = _changes(inputs, outputs)
    if not changes:
        return ()
    n_rows = inputs.starts[-1]
    if layer.kind is Kind.CONV:
        form = form or _quickest(layer, channels, inputs)
        axes = tiled_axes(seen.window)
        if form == "boxes":
            return make_box_blocks(layer, channels, inputs, outputs, block_values)
        if form == "tiles" and axes:
            tilings = [Tiling.of(change.source, axes) for change in changes]
            return _TileBlocks(seen, channels, changes, tilings, n_rows).blocks(block_values)
    return _RowBlocks(seen, changes, n_rows).blocks(block_values)


def _quickest(layer: Layer, channels: int, inputs: ChangedInputs) -> Form:
    costs = sums_costs(layer, channels, inputs.extent)
    return min(costs, key=costs.__getitem__)


def _changes(inputs: ChangedInputs, outputs: Patches) -> list[Change]:
    """What a layer has to add up in each region, if anything."""
    parts = zip(inputs.patches, inputs.numbers, inputs.starts, outputs, strict=False)
    return [
        Change(changed, number, first, own)
        for changed, number, first, own in parts
        if changed is not None and own is not None and number is not None
    ]


def _outputs(layer: Layer, change: Change) -> NDArray[np.int64]:
    """Changed positions of a layer before its pool, or all children of them."""
    outputs = change.outputs.coordinates()
    return outputs if layer.pool is None else children(outputs, layer.pool)


class _Entries:
    """Which products each output adds up: pairs of a unit (row or tile) and one of its products."""

    def __init__(self) -> None:
        self._units: list[NDArray[np.int32]] = []
        self._inner: list[NDArray[np.int32]] = []
        self._counts: list[NDArray[np.int64]] = []

    def add(self, units: NDArray[np.int32], inner: NDArray[np.int32], first: int) -> None:
        """Add the outputs of a region, each with its units (n, reads); -1 where there is none."""
        present = units >= 0
        self._units.append((units + np.int32(first))[present])
        self._inner.append(np.broadcast_to(inner, units.shape)[present])
        self._counts.append(present.sum(axis=1))

    def split(
        self, bounds: Sequence[int], place: Callable[..., NDArray[np.int32]]
    ) -> list[tuple[int, tuple[int, int], Tensor, Tensor]]:
        """Number, outputs, entries and offsets of the blocks of units between `bounds`.

        ``place(block, units, inner)`` says where a product lies in the workspace.
        """
        units, inner = np.concatenate(self._units), np.concatenate(self._inner)
        counts = np.concatenate(self._counts)
        if len(bounds) == 2:
            offsets = np.concatenate([[0], np.cumsum(counts)])
            entries = place(0, units, inner)
            return [(0, (0, len(counts)), int32(entries), int32(offsets))]
        number = np.searchsorted(np.asarray(bounds[1:]), units, side="right")
        order = np.argsort(number, kind="stable")
        owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[order]
        units, inner = units[order], inner[order]
        ends = np.searchsorted(number[order], np.arange(len(bounds)))
        found = []
        for k, (a, b) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
            if b > a:
                low, high = int(owner[a]), int(owner[b - 1]) + 1
                lengths = np.bincount(owner[a:b] - low, minlength=high - low)
                offsets = np.concatenate([[0], np.cumsum(lengths)])
                entries = place(k, units[a:b], inner[a:b])
                found.append((k, (low, high), int32(entries), int32(offsets)))
        return found


class _RowBlocks:
    """Blocks of a layer whose changed rows are multiplied with taps."""

    def __init__(self, layer: Layer, changes: Sequence[Change], n_rows: int) -> None:
        self._layer = layer
        self._changes = changes
        self._n_rows = n_rows
        window = layer.window
        self._width = window.size if layer.kind is Kind.CONV else 1

    def blocks(self, block_values: int) -> tuple[Block, ...]:
        """All blocks."""
        layer = self._layer
        entries = _Entries()
        column = np.argsort(layer.window.phase_order()).astype(np.int32)
        for change in self._changes:
            read = change.numbers.read_by(_outputs(layer, change), layer.window)
            inner = column if layer.kind is Kind.CONV else np.zeros(1, np.int32)
            entries.add(read, inner, change.first_row)
        bounds = _bounds(
            self._n_rows, block_values // (self._width * layer.channels // layer.groups)
        )
        if layer.kind is Kind.CONV and layer.window.n_phases > 1:
            return self._by_phase(entries, bounds)
        return tuple(
            Block((Part((bounds[k], bounds[k + 1]), (0, self._width)),), outputs, found, offsets)
            for k, outputs, found, offsets in entries.split(
                bounds, lambda k, units, inner: (units - bounds[k]) * self._width + inner
            )
        )

    def _by_phase(self, entries: _Entries, bounds: Sequence[int]) -> tuple[Block, ...]:
        """Rows of a phase meet only the taps of that phase: the others fall between outputs."""
        window = self._layer.window
        phase = np.full(self._n_rows, -1)
        for change in self._changes:
            own_phase = window.phase(change.source.coordinates())
            phase[change.first_row : change.first_row + len(own_phase)] = own_phase
        taps = window.phase_bounds()
        parts: list[tuple[Part, ...]] = []
        place = np.zeros(self._n_rows, dtype=np.int32)
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            start = 0
            own: list[Part] = []
            for k in range(window.n_phases):
                rows = first + np.flatnonzero(phase[first:last] == k)
                width = int(taps[k + 1] - taps[k])
                if len(rows) and width:
                    own.append(Part((first, last), (int(taps[k]), int(taps[k + 1])), int32(rows)))
                    # columns are counted from the first tap of the phase
                    place[rows] = start + np.arange(len(rows)) * width - taps[k]
                    start += len(rows) * width
            parts.append(tuple(own))
        return tuple(
            Block(parts[k], outputs, found, offsets)
            for k, outputs, found, offsets in entries.split(
                bounds, lambda k, units, inner: place[units] + inner
            )
        )


class _TileBlocks:
    """Blocks of a layer whose changed rows are multiplied in tiles."""

    def __init__(
        self,
        layer: Layer,
        channels: int,
        changes: Sequence[Change],
        tilings: Sequence[Tiling],
        n_rows: int,
    ) -> None:
        self._layer = layer
        self._channels = channels
        self._changes = changes
        self._tilings = tilings
        self._n_rows = n_rows
        self._n_axes = len(tilings[0].axes)

    def blocks(self, block_values: int) -> tuple[TileBlock, ...]:
        """All blocks."""
        layer, entries, inputs, first = self._layer, _Entries(), [], 0
        for change, tiling in zip(self._changes, self._tilings, strict=True):
            rows = tiling.inputs(change.numbers)
            inputs.append(np.where(rows >= 0, rows + np.int32(change.first_row), self._n_rows))
            entries.add(*tiling.read_by(_outputs(layer, change), layer.window), first)
            first += tiling.n_tiles
        tiles = np.concatenate(inputs, axis=1)
        values = PRODUCTS**self._n_axes * (self._channels + layer.channels) // layer.groups
        bounds = _bounds(first, block_values // values)
        sizes = np.diff(bounds).astype(np.int32)
        return tuple(
            TileBlock(
                int32(tiles[:, bounds[k] : bounds[k + 1]]), self._n_axes, outputs, found, offsets
            )
            for k, outputs, found, offsets in entries.split(
                bounds, lambda k, units, inner: inner * sizes[k] + (units - bounds[k])
            )
        )


def _bounds(n: int, most: int) -> list[int]:
    """Limits of as few blocks of about equal size as hold at most so many."""
    n_blocks = -(-n // max(1, most))
    return [k * n // n_blocks for k in range(n_blocks + 1)]


def _n_rows(part: Part) -> int:
    return part.rows[1] - part.rows[0] if part.pick is None else len(part.pick)
