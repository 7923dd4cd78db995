"""Multiply-adds of a plan: what the engine executes, and what there is to compute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from bidsapp_brainage.explain.engine import Network, OcclusionPlan
from bidsapp_brainage.explain.engine.graph import Kind, Layer
from bidsapp_brainage.explain.engine.planning.tables import Chunk, LayerTable


def executed(plan: OcclusionPlan, network: Network) -> float:
    """Multiply-adds of matrix products that the engine does for all regions, in forward passes."""
    return sum(executed_by_layer(plan, network).values()) / network.multiply_adds()


def needed(plan: OcclusionPlan, network: Network) -> float:
    """Multiply-adds of real taps onto outputs that exist, in forward passes."""
    return sum(needed_by_layer(plan, network).values()) / network.multiply_adds()


def needed_by_layer(plan: OcclusionPlan, network: Network) -> Counter[int]:
    """The same by number of layer.

    A stem multiplies a patch by the weights of all children of a pooled output at once; most of
    those weights are zeros. Other convolutions multiply changed rows by taps that at the border
    belong to no output, or tiles, which share products: then less is executed than needed.
    """
    return _by_layer(OcclusionPlan(network, plan.patches, form="rows"), network, _needed)


def executed_by_layer(plan: OcclusionPlan, network: Network) -> Counter[int]:
    """Multiply-adds that the engine does, by number of layer."""
    return _by_layer(plan, network, _executed)


def full_by_layer(network: Network) -> Counter[int]:
    """Multiply-adds of one full pass by number of layer."""
    counts: Counter[int] = Counter()
    for number, layer in enumerate(network.layers):
        weight = network.operations[number].weight
        if weight is not None:
            positions = 1
            for n in layer.before:
                positions *= n
            counts[number] = positions * weight.numel()
    return counts


Count = Callable[[Layer, LayerTable, int], int]


def _by_layer(plan: OcclusionPlan, network: Network, counted: Count) -> Counter[int]:
    counts: Counter[int] = Counter()
    for group in plan.groups:
        counts.update(_of_chunk(plan.chunk(group), network, counted))
    return counts


def _of_chunk(chunk: Chunk, network: Network, counted: Count) -> Counter[int]:
    if not chunk.layers:
        return full_by_layer(network)
    channels = [
        network.layers[layer.inputs[0]].channels if layer.inputs else 0 for layer in network.layers
    ]
    return Counter(
        {
            number: counted(layer, table, channels[number])
            for number, (layer, table) in enumerate(zip(network.layers, chunk.layers, strict=True))
        }
    )


def _needed(layer: Layer, table: LayerTable, channels: int) -> int:
    if layer.kind is Kind.STEM:
        return table.n_rows * layer.n_children * layer.window.size * layer.channels
    return _sums(layer, table, channels, sum(len(block.entries) for block in table.blocks))


def _executed(layer: Layer, table: LayerTable, channels: int) -> int:
    if layer.kind is Kind.STEM:
        return table.n_rows * layer.products
    if table.boxes is not None:
        n_outputs = table.boxes.n_boxes * math.prod(table.boxes.before)
        # oneDNN skips products with the padding around a whole grid
        inner = layer.inner_part if any(table.boxes.padding) else 1
        return _sums(layer, table, channels, round(n_outputs * layer.window.size * inner))
    return _sums(layer, table, channels, sum(block.n_products for block in table.blocks))


def _sums(layer: Layer, table: LayerTable, channels: int, n_products: int) -> int:
    """Multiply-adds of a convolution with so many products of a row with a matrix."""
    if layer.kind is not Kind.CONV:
        return 0
    n = table.n_rows if layer.pointwise else n_products
    return n * channels * layer.channels // layer.groups
