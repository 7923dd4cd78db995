"""From a torch module to a :class:`~bidsapp_brainage.explain.engine.graph.Network`, by torch.fx."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from bidsapp_brainage.explain.engine.geometry import Shape, Window
from bidsapp_brainage.explain.engine.graph import Kind, Network, UnsupportedNetworkError
from bidsapp_brainage.explain.engine.rewrites.additive import sum_voxels

from . import vocabulary
from .drafts import Draft, assemble


def trace(
    module: nn.Module, shape: Sequence[int], *, device: str | torch.device | None = None
) -> Network:
    """Read a network of local operations.

    Batch normalisation is folded into the convolution before it, and non-overlapping max pooling
    and pointwise functions are absorbed by the layer that they follow. What only adds up functions
    of single voxels becomes one sum. The module is not changed.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode, all parameters of one floating dtype on one device.
    shape : sequence of int
        Shape of one input, without batch: ``(channels, *grid)``, one to three grid axes.
    device : str or torch.device, optional
        Where the network is to run; where the module is unless given.

    Raises
    ------
    UnsupportedNetworkError
        Something in the network is not local or not known; the message names it.
    """
    shape = tuple(int(n) for n in shape)
    module = copy.deepcopy(module).to(device).eval()
    parameter = next(module.parameters(), torch.empty(0))
    return sum_voxels(_Reader(_Graph(module, shape, parameter.dtype), shape).network(parameter))


class _Graph:
    """A traced module: its nodes, their shapes, and names for what the engine refuses."""

    def __init__(self, module: nn.Module, shape: Shape, dtype: torch.dtype) -> None:
        try:
            traced = fx.symbolic_trace(module)
        except Exception as error:  # whatever the module's forward does with a proxy
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnsupportedNetworkError(
                type(module).__name__, "forward", f"cannot be traced by torch.fx ({text})"
            ) from error
        self.nodes = list(traced.graph.nodes)
        self.modules = dict(traced.named_modules())
        # A batch of two keeps squeeze() from removing the batch axis.
        shapes = _Shapes(traced)
        shapes.run(torch.empty(2, *shape, device="meta", dtype=dtype))
        self._shapes = shapes.found
        for node in self.nodes:
            node.meta["shape"] = self._shapes.get(node.name)

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether a node stands for a tensor; others are sizes, numbers, or tuples of tensors."""
        return node.name in self._shapes

    def shape(self, node: fx.Node) -> Shape:
        """Shape of a node's tensor, batch axis first."""
        return self._shapes[node.name]

    def refusal(self, node: fx.Node, why: str) -> UnsupportedNetworkError:
        """The error that names the module or function of a node."""
        if node.op == "call_module":
            return UnsupportedNetworkError(
                f"Module {node.target}", type(self.modules[str(node.target)]).__name__, why
            )
        what = getattr(node.target, "__name__", str(node.target))
        return UnsupportedNetworkError(f"Operation {node.name}", what, why)


class _Shapes(fx.Interpreter):
    """Runs a graph without values for the shapes of its tensors.

    What the engine knows is not run: without values torch would import its compiler for most of it,
    which takes seconds.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[str, Shape] = {}
        self._modules = dict(module.named_modules())

    def run_node(self, n: fx.Node) -> Any:
        """Note the shape of what a node gives."""
        known = self._known(n)
        result = super().run_node(n) if known is None else known
        if isinstance(result, Tensor):
            self.found[n.name] = n.meta["shape"] = tuple(result.shape)
        return result

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a module without its values."""
        return copy.deepcopy(self.fetch_attr(target)).to("meta")(*args, **kwargs)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A tensor without its values."""
        value = super().get_attr(target, args, kwargs)
        return value.to("meta") if isinstance(value, Tensor) else value

    def _known(self, n: fx.Node) -> Tensor | None:
        call = vocabulary.call_of(n, self._modules)
        values = [self.env[node] for node in n.all_input_nodes]
        if call is None or not values or not all(isinstance(value, Tensor) for value in values):
            return None
        first: Tensor = values[0]
        match call.role:
            case "pointwise" | "norm":
                return first
            case "join" if not call.by_channel:
                return first.new_empty(np.broadcast_shapes(*(value.shape for value in values)))
            case "linear":
                return first.new_empty(*first.shape[:-1], call.module.out_features)
            case "conv":
                window, channels = vocabulary.conv_window(call.module), call.module.out_channels
            case "mean" | "max" if call.module is not None:
                window, channels = call.window(tuple(first.shape[2:])), first.shape[1]
            case _:
                return None
        if window is None:
            return None
        return first.new_empty(len(first), channels, *window.grid(tuple(first.shape[2:])))


class _Reader:
    """Walks over the nodes of a graph and drafts layers."""

    def __init__(self, graph: _Graph, shape: Shape) -> None:
        self._graph = graph
        self._shape = shape
        self._single = Window.single(len(shape) - 1)
        self._drafts: list[Draft] = []
        self._of: dict[fx.Node, Draft] = {}

    def network(self, parameter: Tensor) -> Network:
        outputs: list[fx.Node] = []
        for node in self._graph.nodes:
            if node.op == "output":
                heads = node.args[0]
                outputs = list(heads) if isinstance(heads, list | tuple) else [heads]
            elif node.op == "placeholder":
                self._placeholder(node)
            elif self._graph.is_tensor(node):
                self._tensor(node)
        return assemble(
            self._drafts,
            [self._of[node] for node in outputs],
            [self._graph.shape(node)[1:] for node in outputs],
            self._shape,
            parameter,
        )

    def _placeholder(self, node: fx.Node) -> None:
        if self._drafts:
            raise UnsupportedNetworkError(node.name, "input", "is a second input")
        self._draft(node, Kind.INPUT, [], self._single, self._shape[0], self._shape[1:])

    def _tensor(self, node: fx.Node) -> None:
        call = vocabulary.call_of(node, self._graph.modules)
        sources = [source for source in node.all_input_nodes if self._graph.is_tensor(source)]
        if call is None or any(source not in self._of for source in sources):
            raise self._graph.refusal(node, "is not known to be local")
        match call.role:
            case "alias":
                self._alias(node)
            case "conv":
                self._convolution(node, call.module)
            case "linear":
                self._linear(node, call.module)
            case "norm":
                self._norm(node, call)
            case "mean" | "max":
                self._pooling(node, call)
            case "pointwise":
                self._pointwise(node, call)
            case "join":
                self._join(node, call)

    def _alias(self, node: fx.Node) -> None:
        """Dropout, flattening and other changes of shape that leave positions where they are."""
        source = self._source(node)
        before = self._graph.shape(node.all_input_nodes[0])
        after = self._graph.shape(node)
        in_order = after[0] == before[0] and (
            len(after) == 2 or after[1] == before[1] == source.channels
        )
        if after != before and not in_order:
            raise self._graph.refusal(node, "moves values between positions")
        self._of[node] = source

    def _convolution(self, node: fx.Node, module: vocabulary.Convolution) -> None:
        source = self._source(node)
        window = vocabulary.conv_window(module)
        if window is None:
            raise self._graph.refusal(node, f"pads with mode {module.padding_mode!r}")
        weight = _dense_groups(module.weight.detach().double(), module.groups)
        draft = self._window_draft(node, Kind.CONV, source, window, weight.shape[0])
        draft.weight = weight
        draft.bias = None if module.bias is None else module.bias.detach().double()

    def _linear(self, node: fx.Node, module: nn.Linear) -> None:
        """A linear layer is a convolution whose kernel covers the whole grid."""
        source = self._source(node)
        if len(self._graph.shape(node)) != 2:
            raise self._graph.refusal(node, "is applied along an axis of positions")
        window = Window.tiling(source.grid)
        weight = module.weight.detach().double()
        draft = self._draft(
            node, Kind.CONV, [source], window, weight.shape[0], window.grid(source.grid)
        )
        draft.weight = weight.reshape(weight.shape[0], source.channels, *source.grid)
        draft.bias = None if module.bias is None else module.bias.detach().double()

    def _norm(self, node: fx.Node, call: vocabulary.Call) -> None:
        module = call.module
        if module.running_mean is None:
            raise self._graph.refusal(node, "normalises by the statistics of its input")
        source = self._source(node)
        if self._only_user(node) and source.absorb_norm(module):
            self._of[node] = source
        else:
            self._pointwise(node, call)

    def _pooling(self, node: fx.Node, call: vocabulary.Call) -> None:
        source = self._source(node)
        window = call.window(source.grid)
        if window is None:
            raise self._graph.refusal(node, "pools in a way that the engine does not know")
        if call.role == "max" and self._only_user(node) and source.absorb_max_pool(window):
            self._of[node] = source
            return
        kind = Kind.MEAN if call.role == "mean" else Kind.MAX
        self._window_draft(node, kind, source, window, source.channels)

    def _pointwise(self, node: fx.Node, call: vocabulary.Call) -> None:
        source = self._source(node)
        if call.by_channel and not self._has_channels(node, source):
            raise self._graph.refusal(node, "acts on the features of several positions")
        if self._only_user(node) and source.absorb_function(call.function):
            self._of[node] = source
            return
        self._join_draft(node, [source], source.channels, call)

    def _join(self, node: fx.Node, call: vocabulary.Call) -> None:
        sources = [self._of[source] for source in call.operands]
        if len({source.grid for source in sources}) != 1:
            raise self._graph.refusal(node, "combines tensors of different grids")
        joined = call.by_channel
        if joined and not all(
            self._has_channels(operand, source)
            for operand, source in zip(call.operands, sources, strict=True)
        ):
            raise self._graph.refusal(node, "joins the features of several positions")
        counts = [source.channels for source in sources]
        if not joined and len(set(counts) - {1}) > 1:
            raise self._graph.refusal(node, "combines tensors of different numbers of channels")
        channels = sum(counts) if joined else max(counts)
        self._join_draft(node, sources, channels, call)

    def _source(self, node: fx.Node) -> Draft:
        return self._of[node.all_input_nodes[0]]

    def _only_user(self, node: fx.Node) -> bool:
        """Whether nothing but `node` reads the tensor that `node` reads."""
        before = node.all_input_nodes[0]
        draft = self._of[before]
        chain = [other for other, owner in self._of.items() if owner is draft]
        readers = {user for other in chain for user in other.users} - set(chain)
        return {node} == {
            user for user in readers if self._graph.is_tensor(user) or user.op == "output"
        }

    def _has_channels(self, node: fx.Node, source: Draft) -> bool:
        """Whether axis 1 of the tensor holds one position's channels, no more."""
        return self._graph.shape(node)[1] == source.channels

    def _window_draft(
        self, node: fx.Node, kind: Kind, source: Draft, window: Window, channels: int
    ) -> Draft:
        grid = window.grid(source.grid)
        whole = window == Window.tiling(source.grid)
        if not whole and self._graph.shape(node.all_input_nodes[0])[2:] != source.grid:
            raise self._graph.refusal(node, "works on a tensor whose grid was reshaped")
        if not whole and self._graph.shape(node)[2:] != grid:
            raise self._graph.refusal(node, "rounds the size of its output up")
        return self._draft(node, kind, [source], window, channels, grid)

    def _join_draft(
        self, node: fx.Node, sources: list[Draft], channels: int, call: vocabulary.Call
    ) -> None:
        draft = self._draft(node, Kind.JOIN, sources, self._single, channels, sources[0].grid)
        draft.function = call.function

    def _draft(
        self,
        node: fx.Node,
        kind: Kind,
        inputs: list[Draft],
        window: Window,
        channels: int,
        before: Shape,
    ) -> Draft:
        name = str(node.target) if node.op == "call_module" else node.name
        draft = Draft(name, kind, inputs, window, channels, before)
        self._drafts.append(draft)
        self._of[node] = draft
        return draft


def _dense_groups(weight: Tensor, groups: int) -> Tensor:
    """The weight of a grouped convolution as that of an ordinary one, with zeros."""
    if groups == 1:
        return weight
    out, into = weight.shape[0] // groups, weight.shape[1]
    dense = weight.new_zeros(weight.shape[0], into * groups, *weight.shape[2:])
    for g in range(groups):
        rows = slice(g * out, (g + 1) * out)
        dense[rows, g * into : (g + 1) * into] = weight[rows]
    return dense
