"""Which positions of every layer change for the regions of a chunk.

On a small grid all regions of a chunk are one set with an axis of regions in front: there, calls
cost more than what they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bidsapp_brainage.explain.engine.geometry import Patch, Shape, Window, reached, union
from bidsapp_brainage.explain.engine.graph import Kind, Layer

from .boxes import box_shape
from .costs import Extent, Form
from .regions import Patches, apart, counts, everything, side_by_side

SMALL_GRID = 1 << 14


@dataclass(frozen=True)
class Spread:
    """Changed positions of one layer.

    Attributes
    ----------
    own : tuple of Patch or None
        Of each region, or one of all with an axis of regions in front: in the form of the layer's
        inputs.
    read : tuple of Patch or None
        The same in the form in which later layers read it.
    counts : tuple of int
        Positions of each region.
    joint : bool
        Whether the layer's inputs and ``own`` have an axis of regions.
    n_dims : int
        Axes of the layer's grid.
    shape : tuple of int or None
        Of boxes in which the layer is computed, in grid positions; None where only changes are.
        With boxes as large as the grid ``own`` is everything.
    """

    own: Patches
    read: Patches
    counts: tuple[int, ...]
    joint: bool
    n_dims: int
    shape: Shape | None = None

    @cached_property
    def extent(self) -> Extent:
        """How much changes, for estimates of time."""
        return Extent.of(self.read, self.counts, self.n_dims)


def spread(
    layers: Sequence[Layer],
    patches: Sequence[Patch | None],
    *,
    small_grid: int = SMALL_GRID,
    form: Form | None = None,
) -> list[Spread]:
    """Positions of every layer's output that change when the inputs in some patches change.

    Grids of at most `small_grid` positions are small. `form` is that of sums over windows wherever
    it can be; None: where it is quicker.
    """
    found: list[Spread] = []
    n_regions = len(patches)
    for layer in layers:
        joint, shape = _is_joint(layer, small_grid), None
        if layer.kind is Kind.INPUT:
            own: Patches = tuple(patches)
        else:
            sources = [found[k].own if layer.reads_input_alone else found[k].read
                       for k in layer.inputs]  # fmt: skip
            seen = with_regions(layer, n_regions) if joint else layer
            own = tuple(_changed(seen, parts) for parts in zip(*sources, strict=True))
            source = layer.inputs[0]
            channels, inputs = layers[source].channels, found[source]
            if layer.slides:
                shape = _box_shape(layer, channels, inputs, own, joint=joint, form=form)
            if shape == layer.grid:
                own = everything(layer.grid, n_regions, joint=joint)
        small = math.prod(layer.grid) <= small_grid
        read = own
        if small != joint:
            read = (side_by_side(own),) if small else apart(own[0], n_regions)
        found.append(
            Spread(own, read, counts(read, n_regions, joint=small), joint, len(layer.grid), shape)
        )
    return found


def with_regions(layer: Layer, n_regions: int) -> Layer:
    """A layer that does the same for each of several regions, along an axis in front."""
    return replace(
        layer,
        window=_along_regions(layer.window),
        pool=None if layer.pool is None else _along_regions(layer.pool),
        source_grid=(n_regions, *layer.source_grid),
        before=(n_regions, *layer.before),
        grid=(n_regions, *layer.grid),
    )


def _changed(layer: Layer, sources: Sequence[Patch | None]) -> Patch | None:
    """Outputs that change with the inputs in `sources`, one for each input of the layer."""
    if layer.kind is Kind.JOIN:
        return union(sources)
    if layer.kind is Kind.SUM:
        (single,) = everything(layer.grid, 1, joint=False)
        return single if sources[0] else None
    window = layer.window
    if layer.pool is None:
        return reached(sources[0], window, layer.grid)
    ends_meet = zip(window.stride, window.kernel, window.dilation, strict=True)
    if all(s <= k and d == 1 for s, k, d in ends_meet):
        return reached(sources[0], layer.patch, layer.grid)  # a window without gaps
    return reached(reached(sources[0], window, layer.before), layer.pool, layer.grid)


def _box_shape(
    layer: Layer,
    channels: int,
    inputs: Spread,
    own: Patches,
    *,
    joint: bool,
    form: Form | None,
) -> Shape | None:
    """Shape of boxes for the outputs of a layer; None where its changes are computed without."""
    n_regions = len(inputs.counts)
    n_outputs = counts(own, n_regions, joint=joint)
    if not all(n_outputs):
        return None
    outputs = Extent.of(own, n_outputs, len(layer.grid))
    return box_shape(layer, channels, inputs.extent, outputs, form)


def _is_joint(layer: Layer, small_grid: int) -> bool:
    """Whether the inputs of a layer have an axis of regions in front."""
    own_way = layer.kind is Kind.INPUT or layer.reads_input_alone
    return not own_way and math.prod(layer.source_grid) <= small_grid


def _along_regions(window: Window) -> Window:
    return Window(
        (1, *window.kernel), (1, *window.stride), (0, *window.padding), (1, *window.dilation)
    )
