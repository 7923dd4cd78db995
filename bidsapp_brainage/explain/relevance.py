"""Layer-wise relevance propagation: a number of the output handed back through the layers.

The rules are those of zennit 0.5 (Anders et al. 2021, arXiv 2106.13200), which cannot be imported
without torchvision; captum, which can, has neither its flat nor its alpha-beta rule.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, fx, nn

Rule: TypeAlias = Literal["epsilon", "plus", "alpha2_beta1", "flat"]
Layer: TypeAlias = Callable[[Tensor], Tensor]

EPSILON = 1e-9
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: Layers that relevance passes unchanged.
_POINTWISE = (nn.ReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)
#: Layers that only select or rearrange: relevance goes where the value came from.
_SELECTING = (
    *(nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
#: Layers whose relevance is shared in proportion to what each input adds to the output.
_ADDING = (
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: Functions and methods that only change the shape, or ask for it.
_RESHAPING = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "size", "getattr", "getitem",
              "cat")  # fmt: skip
_SUMS = (operator.add, torch.add)


@dataclass(frozen=True)
class Composite:
    """Rules for the convolutions of a network, the first one and the others.

    All else is the same everywhere: epsilon for linear layers, shares in proportion for averages
    and sums, and nothing for what only selects.
    """

    first: Rule
    others: Rule


COMPOSITES: Mapping[str, Composite] = {
    "first_epsilon_plus": Composite("epsilon", "plus"),
    "epsilon_plus": Composite("plus", "plus"),
    "epsilon_plus_flat": Composite("flat", "plus"),
    "epsilon_alpha2_beta1": Composite("alpha2_beta1", "alpha2_beta1"),
    "epsilon_alpha2_beta1_flat": Composite("flat", "alpha2_beta1"),
}


def prepared(member: nn.Module) -> fx.GraphModule:
    """A copy of a network as :func:`propagate` takes it.

    Batch normalisation is merged into the convolutions before it, and nothing is done in place.

    Raises
    ------
    TypeError
        Naming the first operation that is no known layer.
    """
    from torch.fx.experimental.optimization import fuse

    network = copy.deepcopy(member).cpu().eval()
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    merged = fuse(network).eval()
    assert isinstance(merged, fx.GraphModule)
    known = (*_CONVOLUTIONS, nn.Linear, *_POINTWISE, *_SELECTING, *_ADDING, *_NORMS)
    for node in merged.graph.nodes:
        if node.op == "call_module":
            module = merged.get_submodule(str(node.target))
            if not isinstance(module, known):
                raise TypeError(f"layer {node.target} is of type {type(module).__name__}")
        elif node.op in ("call_function", "call_method") and not _is_known(node):
            raise TypeError(f"operation {_name(node)} is no layer")
    return merged.requires_grad_(requires_grad=False)


def propagate(
    network: fx.GraphModule, batch: Tensor, relevance: Tensor, composite: Composite
) -> Tensor:
    """Hand the relevance of the output back to the input.

    Parameters
    ----------
    network : torch.fx.GraphModule
        From :func:`prepared`.
    batch : Tensor, shape (N, 1, D, H, W)
    relevance : Tensor
        Of the output of the network, in its shape.
    composite : Composite

    Returns
    -------
    Tensor
        In the shape of the batch; the sum is that of the output less what biases absorb.
    """
    with torch.no_grad():
        passed = fx.Interpreter(network, garbage_collect_values=False)
        passed.run(batch)
    rules = _rules(network, composite)
    at: dict[fx.Node, Tensor] = {}
    for node in reversed(network.graph.nodes):
        if node.op == "output":
            at[node.all_input_nodes[0]] = relevance
        elif node.op == "placeholder":
            return at.get(node, torch.zeros_like(batch))
        elif node in at:
            for source, part in _shares(network, node, passed.env, at.pop(node), rules):
                at[source] = at[source] + part if source in at else part
    raise TypeError("the network has no input")


def _shares(
    network: fx.GraphModule,
    node: fx.Node,
    values: Mapping[fx.Node, Any],
    relevance: Tensor,
    rules: Mapping[str, Rule],
) -> list[tuple[fx.Node, Tensor]]:
    """What each input of a node gets of its relevance."""
    sources = [source for source in node.all_input_nodes if isinstance(values[source], Tensor)]
    if node.op != "call_module":
        found: list[Tensor] = []
        inputs = [_tensor(values, source).detach().requires_grad_() for source in sources]
        with torch.enable_grad():
            replaced = dict(zip(sources, inputs, strict=True))
            out = _call(node, {**values, **replaced})
        if node.target in _SUMS:
            part = relevance / _stable(out.detach())
            found = [each.detach() * part for each in inputs]
        else:
            found = list(torch.autograd.grad(out, inputs, relevance))
        return list(zip(sources, found, strict=True))
    (source,) = sources
    x = _tensor(values, source)
    module = network.get_submodule(str(node.target))
    if isinstance(module, (*_POINTWISE, *_NORMS)):
        return [(source, relevance)]
    if isinstance(module, _SELECTING):
        return [(source, _pulled_back(module, x, relevance))]
    if isinstance(module, _CONVOLUTIONS):
        return [(source, _convolution(module, x, relevance, rules[str(node.target)]))]
    return [(source, x * _pulled_back(module, x, relevance / _stable(module(x))))]


def _convolution(module: nn.Module, x: Tensor, relevance: Tensor, rule: Rule) -> Tensor:
    if rule == "epsilon":
        return x * _pulled_back(module, x, relevance / _stable(module(x)))
    if rule == "flat":
        even, ones = _with_weights(module, torch.ones_like, bias=False), torch.ones_like(x)
        return _pulled_back(even, ones, relevance / _stable(even(ones)))
    positive = _signed_part(module, x, relevance, sign=1)
    if rule == "plus":
        return positive
    return 2 * positive - _signed_part(module, x, relevance, sign=-1)


def _signed_part(module: nn.Module, x: Tensor, relevance: Tensor, *, sign: int) -> Tensor:
    """Relevance by the products of weights and inputs that have one sign, and the bias that has."""

    def of_sign(weight: Tensor) -> Tensor:
        return weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)

    def of_other_sign(weight: Tensor) -> Tensor:
        return weight.clamp(max=0) if sign > 0 else weight.clamp(min=0)

    parts = [(x.clamp(min=0), _with_weights(module, of_sign, bias=True))]
    if (x < 0).any():
        parts.append((x.clamp(max=0), _with_weights(module, of_other_sign, bias=False)))
    part = relevance / _stable(torch.stack([layer(side) for side, layer in parts]).sum(dim=0))
    shares = [side * _pulled_back(layer, side, part) for side, layer in parts]
    return torch.stack(shares).sum(dim=0)


def _with_weights(module: nn.Module, change: Layer, *, bias: bool) -> nn.Module:
    """A copy with other weights, and a bias changed alike or left out."""
    other = copy.deepcopy(module)
    for name, parameter in other.named_parameters():
        if name == "bias" and not bias:
            parameter.zero_()
        else:
            parameter.copy_(change(parameter))
    return other


def _pulled_back(layer: Layer, x: Tensor, cotangent: Tensor) -> Tensor:
    """Product of a cotangent of the output with the derivative of a layer."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        out = layer(x)
    return torch.autograd.grad(out, x, cotangent)[0]


def _stable(values: Tensor) -> Tensor:
    """Away from 0 by a small number of the same sign."""
    return values + torch.where(values < 0, -EPSILON, EPSILON)


def _rules(network: fx.GraphModule, composite: Composite) -> dict[str, Rule]:
    """Rule of every convolution by its name.

    Convolutions of single voxels at the beginning only make a function of each voxel, whose
    relevance is the voxel's, whatever the composite says.
    """
    rules: dict[str, Rule] = {}
    first, single = True, {node for node in network.graph.nodes if node.op == "placeholder"}
    for node in network.graph.nodes:
        if node.op != "call_module":
            continue
        module, name = network.get_submodule(str(node.target)), str(node.target)
        before = set(node.all_input_nodes) <= single
        if isinstance(module, _CONVOLUTIONS):
            if before and _of_single_voxels(module):
                rules[name] = "flat"
                single.add(node)
            else:
                rules[name] = composite.first if first else composite.others
                first = False
        elif before and isinstance(module, _POINTWISE):
            single.add(node)
    return rules


def _of_single_voxels(module: nn.Module) -> bool:
    assert isinstance(module, _CONVOLUTIONS)
    return set(module.kernel_size) == set(module.stride) == {1} and not any(
        size != 0 for size in module.padding
    )


def _tensor(values: Mapping[fx.Node, Any], node: fx.Node) -> Tensor:
    value: Tensor = values[node]
    return value


def _call(node: fx.Node, values: Mapping[fx.Node, Any]) -> Tensor:
    """Run a function or method again."""
    arguments = fx.map_arg(node.args, values.__getitem__)
    keywords = fx.map_arg(node.kwargs, values.__getitem__)
    if node.op == "call_method":
        first, *others = arguments
        return getattr(first, str(node.target))(*others, **keywords)
    assert callable(node.target)
    return node.target(*arguments, **keywords)


def _is_known(node: fx.Node) -> bool:
    if node.target in _SUMS:
        return len(node.all_input_nodes) == 2 == len(node.args)  # of two tensors, no constant
    return _name(node) in _RESHAPING


def _name(node: fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target))
