"""Modules and functions of torch that are local, and what each means for the engine.

Whatever is not listed here is refused: an operation that mixed positions unnoticed would give
wrong numbers.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bidsapp_brainage.explain.engine.geometry import Shape, Window
from bidsapp_brainage.explain.engine.graph import PointFunction

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Role: TypeAlias = Literal["alias", "conv", "linear", "norm", "mean", "max", "pointwise", "join"]

CONVOLUTIONS = get_args(Convolution)
NORMS = get_args(Norm)
ALIASES = (
    nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
)  # fmt: skip
# Non-decreasing: they may trade places with max pooling, and give the same bits.
MONOTONE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus)
POINTWISE = (
    *MONOTONE, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid,
    nn.LogSigmoid, nn.Softsign, nn.PReLU,
)  # fmt: skip
BY_CHANNEL = (nn.Softmax, nn.LogSoftmax)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
MEAN_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
GLOBAL_MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
GLOBAL_MAXES = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)

_ALIAS_NAMES = {"flatten", "squeeze", "view", "reshape", "contiguous", "dropout", "unsqueeze"}
_POINTWISE_NAMES = {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid",
    "tanh", "softplus", "hardtanh", "hardswish", "logsigmoid", "abs", "exp", "square", "clamp",
    "neg", "pow", "log",
}  # fmt: skip
_ARITHMETIC = {
    "add": operator.add, "iadd": operator.add, "add_": operator.add,
    "sub": operator.sub, "isub": operator.sub, "sub_": operator.sub,
    "mul": operator.mul, "imul": operator.mul, "mul_": operator.mul,
    "truediv": operator.truediv, "div": operator.truediv,
    "maximum": torch.maximum, "minimum": torch.minimum,
}  # fmt: skip
_IN_PLACE = {"relu_": torch.relu}


@dataclass(frozen=True)
class Call:
    """What one node of a traced graph does."""

    role: Role
    module: Any = None  # when the node is a call of one
    function: PointFunction = torch.relu  # pointwise, of the operands
    operands: tuple[fx.Node, ...] = ()  # what a join reads, as its function's arguments
    by_channel: bool = False  # the function needs all channels of a position at once
    #: From the grid of the input to the window of a pooling; None when it is not supported.
    window: Callable[[Shape], Window | None] = Window.tiling


def call_of(node: fx.Node, modules: Mapping[str, nn.Module]) -> Call | None:
    """Tell what a node does; None when it is not known to be local.

    The ``meta["shape"]`` of the nodes holds the shapes of their tensors.
    """
    if node.op == "call_module":
        return _module_call(modules[str(node.target)])
    if node.op in ("call_function", "call_method"):
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return _function_call(node, str(name))
    return None


def _module_call(module: nn.Module) -> Call | None:
    roles: list[tuple[tuple[type, ...], Callable[[], Call]]] = [
        (CONVOLUTIONS, lambda: Call("conv", module)),
        ((nn.Linear,), lambda: Call("linear", module)),
        (NORMS, lambda: Call("norm", module, norm_function(cast(Norm, module)), by_channel=True)),
        (ALIASES, lambda: Call("alias", module)),
        (POINTWISE, lambda: Call("pointwise", module, _not_in_place(module))),
        (BY_CHANNEL, lambda: Call("pointwise", module, module, by_channel=True)),
        (MAX_POOLS, lambda: Call("max", module, window=_pool_window(module))),
        (MEAN_POOLS, lambda: Call("mean", module, window=_mean_window(module))),
        (GLOBAL_MEANS, lambda: Call("mean", module, window=_global_window(module.output_size))),
        (GLOBAL_MAXES, lambda: Call("max", module, window=_global_window(module.output_size))),
    ]
    for types, make in roles:
        # The very type: a subclass may do something else in its forward.
        if type(module) in types:
            call = make()
            return None if call.by_channel and getattr(module, "dim", 1) != 1 else call
    return None


def _function_call(node: fx.Node, name: str) -> Call | None:
    if name in _ALIAS_NAMES:
        return None if _option(node, "training", 2, default=False) is True else Call("alias")
    if name == "cat" and _option(node, "dim", 1, default=0) == 1:
        operands = tuple(node.args[0])  # type: ignore[arg-type]
        return Call("join", operands=operands, by_channel=True, function=_concatenate)
    if name in _ARITHMETIC:
        return _arithmetic_call(node, name)
    if name in _POINTWISE_NAMES:
        return _with_constants(node, _IN_PLACE.get(name) or _resolve(node, name))
    if name in ("softmax", "log_softmax") and _option(node, "dim", 1, default=None) == 1:
        function = torch.softmax if name == "softmax" else torch.log_softmax
        return Call("pointwise", function=_Applied(function, 0, [None, 1], {}), by_channel=True)
    if name == "mean":
        return _mean_over_grid(node)
    if name.startswith("adaptive_avg_pool"):
        return Call("mean", window=_global_window(_option(node, "output_size", 1, default=None)))
    return None


def _option(node: fx.Node, name: str, place: int, *, default: Any) -> Any:
    return node.kwargs.get(name, node.args[place] if len(node.args) > place else default)


def _resolve(node: fx.Node, name: str) -> Callable[..., Tensor]:
    if not isinstance(node.target, str):
        return node.target  # type: ignore[return-value]
    return getattr(torch, name)


def _arithmetic_call(node: fx.Node, name: str) -> Call | None:
    function = _ARITHMETIC[name]
    if node.kwargs:
        return None
    tensors = tuple(arg for arg in node.args if isinstance(arg, fx.Node))
    if len(tensors) == 2:
        if tensors[0] is tensors[1]:
            return Call("pointwise", function=lambda x: function(x, x))
        return Call("join", operands=tensors, function=function)
    return _with_constants(node, function)


def _with_constants(node: fx.Node, function: Callable[..., Tensor]) -> Call | None:
    """A function of one tensor and numbers."""
    places = [k for k, arg in enumerate(node.args) if isinstance(arg, fx.Node)]
    if len(places) != 1 or any(isinstance(value, fx.Node) for value in node.kwargs.values()):
        return None
    arguments = list(node.args)
    options = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    arguments[places[0]] = None
    return Call("pointwise", function=_Applied(function, places[0], arguments, options))


@dataclass(frozen=True)
class _Applied:
    """A function of a tensor at some place among other arguments; alike ones are equal."""

    function: Callable[..., Tensor]
    place: int
    arguments: list[Any]
    options: dict[str, Any]

    def __call__(self, x: Tensor) -> Tensor:
        filled = [x if k == self.place else value for k, value in enumerate(self.arguments)]
        return self.function(*filled, **self.options)


def _mean_over_grid(node: fx.Node) -> Call | None:
    dims = _option(node, "dim", 1, default=None)
    if not isinstance(dims, int | list | tuple):
        return None
    axes = [dims] if isinstance(dims, int) else list(dims)
    shape = node.all_input_nodes[0].meta["shape"]
    every = {int(axis) % len(shape) for axis in axes} == set(range(2, len(shape)))  # type: ignore[call-overload]
    return Call("mean", window=Window.tiling) if every else None


def _concatenate(*tensors: Tensor) -> Tensor:
    return torch.cat(tensors, dim=1)


def _not_in_place(module: nn.Module) -> nn.Module:
    """The module as one that leaves its input alone: intact rows must survive."""
    if not getattr(module, "inplace", False):
        return module
    safe = copy.copy(module)
    safe.inplace = False  # type: ignore[assignment]
    return safe


def norm_function(module: Norm) -> PointFunction:
    """Batch normalisation with fixed statistics, for rows as for volumes."""
    return lambda x: F.batch_norm(
        x, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0,
        module.eps,
    )  # fmt: skip


def norm_terms(module: Norm) -> tuple[Tensor, Tensor]:
    """Scale and shift (float64, one per channel) of batch normalisation."""
    assert module.running_mean is not None and module.running_var is not None
    scale = 1.0 / torch.sqrt(module.running_var.double() + module.eps)
    if module.weight is not None:
        scale = scale * module.weight.detach().double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.detach().double()
    return scale, shift


def split_monotone(
    functions: Sequence[PointFunction],
) -> tuple[list[PointFunction], list[PointFunction]]:
    """Part functions before max pooling into those that must stay there and those that may follow.

    A non-decreasing function of the maximum is the maximum of the function.
    """
    stay = list(functions)
    follow: list[PointFunction] = []
    while stay and type(stay[-1]) in MONOTONE and getattr(stay[-1], "negative_slope", 0) >= 0:
        follow.insert(0, stay.pop())
    return stay, follow


def conv_window(module: Convolution) -> Window | None:
    """Window of a convolution; None when it pads with anything but zeros, or unevenly."""
    n_dims = len(module.kernel_size)
    spans = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    if module.padding == "same":
        padding = tuple(span // 2 for span in spans)
        if any(span % 2 for span in spans):
            return None
    else:
        padding = _each(0 if module.padding == "valid" else module.padding, n_dims)
    if module.padding_mode != "zeros" and any(padding):
        return None
    return Window(tuple(module.kernel_size), tuple(module.stride), padding, tuple(module.dilation))


def _pool_window(module: Any) -> Callable[[Shape], Window | None]:
    def window(grid: Shape) -> Window | None:
        n = len(grid)
        if module.ceil_mode or getattr(module, "return_indices", False):
            return None
        return Window(
            _each(module.kernel_size, n),
            _each(module.stride, n),
            _each(module.padding, n),
            _each(getattr(module, "dilation", 1), n),
        )

    return window


def _mean_window(module: Any) -> Callable[[Shape], Window | None]:
    inner = _pool_window(module)

    def window(grid: Shape) -> Window | None:
        pooling = inner(grid)
        if pooling is None or getattr(module, "divisor_override", None) is not None:
            return None
        return pooling if module.count_include_pad or not any(pooling.padding) else None

    return window


def _global_window(size: Any) -> Callable[[Shape], Window | None]:
    def window(grid: Shape) -> Window | None:
        return Window.tiling(grid) if set(_each(size, len(grid))) == {1} else None

    return window


def _each(value: Any, n: int) -> Shape:
    return (int(value),) * n if isinstance(value, int) else tuple(int(v) for v in value)
