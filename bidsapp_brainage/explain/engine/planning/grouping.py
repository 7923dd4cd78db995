"""Which regions are computed together: those whose boxes are alike in every layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.explain.engine.geometry import Patch
from bidsapp_brainage.explain.engine.graph import Kind, Layer

# Time to begin with another group in one layer, in multiply-adds of a large matrix product: a
# dozen operations of torch, and a plan of oneDNN for boxes of another shape.
GROUP_COST = 8e6
FEW = 8  # regions of a group at least: products of fewer rows are slow


def alike_regions(layers: Sequence[Layer], patches: Sequence[Patch | None]) -> list[list[int]]:
    """Part regions (those with voxels) into groups that share boxes in all layers at little cost.

    Groups and their members come in the order of the regions.
    """
    numbers = [k for k, patch in enumerate(patches) if patch is not None and patch.box.any()]
    if not numbers:
        return []
    sides = _sides(layers, [patches[k] for k in numbers])
    costs = np.array([layer.products / layer.n_children for layer in layers if _counts(layer)])
    groups = _parts(np.arange(len(numbers)), sides, costs)
    return sorted([numbers[k] for k in sorted(group)] for group in groups)


def _counts(layer: Layer) -> bool:
    return layer.products > 0 and layer.adds_up


def _sides(layers: Sequence[Layer], patches: Sequence[Patch | None]) -> NDArray[np.float64]:
    """Sides of the boxes that changes reach (layers, regions, axes), before any pool."""
    present = [patch for patch in patches if patch is not None]
    bounds = [(np.array([p.origin for p in present]), np.array([p.end for p in present]))]
    found = []
    for layer in layers[1:]:
        low = np.minimum.reduce([bounds[k][0] for k in layer.inputs])
        high = np.maximum.reduce([bounds[k][1] for k in layer.inputs])
        if layer.kind is not Kind.JOIN:
            low, high = layer.window.reach(low, high, layer.before)
        if _counts(layer):
            found.append(high - low)
        if layer.pool is not None:
            low, high = layer.pool.reach(low, high, layer.grid)
        bounds.append((low, high))
    n_axes = len(present[0].origin)
    return np.array(found, dtype=float).reshape(len(found), len(present), n_axes)


def _parts(
    members: NDArray[np.intp], sides: NDArray[np.float64], costs: NDArray[np.float64]
) -> Iterator[NDArray[np.intp]]:
    """Cut a group in two as long as that saves more than it costs."""
    best, cut = GROUP_COST * len(costs), None
    if len(members) >= 2 * FEW and len(costs):
        whole = len(members) * float(costs @ sides[:, members].max(axis=1).prod(axis=1))
        for axis in range(sides.shape[2]):
            order = members[np.argsort(sides[:, members, axis].sum(axis=0), kind="stable")]
            saved = whole - _split_costs(sides[:, order], costs)
            k = FEW + int(np.argmax(saved[FEW - 1 : len(order) - FEW]))
            if saved[k - 1] > best:
                best, cut = float(saved[k - 1]), (order[:k], order[k:])
    if cut is None:
        yield members
    else:
        for part in cut:
            yield from _parts(part, sides, costs)


def _split_costs(sides: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Costs of the first k and the other regions in boxes of their own (k = 1, 2, ...)."""
    first = np.maximum.accumulate(sides, axis=1).prod(axis=2)[:, :-1]
    last = np.maximum.accumulate(sides[:, ::-1], axis=1).prod(axis=2)[:, ::-1][:, 1:]
    n = np.arange(1, sides.shape[1])
    return costs @ (first * n + last * n[::-1])
