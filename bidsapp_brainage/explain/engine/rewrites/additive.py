"""Linear layers on functions of single voxels, as one sum over voxels.

Where a network reads every voxel by itself, however bent the function, and then only adds up
(means over blocks, convolutions without a function behind them, a linear layer over the whole
grid), its answer is a sum over voxels. What occluding a region changes is then the sum of what its
voxels change, whatever the fill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bidsapp_brainage.explain.engine.full_pass import apply_all, window_sums
from bidsapp_brainage.explain.engine.geometry import Window
from bidsapp_brainage.explain.engine.graph import Kind, Layer, Network, Operation, VoxelSum, is_kept

# Weights of a sum are laid out by voxel; more of them than this are not worth their memory.
MAX_WEIGHTS = 1 << 26


def sum_voxels(network: Network) -> Network:
    """The same network with sums over voxels where it has them."""
    for last, layer in enumerate(network.layers):
        if layer.covers_grid and layer.pool is None:
            chain = _chain_of_voxels(network, last)
            if chain:
                network = _with_sum(network, chain)
    return _without_unread(network)


def _chain_of_voxels(network: Network, last: int) -> list[int]:
    """Layers up to `last` that only add up what single voxels give; none where they do not.

    Of several such chains that whose first layer reads the fewest features.
    """
    chain = _linear_chain(network, last)
    features = {}
    for start in range(len(chain)):
        source = network.layers[chain[start]].inputs[0]
        if _reads_voxels(network, source):
            features[start] = network.layers[source].channels
    if not features:
        return []
    start = min(features, key=lambda k: (features[k], -k))
    size = network.layers[last].channels * math.prod(network.shape[1:]) * features[start]
    return chain[start:] if size <= MAX_WEIGHTS else []


def _linear_chain(network: Network, last: int) -> list[int]:
    """Layers up to `last` that do nothing but add up, the first of them first."""
    chain = [last]
    while True:
        before = network.layers[chain[0]].inputs[0]
        layer, operation = network.layers[before], network.operations[before]
        bent = operation.early or operation.late or layer.pool is not None
        readers = [k for k, other in enumerate(network.layers) if before in other.inputs]
        adds = layer.kind in (Kind.CONV, Kind.MEAN, Kind.STEM)
        if not adds or bent or readers != [chain[0]] or before in network.outputs:
            return chain
        chain.insert(0, before)


def _reads_voxels(network: Network, number: int) -> bool:
    """Whether every value of a layer depends on one voxel of the input, at its own position."""
    layer = network.layers[number]
    if layer.kind is Kind.INPUT:
        return True
    pointwise = layer.kind is Kind.JOIN or (
        layer.kind in (Kind.CONV, Kind.STEM)
        and layer.window == Window.single(len(layer.grid))
        and layer.pool is None
    )
    return pointwise and all(_reads_voxels(network, source) for source in layer.inputs)


@dataclass(frozen=True)
class VoxelFunction:
    """The layers of a network that read single voxels: rows (n, in) to rows (n, features).

    ``steps`` are a layer's number, its inputs' numbers and its operation, in order of execution;
    the last gives the features.
    """

    steps: tuple[tuple[int, tuple[int, ...], Operation], ...]

    @classmethod
    def of(cls, network: Network, last: int) -> VoxelFunction:
        """Those that layer `last` depends on."""
        used = {last}
        for number in range(last, 0, -1):
            if number in used:
                used.update(network.layers[number].inputs)
        numbers = sorted(used - {0})
        return cls(tuple((k, network.layers[k].inputs, network.operations[k]) for k in numbers))

    def __call__(self, rows: Tensor) -> Tensor:
        """Features of some voxels."""
        values = {0: rows}
        for number, inputs, operation in self.steps:
            sources = [values[k] for k in inputs]
            if operation.function is not None:
                result = operation.function(*sources)
            else:
                assert operation.rows is not None
                single = len(operation.rows) == 1  # a product of this shape is slow
                product = torch.mul if single else torch.mm
                result = product(sources[0], operation.rows)
                result = result if operation.bias is None else result + operation.bias
            values[number] = rows = apply_all(operation.late, result)
        return rows


def _with_sum(network: Network, chain: Sequence[int]) -> Network:
    """The last layer of a chain replaced by a sum over voxels; the others may go unread."""
    first, last = chain[0], chain[-1]
    source = network.layers[first].inputs[0]
    weight, constant = _adjoint(network, chain)
    sum_ = VoxelSum(VoxelFunction.of(network, source), weight, range(weight.shape[2]))
    old, grid = network.layers[last], network.layers[0].grid
    layer = replace(
        old, kind=Kind.SUM, inputs=(0,), window=Window.tiling(grid), source_grid=grid,
        products=weight.shape[1] * weight.shape[2],
    )  # fmt: skip
    operation = Operation(sums=(sum_,), bias=constant, late=network.operations[last].late)
    layers, operations = list(network.layers), list(network.operations)
    layers[last], operations[last] = layer, operation
    return replace(network, layers=tuple(layers), operations=tuple(operations))


def _adjoint(network: Network, chain: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Weights (voxels, features, out) of a chain of linear layers, and its constant (1, out)."""
    last = network.operations[chain[-1]]
    assert last.weight is not None
    weight = last.weight.double()
    constant = weight.new_zeros(len(weight)) if last.bias is None else last.bias.double()
    for number in reversed(chain[:-1]):
        layer, operation = network.layers[number], network.operations[number]
        if operation.bias is not None:
            constant = constant + weight.flatten(2).sum(dim=2) @ operation.bias.double()
        weight = _weight_before(layer, operation, weight)
    by_voxel = weight.flatten(2).permute(2, 1, 0)
    return by_voxel.to(network.dtype).contiguous(), constant[None]


def _weight_before(layer: Layer, operation: Operation, weight: Tensor) -> Tensor:
    """Weights of a layer's input, from those (out, channels, *grid) of its output."""
    if operation.weight is not None and layer.window == Window.single(len(layer.grid)):
        return torch.einsum("oc...,ci->oi...", weight, operation.weight.double().flatten(1))
    if layer.kind is Kind.MEAN and layer.window.tiles:
        for axis, n in enumerate(layer.window.kernel):
            weight = weight.repeat_interleave(n, dim=2 + axis)
        missing = [n - k for n, k in zip(layer.source_grid, weight.shape[2:], strict=True)]
        return F.pad(weight / layer.window.size, [k for n in reversed(missing) for k in (0, n)])
    into = weight.shape[1] if operation.weight is None else operation.weight.shape[1]
    wide = None if operation.weight is None else operation.weight.double()
    with torch.enable_grad():
        before = weight.new_zeros(len(weight), into, *layer.source_grid).requires_grad_()
        after = window_sums(layer, Operation(weight=wide), before)
        return torch.autograd.grad(after, before, weight)[0]


def _without_unread(network: Network) -> Network:
    """The network without layers that no output depends on."""
    used = {0, *network.outputs}
    for number in reversed(range(len(network.layers))):
        if number in used:
            used.update(network.layers[number].inputs)
    numbers = sorted(used)
    place = {old: new for new, old in enumerate(numbers)}
    layers: list[Layer] = [
        replace(network.layers[k], inputs=tuple(place[i] for i in network.layers[k].inputs))
        for k in numbers
    ]
    outputs = tuple(place[k] for k in network.outputs)
    return replace(
        network,
        layers=tuple(
            replace(layer, kept=is_kept(k, layers, outputs)) for k, layer in enumerate(layers)
        ),
        operations=tuple(network.operations[k] for k in numbers),
        outputs=outputs,
    )
