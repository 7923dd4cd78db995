"""Multiply-adds of a plan: what the engine executes, and what there is to compute."""

from __future__ import annotations

from collections import Counter

from bidsapp_brainage.explain.engine import Network, OcclusionPlan
from bidsapp_brainage.explain.engine.graph import Kind, Layer
from bidsapp_brainage.explain.engine.tables import Chunk, LayerTable


def executed(plan: OcclusionPlan, network: Network) -> float:
    """Multiply-adds that the engine does for all regions, in forward passes."""
    return plan.multiply_adds() / network.multiply_adds()


def needed(plan: OcclusionPlan, network: Network) -> float:
    """The same without products by structural zeros, in forward passes."""
    return sum(needed_by_layer(plan, network).values()) / network.multiply_adds()


def needed_by_layer(plan: OcclusionPlan, network: Network) -> Counter[int]:
    """Multiply-adds of real taps onto outputs that exist, by number of layer.

    A stem multiplies a patch by the weights of all children of a pooled output at once; most of
    those weights are zeros. Other convolutions multiply every changed row by every tap; at the
    border some of these products belong to no output.
    """
    counts: Counter[int] = Counter()
    for group in plan.groups:
        counts.update(_of_chunk(plan.chunk(group), network))
    return counts


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


def _of_chunk(chunk: Chunk, network: Network) -> Counter[int]:
    if not chunk.layers:
        return full_by_layer(network)
    return Counter(
        {
            number: _of_table(layer, table, network)
            for number, (layer, table) in enumerate(zip(network.layers, chunk.layers, strict=True))
        }
    )


def _of_table(layer: Layer, table: LayerTable, network: Network) -> int:
    if layer.kind is Kind.STEM:
        return table.n_rows * layer.n_children * layer.window.size * layer.channels
    if layer.kind is Kind.CONV:
        per_entry = network.layers[layer.inputs[0]].channels * layer.channels
        return per_entry * sum(len(block.entries) for block in table.blocks)
    return 0
