"""Boxes: the changed positions of a layer rounded up to dense boxes, all of one shape.

The boxes of the regions of a chunk are one batch for torch's own convolutions and poolings, which
need neither tables of products nor sums of intact values. That pays for poolings, and once changes
have reached the whole grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from bidsapp_brainage.explain.engine.geometry import Shape, flat_positions
from bidsapp_brainage.explain.engine.graph import Kind, Layer

from .costs import Extent, Form, changes_cost, output_boxes_cost
from .lookups import Lookup, int32
from .regions import Numbers, Patches, bounds, positions, rows_in, window_positions


@dataclass(frozen=True)
class BoxTable:
    """What a layer reads to compute boxes, one for each region.

    Attributes
    ----------
    n_boxes : int
    read : tuple of int
        Shape of what the windows of a box span on the input.
    before : tuple of int
        Shape of a box before the absorbed pool.
    padding : tuple of int
        What lies around ``read``: that of the window where boxes are the whole grid, else none.
    lookup : Lookup or None
        Values of all boxes in order; None when they are the rows of the input, in order.
    entries : Tensor or None
        Positions of boxes that are outputs; None when all are, in order.
    """

    n_boxes: int
    read: Shape
    before: Shape
    padding: Shape
    lookup: Lookup | None
    entries: Tensor | None


def box_shape(
    layer: Layer, channels: int, inputs: Extent, outputs: Extent, form: Form | None
) -> Shape | None:
    """Shape of boxes for the outputs of a layer, None where its changes are computed without."""
    shape = outputs.sides
    if form in ("rows", "tiles"):
        return None
    if layer.kind is Kind.CONV and shape != layer.grid:
        return None  # boxes of inputs are cheaper
    in_boxes = output_boxes_cost(layer, channels, outputs.n_regions, shape)
    quicker = in_boxes < changes_cost(layer, channels, inputs, outputs.n_positions)
    return shape if quicker or form == "boxes" else None


def make_boxes(
    layer: Layer, own: Patches, numbers: Numbers, starts: tuple[int, ...], shape: Shape
) -> BoxTable:
    """Make the table of a layer of which `own` is computed in boxes of a shape.

    `numbers` are the changed rows of its input, those of each region begin at `starts`; behind them
    stands the number of all.
    """
    read, window = layer.spans(shape), layer.window
    # A box that is the whole grid reads the whole input, and torch pads it.
    padding = window.padding if shape == layer.grid else (0,) * len(shape)
    before = layer.before_pool(shape)
    origin, _ = bounds(own, len(starts) - 1, len(shape))
    origin = np.minimum(origin, np.asarray(layer.grid) - shape)
    low = origin * layer.patch.stride - np.asarray(window.padding) + padding
    places, inside = window_positions(low, read, layer.source_grid)
    rows = np.where(inside, rows_in(numbers, starts, low, read), np.int32(-2)).ravel()
    in_order = np.array_equal(rows, np.arange(starts[-1]))
    lookup = None if in_order else Lookup.of(rows, places)
    regions, outputs = positions(own, len(shape))
    entries = flat_positions(outputs - origin[regions], shape) + regions * math.prod(shape)
    everything = len(entries) == len(low) * math.prod(shape)
    return BoxTable(len(low), read, before, padding, lookup, None if everything else int32(entries))
