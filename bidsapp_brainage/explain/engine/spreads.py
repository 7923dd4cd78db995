"""Which positions of every layer change for the regions of a chunk.

On a small grid all regions of a chunk are one set with an axis of regions in front: there, calls
cost more than what they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .geometry import Patch, Window, reached, union
from .graph import Kind, Layer

Patches: TypeAlias = tuple[Patch | None, ...]

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
    """

    own: Patches
    read: Patches
    counts: tuple[int, ...]
    joint: bool


def spread(
    layers: Sequence[Layer], patches: Sequence[Patch | None], *, small_grid: int = SMALL_GRID
) -> list[Spread]:
    """Positions of every layer's output that change when the inputs in some patches change.

    Grids of at most `small_grid` positions are small.
    """
    found: list[Spread] = []
    n_regions = len(patches)
    for layer in layers:
        joint = _is_joint(layer, small_grid)
        if layer.kind is Kind.INPUT:
            own: Patches = tuple(patches)
        else:
            sources = [found[k].own if layer.reads_input_alone else found[k].read
                       for k in layer.inputs]  # fmt: skip
            seen = with_regions(layer, n_regions) if joint else layer
            own = tuple(_changed(seen, parts) for parts in zip(*sources, strict=True))
        small = math.prod(layer.grid) <= small_grid
        read = own
        if small != joint:
            read = (side_by_side(own),) if small else apart(own[0], n_regions)
        found.append(Spread(own, read, _counts(read, n_regions, joint=small), joint))
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


def side_by_side(patches: Patches) -> Patch | None:
    """Patches as one, with an axis of regions in front."""
    present = [patch for patch in patches if patch is not None]
    if not present:
        return None
    low = [min(values) for values in zip(*(patch.origin for patch in present), strict=True)]
    high = [max(values) for values in zip(*(patch.end for patch in present), strict=True)]
    box = np.zeros((len(patches), *(b - a for a, b in zip(low, high, strict=True))), dtype=bool)
    for number, patch in enumerate(patches):
        if patch is not None:
            start = [o - a for o, a in zip(patch.origin, low, strict=True)]
            place = tuple(slice(a, a + n) for a, n in zip(start, patch.box.shape, strict=True))
            box[number][place] = patch.box
    return Patch((0, *low), box)


def apart(patch: Patch | None, n_regions: int) -> Patches:
    """The patches of regions, from one with an axis of regions in front."""
    if patch is None:
        return (None,) * n_regions
    return tuple(Patch(patch.origin[1:], box) if box.any() else None for box in patch.box)


def count(patch: Patch | None) -> int:
    """Number of positions."""
    return 0 if patch is None else int(np.count_nonzero(patch.box))


def _changed(layer: Layer, sources: Sequence[Patch | None]) -> Patch | None:
    """Outputs that change with the inputs in `sources`, one for each input of the layer."""
    if layer.kind is Kind.JOIN:
        return union(sources)
    if layer.kind is Kind.SUM:
        n_dims = len(layer.grid)
        return Patch((0,) * n_dims, np.ones((1,) * n_dims, dtype=bool)) if sources[0] else None
    window = layer.window
    if layer.pool is None:
        return reached(sources[0], window, layer.grid)
    ends_meet = zip(window.stride, window.kernel, window.dilation, strict=True)
    if all(s <= k and d == 1 for s, k, d in ends_meet):
        return reached(sources[0], layer.patch, layer.grid)  # a window without gaps
    return reached(reached(sources[0], window, layer.before), layer.pool, layer.grid)


def _is_joint(layer: Layer, small_grid: int) -> bool:
    """Whether the inputs of a layer have an axis of regions in front."""
    own_way = layer.kind is Kind.INPUT or layer.reads_input_alone
    return not own_way and math.prod(layer.source_grid) <= small_grid


def _along_regions(window: Window) -> Window:
    return Window(
        (1, *window.kernel), (1, *window.stride), (0, *window.padding), (1, *window.dilation)
    )


def _counts(patches: Patches, n_regions: int, *, joint: bool) -> tuple[int, ...]:
    if not joint:
        return tuple(count(patch) for patch in patches)
    (everything,) = patches
    if everything is None:
        return (0,) * n_regions
    sums: NDArray[np.int64] = np.count_nonzero(everything.box.reshape(n_regions, -1), axis=1)
    return tuple(sums.tolist())
