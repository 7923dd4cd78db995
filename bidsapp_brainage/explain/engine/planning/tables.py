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

from bidsapp_brainage.explain.engine.geometry import Patch, RowNumbers, Shape, flat_positions, moved
from bidsapp_brainage.explain.engine.graph import Kind, Layer
from bidsapp_brainage.explain.engine.sums.blocks import Blocks, make_blocks
from bidsapp_brainage.explain.engine.sums.layouts import ChangedInputs

from .boxes import BoxTable, make_boxes
from .costs import Form
from .lookups import Lookup, int32
from .regions import Numbers, Patches
from .spreads import Spread, with_regions


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
    blocks: Blocks = ()
    lookups: tuple[Lookup | None, ...] = ()
    stems: tuple[StemPatches | None, ...] = ()
    boxes: BoxTable | None = None

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


def make_chunk(
    layers: Sequence[Layer],
    regions: Sequence[int],
    spreads: Sequence[Spread],
    *,
    block_values: int,
    form: Form | None = None,
) -> Chunk:
    """Make the tables of some regions, with their :func:`~.spreads.spread`.

    `block_values` is how many numbers a block's products may hold; `form` is that of
    :func:`~.spreads.spread`.
    """
    numbers = _row_numbers(layers, spreads)
    tables: list[LayerTable] = []
    for k, layer in enumerate(layers):
        starts = tuple(int(n) for n in np.concatenate([[0], np.cumsum(spreads[k].counts)]))
        positions = _positions(layer, spreads[k].read)
        seen = with_regions(layer, len(regions)) if spreads[k].joint else layer
        shape = spreads[k].shape
        if shape is not None:
            source = layer.inputs[0]
            boxes = make_boxes(layer, spreads[k].own, numbers[source], tables[source].starts, shape)
            tables.append(LayerTable(starts, positions, boxes=boxes))
        elif layer.adds_up:
            source = layer.inputs[0]
            inputs = ChangedInputs(
                spreads[source].read, numbers[source], tables[source].starts, spreads[source].extent
            )
            blocks = make_blocks(
                layer, seen, layers[source].channels, inputs, spreads[k].own, block_values, form
            )
            tables.append(LayerTable(starts, positions, blocks=blocks))
        elif layer.kind is Kind.STEM:
            pairs = zip(spreads[k].own, spreads[layer.inputs[0]].own, strict=True)
            stems = [_stem(layer, own, source) if own and source else None for own, source in pairs]
            tables.append(LayerTable(starts, positions, stems=tuple(stems)))
        elif layer.kind in (Kind.MAX, Kind.JOIN):
            sources = [(numbers[n], tables[n].starts) for n in layer.inputs]
            lookups = _lookups(seen, spreads[k].own, sources, len(layer.grid))
            tables.append(LayerTable(starts, positions, lookups=lookups))
        else:
            # Every changed input is read once, by the tap of its own position.
            tables.append(LayerTable(starts, positions))
    return Chunk(tuple(regions), tuple(tables))


def _row_numbers(layers: Sequence[Layer], spreads: Sequence[Spread]) -> list[Numbers]:
    """Numbers of the changed rows of each layer that later layers look up."""
    read = {k for layer in layers if not layer.reads_input_alone for k in layer.inputs}
    return [
        tuple(RowNumbers.of(p) if p is not None and k in read else None for p in each.read)
        for k, each in enumerate(spreads)
    ]


def _positions(layer: Layer, patches: Patches) -> Tensor:
    n_dims = len(layer.grid)
    parts = [
        flat_positions(p.coordinates()[:, -n_dims:], layer.grid) for p in patches if p is not None
    ]
    return int32(np.concatenate(parts) if parts else np.zeros(0, np.int64))


def _lookups(
    layer: Layer,
    own: Patches,
    sources: Sequence[tuple[Numbers, tuple[int, ...]]],
    n_dims: int,
) -> tuple[Lookup | None, ...]:
    """Where a maximum or a function of tensors takes its values from, input by input.

    `sources` are the numbers of the changed rows of each input, and where each region's begin.
    """
    outputs = [None if patch is None else patch.coordinates() for patch in own]
    places = [None if each is None else _input_positions(layer, each, n_dims) for each in outputs]
    return tuple(_lookup(layer, outputs, places, numbers, starts) for numbers, starts in sources)


def _lookup(
    layer: Layer,
    outputs: Sequence[NDArray[np.int64] | None],
    places: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]] | None],
    numbers: Numbers,
    starts: tuple[int, ...],
) -> Lookup | None:
    """Where values of one input come from; None when all of them are its rows, in order."""
    reads = [np.zeros((0, layer.window.size), np.int32)]
    intact = [np.zeros((0, layer.window.size), np.int64)]
    for own, place, known, first in zip(outputs, places, numbers, starts, strict=False):
        if own is None or place is None:
            continue
        read = np.full((len(own), layer.window.size), -1, np.int32)
        if known is not None:
            read = known.read_by(own, layer.window)
            read = np.where(read >= 0, read + np.int32(first), read)
        where, inside = place
        reads.append(np.where(inside, read, np.int32(-2)))
        intact.append(where)
    rows = np.concatenate(reads).ravel()
    if rows.size == starts[-1] and np.array_equal(rows, np.arange(rows.size)):
        return None
    return Lookup.of(rows, np.concatenate(intact))


def _input_positions(
    layer: Layer, outputs: NDArray[np.int64], n_dims: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Flat input positions (n, taps) that outputs read, and which of them are not padding."""
    window = layer.window
    grid = np.asarray(layer.source_grid)
    start = outputs * np.asarray(window.stride) - np.asarray(window.padding)
    places = start[:, None, :] + window.taps()
    inside = ((places >= 0) & (places < grid)).all(axis=-1)
    clipped = np.clip(places, 0, grid - 1)[..., -n_dims:]
    return flat_positions(clipped, tuple(int(n) for n in grid[-n_dims:])), inside


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
        corners=int32((start - low) @ steps),
        offsets=int32(patch.taps() @ steps),
        mask=torch.from_numpy(mask),
    )
