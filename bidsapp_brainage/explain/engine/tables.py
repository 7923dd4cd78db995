"""Index tables of a chunk of regions: where changes come from and where they go.

Rows of all regions of a chunk lie one region after the other. All tables are int32 tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .geometry import Patch, RowNumbers, Shape, flat_positions, moved, reached, union
from .graph import Kind, Layer
from .sums.blocks import Block, Change, TileBlock, make_blocks

Patches = list[Patch | None]


@dataclass(frozen=True)
class Lookup:
    """Values taken from the intact rows, some of them replaced by changed rows.

    ``intact`` are positions in the intact rows; values ``at`` are replaced by rows ``by``; values
    ``outside`` lie in the padding.
    """

    intact: Tensor
    at: Tensor
    by: Tensor
    outside: Tensor


@dataclass(frozen=True)
class StemPatches:
    """Patches of one region in a window of the padded input.

    Patch ``n`` is the window at ``corners[n] + offsets``; ``mask`` marks occluded voxels.
    """

    low: Shape
    high: Shape
    corners: Tensor
    offsets: Tensor
    mask: Tensor


@dataclass(frozen=True)
class LayerTable:
    """What one layer needs for one chunk.

    ``starts`` (regions + 1) delimits the rows of each region, ``positions`` are their places on
    the layer's grid.
    """

    starts: tuple[int, ...]
    positions: Tensor
    blocks: tuple[Block, ...] | tuple[TileBlock, ...] = ()
    lookups: tuple[Lookup | None, ...] = ()
    stems: tuple[StemPatches | None, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows of all regions."""
        return self.starts[-1]


@dataclass(frozen=True)
class Chunk:
    """Tables of all layers for regions that are computed together.

    Without layers a chunk holds one region for which a full pass is quicker.
    """

    regions: tuple[int, ...]
    layers: tuple[LayerTable, ...]

    def to(self, device: torch.device) -> Chunk:
        """The same chunk with its tables on a device."""
        return self if device.type == "cpu" else _moved_to(self, device)

    def tensors(self) -> list[Tensor]:
        """All tables."""
        return list(_tensors(self))

    @property
    def n_bytes(self) -> int:
        """Size of all tables."""
        return sum(table.numel() * table.element_size() for table in self.tensors())


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for member in fields(value):
            yield from _tensors(getattr(value, member.name))


def _moved_to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(_moved_to(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        members = {f.name: _moved_to(getattr(value, f.name), device) for f in fields(value)}
        return type(value)(**members)
    return value


def spread(layers: Sequence[Layer], patch: Patch | None) -> Patches:
    """Positions of every layer's output that change when the inputs in `patch` change."""
    patches: Patches = []
    for layer in layers:
        sources = [patches[k] for k in layer.inputs]
        match layer.kind:
            case Kind.INPUT:
                patches.append(patch)
            case Kind.JOIN:
                patches.append(union(sources))
            case _:
                hit = reached(sources[0], layer.window, layer.before)
                if layer.pool is not None:
                    hit = reached(hit, layer.pool, layer.grid)
                patches.append(hit)
    return patches


def count(patch: Patch | None) -> int:
    """Number of positions."""
    return 0 if patch is None else int(np.count_nonzero(patch.box))


def make_chunk(
    layers: Sequence[Layer],
    regions: Sequence[int],
    spreads: Sequence[Patches],
    *,
    block_values: int,
    tiles: bool | None = None,
) -> Chunk:
    """Make the tables of some regions, with the :func:`spread` of each.

    `block_values` is how many numbers a block's products may hold; `tiles` says whether inputs
    are multiplied in tiles where they can be, None: where that is quicker.
    """
    numbers = [_row_numbers(layers, patches) for patches in spreads]
    tables: list[LayerTable] = []
    for k, layer in enumerate(layers):
        counts = [count(patches[k]) for patches in spreads]
        starts = tuple(int(n) for n in np.concatenate([[0], np.cumsum(counts)]))
        positions = _positions(layer, [patches[k] for patches in spreads])
        if layer.adds_up:
            source = layer.inputs[0]
            blocks = make_blocks(
                layer,
                layers[source].channels,
                _changes(source, k, spreads, numbers, tables[source].starts),
                tables[source].n_rows,
                block_values,
                tiles=tiles,
            )
            tables.append(LayerTable(starts, positions, blocks=blocks))
            continue
        if layer.kind is Kind.SUM or layer.covers_grid or layer.pointwise:
            # Every changed input is read once, by the tap of its own position.
            tables.append(LayerTable(starts, positions))
            continue
        maker = _TableMaker(layer, starts, tables)
        for patches, rows in zip(spreads, numbers, strict=True):
            maker.add(patches, patches[k], rows)
        tables.append(maker.table(positions))
    return Chunk(tuple(regions), tuple(tables))


def _row_numbers(layers: Sequence[Layer], patches: Patches) -> list[RowNumbers | None]:
    read = {k for layer in layers if not layer.reads_input_alone for k in layer.inputs}
    return [
        RowNumbers.of(patch) if patch is not None and k in read else None
        for k, patch in enumerate(patches)
    ]


def _changes(
    source: int,
    own: int,
    spreads: Sequence[Patches],
    numbers: Sequence[list[RowNumbers | None]],
    starts: tuple[int, ...],
) -> list[Change]:
    """What layer `own` has to add up in each region, if anything."""
    found = []
    for patches, rows, first in zip(spreads, numbers, starts[:-1], strict=True):
        changed, outputs, number = patches[source], patches[own], rows[source]
        if changed is not None and outputs is not None and number is not None:
            found.append(Change(changed, number, first, outputs))
    return found


def _positions(layer: Layer, patches: Patches) -> Tensor:
    parts = [flat_positions(p.coordinates(), layer.grid) for p in patches if p is not None]
    return _int32(np.concatenate(parts) if parts else np.zeros(0, np.int64))


def _int32(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int32))


class _TableMaker:
    """Collects the tables of one layer, region by region."""

    def __init__(self, layer: Layer, starts: tuple[int, ...], before: Sequence[LayerTable]) -> None:
        self._layer = layer
        self._starts = starts
        self._before = before
        self._region = 0
        self._reads: list[list[NDArray[np.int32]]] = [[] for _ in layer.inputs]
        self._intact: list[list[NDArray[np.int64]]] = [[] for _ in layer.inputs]
        self._stems: list[StemPatches | None] = []

    def add(self, patches: Patches, own: Patch | None, rows: list[RowNumbers | None]) -> None:
        """Add one region."""
        kind = self._layer.kind
        if kind is Kind.STEM:
            source = patches[self._layer.inputs[0]]
            self._stems.append(_stem(self._layer, own, source) if own and source else None)
        elif own is not None and kind in (Kind.MAX, Kind.JOIN):
            self._add_lookups(own.coordinates(), rows)
        self._region += 1

    def _add_lookups(self, outputs: NDArray[np.int64], rows: list[RowNumbers | None]) -> None:
        layer = self._layer
        for number, source in enumerate(layer.inputs):
            known = rows[source]
            if known is None:
                read = np.full((len(outputs), layer.window.size), -1, np.int32)
            else:
                read = known.read_by(outputs, layer.window)
                start = np.int32(self._before[source].starts[self._region])
                read = np.where(read >= 0, read + start, read)
            places, inside = _input_positions(layer, outputs)
            self._reads[number].append(np.where(inside, read, np.int32(-2)))
            self._intact[number].append(places)

    def table(self, positions: Tensor) -> LayerTable:
        """The finished table."""
        kind = self._layer.kind
        if kind in (Kind.MAX, Kind.JOIN):
            lookups = tuple(
                self._lookup(number, positions) for number in range(len(self._layer.inputs))
            )
            return LayerTable(self._starts, positions, lookups=lookups)
        return LayerTable(self._starts, positions, stems=tuple(self._stems))

    def _lookup(self, number: int, positions: Tensor) -> Lookup | None:
        """Where values of one input come from; None when all of them are its rows, in order."""
        read = np.concatenate(self._reads[number] or [np.zeros((0, 1), np.int32)]).ravel()
        rows = self._before[self._layer.inputs[number]].n_rows
        if read.size == rows and np.array_equal(read, np.arange(rows)):
            return None
        replaced = np.flatnonzero(read >= 0)
        intact = np.concatenate(self._intact[number] or [np.zeros((0, 1), np.int64)]).ravel()
        return Lookup(
            intact=_int32(intact),
            at=_int32(replaced),
            by=_int32(read[replaced]),
            outside=_int32(np.flatnonzero(read == -2)),
        )


def _input_positions(
    layer: Layer, outputs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Flat input positions (n, taps) that outputs read, and which of them are not padding."""
    window = layer.window
    grid = np.asarray(layer.source_grid)
    start = outputs * np.asarray(window.stride) - np.asarray(window.padding)
    places = start[:, None, :] + window.taps()
    inside = ((places >= 0) & (places < grid)).all(axis=-1)
    clipped = np.clip(places, 0, grid - 1)
    return flat_positions(clipped, tuple(int(n) for n in grid)), inside


def _stem(layer: Layer, own: Patch, source: Patch) -> StemPatches:
    patch = layer.patch
    outputs = own.coordinates()
    start = outputs * np.asarray(patch.stride)  # in the padded input
    low, high = start.min(axis=0), start.max(axis=0) + np.asarray(patch.extent)
    lengths = high - low
    steps = np.array([int(np.prod(lengths[axis + 1 :])) for axis in range(len(lengths))])
    inner = [o + p for o, p in zip(source.origin, patch.padding, strict=True)]
    mask = moved(source.box, inner, low.tolist(), high.tolist(), fill=False)
    return StemPatches(
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        corners=_int32((start - low) @ steps),
        offsets=_int32(patch.taps() @ steps),
        mask=torch.from_numpy(mask),
    )
