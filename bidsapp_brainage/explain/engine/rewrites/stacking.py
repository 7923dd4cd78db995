"""Networks of one geometry, such as the members of an ensemble, as one network.

The channels of all members lie side by side: gathers and tables are shared, the first convolution
is one wide product, and later ones are grouped convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bidsapp_brainage.explain.engine.graph import (
    Kind,
    Layer,
    Network,
    Operation,
    PointFunction,
    VoxelSum,
)
from bidsapp_brainage.explain.engine.reading.vocabulary import POINTWISE

from .additive import VoxelFunction


def stacks(networks: Sequence[Network]) -> bool:
    """Whether :func:`stack` can take the networks."""
    first = networks[0]
    of_input = [layer for layer in first.layers if 0 in layer.inputs]
    wide = all(layer.kind in (Kind.STEM, Kind.SUM, Kind.CONV) for layer in of_input)
    return wide and all(
        other.signature == first.signature
        and (other.dtype, other.device) == (first.dtype, first.device)
        and [_counts(a) for a in other.operations] == [_counts(b) for b in first.operations]
        for other in networks[1:]
    )


def stack(networks: Sequence[Network]) -> Network:
    """One network that gives what each of several gives, in their order.

    The shape of each head is (members, *shape); see :func:`stacks`.
    """
    first, n = networks[0], len(networks)
    if n == 1:
        shapes = tuple((1, *shape) for shape in first.output_shapes)
        return replace(first, output_shapes=shapes)
    layers = tuple(_layer(layer, n) for layer in first.layers)
    operations = tuple(
        _operation(layer, [network.operations[k] for network in networks])
        for k, layer in enumerate(first.layers)
    )
    shapes = tuple((n, *shape) for shape in first.output_shapes)
    return replace(first, layers=layers, operations=operations, output_shapes=shapes)


def _counts(operation: Operation) -> tuple[object, ...]:
    return (
        operation.bias is None, len(operation.early), len(operation.late), len(operation.sums),
    )  # fmt: skip


def _layer(layer: Layer, n: int) -> Layer:
    if layer.kind is Kind.INPUT:
        return layer
    grouped = layer.kind is Kind.CONV and layer.inputs != (0,)  # the input is that of all
    groups = layer.groups * n if grouped else layer.groups
    return replace(
        layer, channels=layer.channels * n, products=layer.products * n, groups=groups
    )  # fmt: skip


def _operation(layer: Layer, members: Sequence[Operation]) -> Operation:
    return Operation(
        weight=_joined(members, lambda member: member.weight, torch.cat),
        rows=_joined(members, lambda member: member.rows, _rows_of(layer)),
        bias=_joined(members, lambda member: member.bias, _biases_of(layer)),
        function=_together([member.function for member in members if member.function]),
        sums=_sums(members),
        early=_each_together([member.early for member in members]),
        late=_each_together([member.late for member in members]),
    )


def _joined(
    members: Sequence[Operation],
    part: Callable[[Operation], Tensor | None],
    join: Callable[[list[Tensor]], Tensor],
) -> Tensor | None:
    parts = [tensor for member in members if (tensor := part(member)) is not None]
    return join(parts) if parts else None


def _rows_of(layer: Layer) -> Callable[[list[Tensor]], Tensor]:
    """How weights for rows are joined: a group for each member, or one product for all."""
    if layer.inputs == (0,):
        return lambda parts: _side_by_side(layer, parts)
    return torch.stack


def _biases_of(layer: Layer) -> Callable[[list[Tensor]], Tensor]:
    if layer.kind is Kind.STEM:
        return lambda parts: _side_by_side(layer, parts)
    return lambda parts: torch.cat(parts, dim=-1)


def _side_by_side(layer: Layer, parts: Sequence[Tensor]) -> Tensor:
    """Columns (..., n * channels) of members as (..., n * members * channels)."""
    split = [part.unflatten(-1, (-1, layer.channels)) for part in parts]
    return torch.stack(split, dim=-2).flatten(-3).contiguous()


def _sums(members: Sequence[Operation]) -> tuple[VoxelSum, ...]:
    """Sums over voxels: one for all members where they see voxels by the same function."""
    firsts = members[0].sums
    if all(
        _same(part.function, own.function)
        for member in members
        for part, own in zip(member.sums, firsts, strict=True)
    ):
        return tuple(_wide([member.sums[k] for member in members]) for k in range(len(firsts)))
    found: list[VoxelSum] = []
    for part in (part for member in members for part in member.sums):
        start = found[-1].outputs.stop if found else 0
        found.append(replace(part, outputs=range(start, start + len(part.outputs))))
    return tuple(found)


def _wide(parts: Sequence[VoxelSum]) -> VoxelSum:
    weight = torch.cat([part.weight for part in parts], dim=2)
    return VoxelSum(parts[0].function, weight, range(weight.shape[2]))


@dataclass(frozen=True)
class _Together:
    """The functions of several members on rows whose channels lie side by side.

    With one function it is that of all ``n_members``.
    """

    functions: tuple[PointFunction, ...]
    n_members: int

    def __call__(self, *values: Tensor) -> Tensor:
        n = self.n_members
        by_member = [rows.unflatten(1, (n, rows.shape[1] // n)) for rows in values]
        if len(self.functions) == 1:
            found = self.functions[0](*(rows.flatten(0, 1) for rows in by_member))
            return found.reshape(len(values[0]), n * found.shape[1])
        parts = [
            function(*(rows[:, k] for rows in by_member))
            for k, function in enumerate(self.functions)
        ]
        return torch.cat(parts, dim=1)


def _each_together(
    members: Sequence[Sequence[PointFunction]],
) -> tuple[PointFunction, ...]:
    found = [_together(functions) for functions in zip(*members, strict=True)]
    return tuple(function for function in found if function is not None)


def _together(functions: Sequence[PointFunction]) -> PointFunction | None:
    if not functions:
        return None
    first = functions[0]
    if not all(_same(first, other) for other in functions[1:]):
        return _Together(tuple(functions), len(functions))
    # A function of single values need not know whose they are.
    return first if type(first) in POINTWISE else _Together((first,), len(functions))


def _same(one: PointFunction, other: PointFunction) -> bool:
    """Whether two functions are certainly the same."""
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        holds = [*one.parameters(), *one.buffers(), *other.parameters(), *other.buffers()]
        return type(one) is type(other) and repr(one) == repr(other) and not holds
    if isinstance(one, VoxelFunction) and isinstance(other, VoxelFunction):
        return len(one.steps) == len(other.steps) and all(
            a[:2] == b[:2] and _same_operation(a[2], b[2])
            for a, b in zip(one.steps, other.steps, strict=True)
        )
    return bool(one == other)


def _same_operation(one: Operation, other: Operation) -> bool:
    if _counts(one) != _counts(other) or (one.function is None) != (other.function is None):
        return False
    pairs = [*zip(one.early, other.early, strict=True), *zip(one.late, other.late, strict=True)]
    if one.function is not None and other.function is not None:
        pairs.append((one.function, other.function))
    tensors = [(one.rows, other.rows), (one.bias, other.bias)]
    return all(_same(a, b) for a, b in pairs) and all(
        a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in tensors
    )
