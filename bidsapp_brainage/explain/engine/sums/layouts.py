"""Changed inputs laid out in boxes with zeros around them, which torch convolves as a whole.

Nothing is shared between the taps of a box, but nothing has to be added up afterwards either:
every output is one row of the result. oneDNN skips products with the zeros around a box. That pays
for few channels, where additions take longer than products, and for compact regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bidsapp_brainage.explain.engine.geometry import (
    Coordinates,
    Shape,
    Window,
    children,
    flat_positions,
)
from bidsapp_brainage.explain.engine.graph import Layer
from bidsapp_brainage.explain.engine.planning.costs import Extent
from bidsapp_brainage.explain.engine.planning.lookups import int32
from bidsapp_brainage.explain.engine.planning.regions import (
    Numbers,
    Patches,
    bounds,
    positions,
    rows_in,
)


@dataclass(frozen=True)
class BoxBlock:
    """Boxes of changed inputs, and the outputs that they change.

    Attributes
    ----------
    inputs : Tensor
        Rows of all boxes in order; the number behind the last row stands for zeros.
    shape : tuple of int
        Number of boxes, and their sides.
    padding : tuple of int
        Zeros around a box.
    outputs : tuple of int
        First output, and that behind the last.
    entries : Tensor
        Place of each output in the result.
    absent : Tensor
        Outputs that no box reaches, counted from the first: they only share a pool with others.
    n_products : int
        Pairs of a place in a box and a tap.
    """

    inputs: Tensor
    shape: Shape
    padding: Shape
    outputs: tuple[int, int]
    entries: Tensor
    absent: Tensor
    n_products: int


@dataclass(frozen=True)
class ChangedInputs:
    """Changed inputs of a layer: positions, rows, which begin at `starts`, and how much changes."""

    patches: Patches
    numbers: Numbers
    starts: tuple[int, ...]
    extent: Extent


def make_box_blocks(
    layer: Layer, channels: int, inputs: ChangedInputs, outputs: Patches, block_values: int
) -> tuple[BoxBlock, ...]:
    """Blocks of as many regions as the workspace holds: that many numbers."""
    n_regions, n_dims = len(inputs.starts) - 1, len(layer.grid)
    low, high = bounds(inputs.patches, n_regions, n_dims)
    low = corners(layer.window, low)
    sides = high - low
    shape = tuple(sides.max(axis=0).tolist())
    rows = rows_in(inputs.numbers, inputs.starts, low, shape)
    rows[rows < 0] = inputs.starts[-1]
    regions, places = positions(outputs, n_dims)
    if layer.pool is not None:
        regions, places = regions.repeat(layer.n_children), children(places, layer.pool)
    values = math.prod(shape) * channels + layer.channels * math.prod(layer.window.results(shape))
    most = max(1, block_values // values)
    blocks = []
    for first in range(0, n_regions, most):
        own = slice(first, first + most)
        boxes = rows[(own, *(slice(0, n) for n in sides[own].max(axis=0)))]
        a, b = np.searchsorted(regions, [first, first + most]).tolist()
        if b > a:
            begin = low[regions[a:b]]
            blocks.append(
                _block(layer, boxes, places[a:b] - _first(layer, begin), regions[a:b] - first, a)
            )
    return tuple(blocks)


def corners(window: Window, low: Coordinates) -> Coordinates:
    """Where boxes that hold positions from `low` on begin: whole strides from a first window."""
    stride, shift = np.asarray(window.stride), np.asarray(window.padding) + 1
    return low - (low + shift - np.asarray(window.extent)) % stride


def _first(layer: Layer, corner: Coordinates) -> Coordinates:
    """First outputs of the results of boxes that begin at a corner."""
    window = layer.window
    before = np.asarray(window.padding) + 1 - np.asarray(window.extent)
    return (corner + before) // np.asarray(window.stride)


def _block(
    layer: Layer,
    boxes: NDArray[np.int32],
    places: Coordinates,
    regions: NDArray[np.int64],
    first: int,
) -> BoxBlock:
    """Make a block of rows in boxes, with outputs by their places in the results of regions."""
    window, shape = layer.window, boxes.shape[1:]
    results = window.results(shape)
    there = np.logical_and.reduce((places >= 0) & (places < results), axis=1)
    flat = flat_positions(np.where(there[:, None], places, 0), results)
    return BoxBlock(
        inputs=int32(boxes.ravel()),
        shape=boxes.shape,
        padding=tuple(e - 1 for e in window.extent),
        outputs=(first, first + len(places)),
        entries=int32(flat + regions * math.prod(results)),
        absent=int32(np.flatnonzero(~there)),
        n_products=boxes.size * window.size // math.prod(window.stride),
    )
