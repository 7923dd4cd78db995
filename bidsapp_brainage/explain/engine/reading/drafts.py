"""Layers that are still being put together: what they absorb, and the network they end up as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bidsapp_brainage.explain.engine.geometry import Shape, Window
from bidsapp_brainage.explain.engine.graph import (
    Kind,
    Layer,
    Network,
    Operation,
    PointFunction,
    is_kept,
)

from . import vocabulary

# A stem computes this many taps per output at most; beyond it, propagating changes is cheaper.
MAX_STEM_TAPS = 128


@dataclass(eq=False)
class Draft:
    """A layer that may still absorb what follows.

    The ``absorb_`` methods tell whether they did; what is absorbed must be all that reads it.
    """

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

    def absorb_norm(self, module: vocabulary.Norm) -> bool:
        """Fold batch normalisation with fixed statistics into the weights of a convolution."""
        if self.kind is not Kind.CONV or self.early or self.late or self.pool:
            return False
        scale, shift = vocabulary.norm_terms(module)
        assert self.weight is not None
        self.weight = self.weight * scale.reshape(-1, *[1] * (self.weight.dim() - 1))
        self.bias = shift + (0 if self.bias is None else self.bias * scale)
        return True

    def absorb_max_pool(self, window: Window) -> bool:
        """Take the maximum over windows without overlap; functions that may follow it do."""
        if self.kind is not Kind.CONV or self.pool is not None or not window.tiles:
            return False
        self.early, self.late = vocabulary.split_monotone(self.late)
        self.pool = window
        return True

    def absorb_function(self, function: PointFunction) -> bool:
        """Apply a function to the output."""
        if self.kind is Kind.INPUT:
            return False
        self.late.append(function)
        return True

    def finish(self) -> None:
        """Compute a convolution of a one-channel input patch by patch: it reuses no changes."""
        if self.kind is not Kind.CONV or self.inputs[0].kind is not Kind.INPUT:
            return
        if self.inputs[0].channels == 1 and self.patch.size <= MAX_STEM_TAPS:
            self.kind = Kind.STEM


def assemble(
    drafts: Sequence[Draft],
    outputs: Sequence[Draft],
    output_shapes: Sequence[Shape],
    shape: Shape,
    parameter: Tensor,
) -> Network:
    """Make a network of drafts (in order of execution), of which `outputs` give its outputs.

    `output_shapes` are without the batch axis, `shape` is that of one input: (channels, *grid).
    `parameter` has the network's dtype and device.
    """
    for draft in drafts:
        draft.finish()
    number = {id(draft): k for k, draft in enumerate(drafts)}
    output_numbers = tuple(number[id(draft)] for draft in outputs)
    layers = [
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
            kept=False,
        )
        for draft in drafts
    ]
    layers = [
        replace(layer, kept=is_kept(k, layers, output_numbers)) for k, layer in enumerate(layers)
    ]
    dtype, device = parameter.dtype, parameter.device
    return Network(
        layers=tuple(layers),
        operations=tuple(
            _operation(draft, layer, dtype, device)
            for draft, layer in zip(drafts, layers, strict=True)
        ),
        outputs=output_numbers,
        shape=shape,
        output_shapes=tuple(output_shapes),
        dtype=dtype,
        device=device,
    )


def _operation(draft: Draft, layer: Layer, dtype: torch.dtype, device: torch.device) -> Operation:
    early, late = tuple(draft.early), tuple(draft.late)
    if draft.weight is None:
        return Operation(function=draft.function, early=early, late=late)
    weight, bias = draft.weight, draft.bias
    if layer.kind is Kind.STEM:
        rows = _stem_rows(weight, layer)
        bias = None if bias is None else bias.repeat(layer.n_children)
    else:
        by_tap = weight.flatten(2)
        if layer.window.n_phases > 1:
            taps = torch.from_numpy(layer.window.phase_order()).to(weight.device)
            by_tap = by_tap.index_select(2, taps)
        rows = by_tap.permute(1, 2, 0).flatten(1)
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
        place = [
            slice(a, a + e, d)
            for a, e, d in zip(start, window.extent, window.dilation, strict=True)
        ]
        rows[child][(slice(None), *place)] = weight[:, 0]
    return rows.flatten(2).flatten(0, 1).t()
