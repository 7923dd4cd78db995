"""Estimated times, in multiply-adds of a large matrix product, of the ways to compute a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from bidsapp_brainage.explain.engine.geometry import Shape
from bidsapp_brainage.explain.engine.graph import Kind, Layer
from bidsapp_brainage.explain.engine.sums.tiling import PRODUCTS, SIDE, tiled_axes

from .regions import Patches, bounds

Form: TypeAlias = Literal["rows", "tiles", "boxes"]
"""How sums over windows are computed: from changed rows, from tiles, or from boxes of them."""

# Of a multiply-add, and for each value that goes in and comes out: of tiles, rows and boxes.
# Measured with 12 to 256 channels.
TILE_PRODUCT, TILE_IN, TILE_OUT = 1.3, 36, 50
ROW_PRODUCT, ROW_OUT = 1, 60
BOX_PRODUCT, BOX_IN, BOX_OUT = 1, 32, 96
LANES = 16  # channels that oneDNN computes together
MOVED = 32  # to move a value from or to a table's place
TAKEN = 128  # to take a value of a maximum by a table
# Part of the positions of tiles that have changed, in regions of compact shape.
USUAL_PART = 0.72


@dataclass(frozen=True)
class Extent:
    """How much changes in a layer.

    Attributes
    ----------
    n_regions, n_positions : int
        Regions with changes, and changed positions of all of them.
    sides : tuple of int
        Of boxes that hold the positions of each region.
    """

    n_regions: int
    n_positions: int
    sides: Shape

    @staticmethod
    def of(patches: Patches, region_counts: tuple[int, ...], n_dims: int) -> Extent:
        """Measure the positions of some regions."""
        low, high = bounds(patches, len(region_counts), n_dims)
        return Extent(
            int(np.count_nonzero(region_counts)),
            sum(region_counts),
            tuple((high - low).max(axis=0).tolist()),
        )


def sums_costs(layer: Layer, channels: int, inputs: Extent) -> dict[Form, float]:
    """Times of a sum over windows of so many channels, form by form."""
    costs: dict[Form, float] = {
        "rows": _rows_cost(layer, channels, inputs),
        "boxes": _boxes_cost(layer, channels, inputs),
    }
    axes = tiled_axes(layer.window)
    if axes:
        costs["tiles"] = _tiles_cost(layer, channels, _n_tiles(inputs, axes), len(axes))
    return costs


def changes_cost(layer: Layer, channels: int, inputs: Extent, n_outputs: int) -> float:
    """Time of the outputs that change, and of no others."""
    if layer.kind is not Kind.CONV:
        taken = n_outputs * layer.window.size * channels
        return taken * (TAKEN if layer.kind is Kind.MAX else 2 * MOVED)
    moves = MOVED * (inputs.n_positions * channels + n_outputs * layer.channels)
    return moves + min(sums_costs(layer, channels, inputs).values())


def output_boxes_cost(layer: Layer, channels: int, n_boxes: int, shape: Shape) -> float:
    """Time of boxes of outputs of some shape."""
    moves = MOVED * channels * math.prod(layer.spans(shape))
    if layer.kind is not Kind.CONV:
        return n_boxes * 2 * moves
    whole = shape == layer.grid
    n_outputs = math.prod(shape) * layer.n_children
    products = BOX_PRODUCT * n_outputs * layer.window.size * channels * _lanes(layer)
    return n_boxes * (products * layer.inner_part if whole else products + moves)


def _rows_cost(layer: Layer, channels: int, inputs: Extent) -> float:
    products = inputs.n_positions * layer.window.size / layer.window.n_phases
    return products * layer.channels * (ROW_PRODUCT * channels / layer.groups + ROW_OUT)


def _tiles_cost(layer: Layer, channels: int, n_tiles: float, n_axes: int) -> float:
    out = layer.channels
    one = TILE_PRODUCT * channels * out / layer.groups + TILE_IN * channels + TILE_OUT * out
    return n_tiles * PRODUCTS**n_axes * one


def _n_tiles(inputs: Extent, axes: tuple[int, ...]) -> float:
    """Tiles of changed inputs, estimated unless these fill their boxes."""
    if inputs.n_positions < inputs.n_regions * math.prod(inputs.sides):
        return inputs.n_positions / (USUAL_PART * SIDE ** len(axes))
    pairs = [-(-n // SIDE) if k in axes else n for k, n in enumerate(inputs.sides)]
    return inputs.n_regions * math.prod(pairs)


def _boxes_cost(layer: Layer, channels: int, inputs: Extent) -> float:
    window = layer.window
    n_inputs, n_outputs = math.prod(inputs.sides), math.prod(window.results(inputs.sides))
    products = n_inputs * window.size / math.prod(window.stride) * channels * _lanes(layer)
    values = BOX_IN * n_inputs * channels + BOX_OUT * n_outputs * layer.channels
    return inputs.n_regions * (BOX_PRODUCT * products + values)


def _lanes(layer: Layer) -> int:
    """Channels that oneDNN computes for each input channel."""
    return -(-layer.channels // layer.groups // LANES) * LANES
