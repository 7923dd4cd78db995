"""From a torch module to a :class:`~.graph.Network`, by torch.fx."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from . import vocabulary
from .errors import UnsupportedNetworkError
from .geometry import Shape, Window
from .graph import Kind, Layer, Network, Operation, PointFunction

# A stem computes this many taps per output at most; beyond it, propagating changes is cheaper.
MAX_STEM_TAPS = 512


def trace(
    module: nn.Module, shape: Sequence[int], *, device: str | torch.device | None = None
) -> Network:
    """Read a network of local operations.

    Batch normalisation is folded into the convolution before it, and non-overlapping max pooling
    and pointwise functions are absorbed by the layer that they follow. The module is not changed.

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
    try:
        graph = fx.symbolic_trace(module)
    except Exception as error:  # whatever the module's forward does with a proxy
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnsupportedNetworkError(
            type(module).__name__, "forward", f"cannot be traced by torch.fx ({text})"
        ) from error
    # A batch of two keeps squeeze() from removing the batch axis.
    meta = copy.deepcopy(graph).to("meta")
    parameter = next(module.parameters(), torch.empty(0))
    ShapeProp(meta).propagate(torch.empty(2, *shape, device="meta", dtype=parameter.dtype))
    shapes = {
        node.name: tuple(node.meta["tensor_meta"].shape)
        for node in meta.graph.nodes
        if isinstance(getattr(node.meta.get("tensor_meta"), "shape", None), torch.Size)
    }
    return _Reader(graph, shapes, shape, parameter).read()


@dataclass(eq=False)
class Draft:
    """A layer that may still absorb what follows."""

    name: str
    kind: Kind
    inputs: list[Draft]
    window: Window
    channels: int
    before: Shape
    weight: Tensor | None = None  # float64 until the network is complete
    bias: Tensor | None = None
    function: PointFunction | None = None
    pool: Window | None = None
    early: list[PointFunction] = field(default_factory=list)
    late: list[PointFunction] = field(default_factory=list)

    @property
    def grid(self) -> Shape:
        """Grid of the output."""
        return self.before if self.pool is None else self.pool.grid(self.before)

    @property
    def patch(self) -> Window:
        """Window without gaps that one position of the output spans on the input."""
        return self.window.then(self.pool or Window.single(len(self.before)))

    @property
    def plain(self) -> bool:
        """Whether nothing was absorbed yet."""
        return not (self.early or self.late or self.pool)


class _Reader:
    """Walks over the nodes of a traced graph and drafts layers."""

    def __init__(
        self,
        graph: fx.GraphModule,
        shapes: dict[str, tuple[int, ...]],
        shape: Shape,
        parameter: Tensor,
    ) -> None:
        for node in graph.graph.nodes:
            node.meta["shape"] = shapes.get(node.name)
        self._graph = graph
        self._modules = dict(graph.named_modules())
        self._shapes = shapes
        self._shape = shape
        self._parameter = parameter
        self._n_dims = len(shape) - 1
        self._drafts: list[Draft] = []
        self._of: dict[fx.Node, Draft] = {}
        self._users: dict[int, int] = {}
        self._outputs: list[fx.Node] = []

    def read(self) -> Network:
        for node in self._graph.graph.nodes:
            if node.op == "output":
                answers = node.args[0]
                self._outputs = list(answers) if isinstance(answers, list | tuple) else [answers]
            elif node.op == "placeholder":
                self._placeholder(node)
            elif node.name in self._shapes:
                self._tensor(node)
            # what is left are sizes and other numbers
        return self._network()

    # -- nodes -------------------------------------------------------------------------------

    def _placeholder(self, node: fx.Node) -> None:
        if self._drafts:
            raise UnsupportedNetworkError(node.name, "input", "is a second input")
        self._draft(
            node, Kind.INPUT, [], Window.single(self._n_dims), self._shape[0], self._shape[1:]
        )

    def _tensor(self, node: fx.Node) -> None:
        call = vocabulary.call_of(node, self._modules)
        if call is None or any(source not in self._of for source in node.all_input_nodes
                               if source.name in self._shapes):  # fmt: skip
            raise self._unsupported(node, "is not known to be local")
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
        before = self._shapes[node.all_input_nodes[0].name]
        after = self._shapes[node.name]
        in_order = after[0] == before[0] and (
            len(after) == 2 or after[1] == before[1] == source.channels
        )
        if after != before and not in_order:
            raise self._unsupported(node, "moves values between positions")
        self._of[node] = source

    def _convolution(self, node: fx.Node, module: Any) -> None:
        source = self._source(node)
        window = vocabulary.conv_window(module)
        if window is None:
            raise self._unsupported(node, f"pads with mode {module.padding_mode!r}")
        weight = _dense_groups(module.weight.detach().double(), module.groups)
        draft = self._window_draft(node, Kind.CONV, source, window, weight.shape[0])
        draft.weight = weight
        draft.bias = None if module.bias is None else module.bias.detach().double()

    def _linear(self, node: fx.Node, module: nn.Linear) -> None:
        """A linear layer is a convolution whose kernel covers the whole grid."""
        source = self._source(node)
        if len(self._shapes[node.name]) != 2:
            raise self._unsupported(node, "is applied along an axis of positions")
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
            raise self._unsupported(node, "normalises by the statistics of its input")
        source = self._source(node)
        if source.kind is Kind.CONV and source.plain and self._only_user(node):
            scale, shift = vocabulary.norm_terms(module)
            assert source.weight is not None
            source.weight = source.weight * scale.reshape(-1, *[1] * (source.weight.dim() - 1))
            source.bias = shift + (0 if source.bias is None else source.bias * scale)
            self._of[node] = source
            return
        self._pointwise(node, call)

    def _pooling(self, node: fx.Node, call: vocabulary.Call) -> None:
        source = self._source(node)
        window = call.window(source.grid)
        if window is None:
            raise self._unsupported(node, "pools in a way that the engine does not know")
        if call.role == "max" and self._absorbs(source, window) and self._only_user(node):
            source.early, source.late = vocabulary.split_monotone(source.late)
            source.pool = window
            self._of[node] = source
            return
        kind = Kind.MEAN if call.role == "mean" else Kind.MAX
        self._window_draft(node, kind, source, window, source.channels)

    @staticmethod
    def _absorbs(source: Draft, window: Window) -> bool:
        return source.kind is Kind.CONV and source.pool is None and window.tiles

    def _pointwise(self, node: fx.Node, call: vocabulary.Call) -> None:
        source = self._source(node)
        if call.by_channel and not self._has_channels(node, source):
            raise self._unsupported(node, "acts on the features of several positions")
        if source.kind is not Kind.INPUT and self._only_user(node):
            source.late.append(call.function)
            self._of[node] = source
            return
        single = Window.single(self._n_dims)
        channels = source.channels
        draft = self._draft(node, Kind.JOIN, [source], single, channels, source.grid)
        draft.function = call.function

    def _join(self, node: fx.Node, call: vocabulary.Call) -> None:
        sources = [self._of[source] for source in call.operands]
        if len({source.grid for source in sources}) != 1:
            raise self._unsupported(node, "combines tensors of different grids")
        joined = call.by_channel
        if joined and not all(
            self._has_channels(operand, source)
            for operand, source in zip(call.operands, sources, strict=True)
        ):
            raise self._unsupported(node, "joins the features of several positions")
        counts = [source.channels for source in sources]
        if not joined and len(set(counts) - {1}) > 1:
            raise self._unsupported(node, "combines tensors of different numbers of channels")
        channels = sum(counts) if joined else max(counts)
        draft = self._draft(
            node, Kind.JOIN, sources, Window.single(self._n_dims), channels, sources[0].grid
        )
        draft.function = call.function

    # -- helpers -----------------------------------------------------------------------------

    def _source(self, node: fx.Node) -> Draft:
        return self._of[node.all_input_nodes[0]]

    def _only_user(self, node: fx.Node) -> bool:
        """Whether nothing but `node` reads the tensor that `node` reads."""
        before = node.all_input_nodes[0]
        draft = self._of[before]
        chain = [other for other, owner in self._of.items() if owner is draft]
        readers = {user for other in chain for user in other.users} - set(chain)
        return {user for user in readers if user.name in self._shapes or user.op == "output"} == {
            node
        }

    def _has_channels(self, node: fx.Node, source: Draft) -> bool:
        """Whether axis 1 of the tensor holds one position's channels, no more."""
        return self._shapes[node.name][1] == source.channels

    def _window_draft(
        self, node: fx.Node, kind: Kind, source: Draft, window: Window, channels: int
    ) -> Draft:
        grid = window.grid(source.grid)
        whole = window == Window.tiling(source.grid)
        if not whole and self._shapes[node.all_input_nodes[0].name][2:] != source.grid:
            raise self._unsupported(node, "works on a tensor whose grid was reshaped")
        if not whole and self._shapes[node.name][2:] != grid:
            raise self._unsupported(node, "rounds the size of its output up")
        return self._draft(node, kind, [source], window, channels, grid)

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

    def _unsupported(self, node: fx.Node, why: str) -> UnsupportedNetworkError:
        if node.op == "call_module":
            return UnsupportedNetworkError(
                f"Module {node.target}", type(self._modules[str(node.target)]).__name__, why
            )
        what = getattr(node.target, "__name__", str(node.target))
        return UnsupportedNetworkError(f"Operation {node.name}", what, why)

    # -- result ------------------------------------------------------------------------------

    def _network(self) -> Network:
        number = {id(draft): k for k, draft in enumerate(self._drafts)}
        for draft in self._drafts:
            _make_stem(draft)
        outputs = tuple(number[id(self._of[node])] for node in self._outputs)
        read = {
            number[id(source)]
            for draft in self._drafts
            for source in draft.inputs
            if draft.kind is not Kind.STEM
        }
        layers = tuple(
            Layer(
                name=draft.name,
                kind=draft.kind,
                inputs=tuple(number[id(source)] for source in draft.inputs),
                window=draft.window,
                pool=draft.pool,
                source_grid=draft.inputs[0].grid if draft.inputs else draft.before,
                before=draft.before,
                grid=draft.grid,
                channels=draft.channels,
                products=_products(draft),
                kept=k in read or k in outputs,
            )
            for k, draft in enumerate(self._drafts)
        )
        dtype, device = self._parameter.dtype, self._parameter.device
        return Network(
            layers=layers,
            operations=tuple(
                _operation(draft, layer, dtype, device)
                for draft, layer in zip(self._drafts, layers, strict=True)
            ),
            outputs=outputs,
            shape=self._shape,
            output_shapes=tuple(self._shapes[node.name][1:] for node in self._outputs),
            dtype=dtype,
            device=device,
        )


def _make_stem(draft: Draft) -> None:
    """Compute a convolution of a one-channel input patch by patch: it has no changes to reuse."""
    if draft.kind is not Kind.CONV or draft.inputs[0].kind is not Kind.INPUT:
        return
    if draft.inputs[0].channels == 1 and draft.patch.size <= MAX_STEM_TAPS:
        draft.kind = Kind.STEM


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


def _operation(draft: Draft, layer: Layer, dtype: torch.dtype, device: torch.device) -> Operation:
    early, late = tuple(draft.early), tuple(draft.late)
    if draft.weight is None:
        return Operation(function=draft.function, early=early, late=late)
    weight, bias = draft.weight, draft.bias
    if layer.kind is Kind.STEM:
        rows = _stem_rows(weight, layer)
        bias = None if bias is None else bias.repeat(layer.n_children)
    else:
        rows = weight.flatten(2).permute(1, 2, 0).flatten(1)
    return Operation(
        weight=_channels_innermost(weight.to(device, dtype)),
        rows=rows.contiguous().to(device, dtype),
        bias=None if bias is None else bias.to(device, dtype),
        early=early,
        late=late,
    )


def _channels_innermost(weight: Tensor) -> Tensor:
    """Lay a weight out as rows are: torch's convolutions then take half the time on a CPU."""
    forms = {4: torch.channels_last, 5: torch.channels_last_3d}
    form = forms.get(weight.dim())
    return weight.contiguous() if form is None else weight.contiguous(memory_format=form)


def _products(draft: Draft) -> int:
    if draft.weight is None:
        return 0
    if draft.kind is not Kind.STEM:
        return draft.weight.numel()
    n_children = 1 if draft.pool is None else draft.pool.size
    return draft.patch.size * n_children * draft.channels


def _stem_rows(weight: Tensor, layer: Layer) -> Tensor:
    """Weights from the taps of a patch to all children: (patch taps, children * out)."""
    window, patch = layer.window, layer.patch
    shifts = [(0,) * len(window.kernel)] if layer.pool is None else layer.pool.taps().tolist()
    rows = weight.new_zeros(len(shifts), weight.shape[0], *patch.extent)
    for child, shift in enumerate(shifts):
        start = [a * s for a, s in zip(shift, window.stride, strict=True)]
        place = tuple(
            slice(a, a + e, d)
            for a, e, d in zip(start, window.extent, window.dilation, strict=True)
        )
        rows[(child, slice(None), *place)] = weight[:, 0]
    return rows.flatten(2).flatten(0, 1).t()
