"""The full pass over an intact volume, which leaves the rows that changes are added to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Shape, Window
from .graph import Kind, Layer, Network, Operation, PointFunction
from .windows import as_rows, as_volume, convolve, max_pool, padded, window_sums

STEM_SLAB = 8192  # patches that are laid out at a time
SLAB_BYTES = 16 << 20  # of the sums before a pool at a time
STEM_BYTES = 1 << 20  # of their products at a time: what the second cache of a core holds


@dataclass
class Activations:
    """Values of one volume, as rows ``[positions, channels]``; None where nothing needs them.

    ``sums`` are those of CONV and MEAN layers before any function; with an absorbed pool all
    children of a position lie in one row: ``[positions, children * channels]``.
    """

    outputs: list[Tensor | None]  # of each layer
    sums: list[Tensor | None]
    padded: Tensor | None  # the input with the zeros that stems read around it


def full_pass(network: Network, rows: Tensor, *, keep: bool = True) -> Activations:
    """Compute every layer for one volume, as rows (positions, channels) of its dtype and device.

    With `keep` what occlusion needs is kept; otherwise only the outputs of the network.
    """
    layers = network.layers
    padded = pad_for_stems(network, rows)
    outputs: list[Tensor | None] = []
    sums: list[Tensor | None] = []
    last_use = {k: number for number, layer in enumerate(layers) for k in layer.inputs}
    for number, (layer, operation) in enumerate(zip(layers, network.operations, strict=True)):
        inputs = [outputs[k] for k in layer.inputs]
        output, total = _layer(layer, operation, inputs, rows, padded, keep=keep)
        outputs.append(output)
        sums.append(total if keep and layer.keeps_sums else None)
        for k in layer.inputs:
            if last_use[k] == number and not (layers[k].kept if keep else k in network.outputs):
                outputs[k] = None
    return Activations(outputs, sums, padded if keep else None)


def pad_for_stems(network: Network, rows: Tensor) -> Tensor | None:
    """The one-channel input as a grid with the stem's padding around it."""
    # Stems of different padding share the widest one.
    widest = stem_padding(network)
    return padded(rows.reshape(network.shape[1:]), widest, 0.0) if widest else None


def stem_padding(network: Network) -> tuple[int, ...]:
    """Zeros on either side of the padded input, along each axis; empty without stems."""
    stems = [layer.window.padding for layer in network.layers if layer.kind is Kind.STEM]
    return tuple(max(values) for values in zip(*stems, strict=True))


def apply_all(functions: Sequence[PointFunction], values: Tensor) -> Tensor:
    """Apply pointwise functions one after the other."""
    for function in functions:
        values = function(values)
    return values


def _layer(
    layer: Layer,
    operation: Operation,
    inputs: Sequence[Tensor | None],
    rows: Tensor,
    padded: Tensor | None,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor | None]:
    """Output of one layer as rows, and its sums before any function if they are to be kept."""
    if layer.kind is Kind.INPUT:
        return rows, None
    if layer.kind is Kind.STEM:
        assert padded is not None
        return _stem(layer, operation, padded), None
    if layer.kind is Kind.SUM:
        total = voxel_sums(operation, rows)
        return finish(layer, operation, total.to(rows.dtype)), total
    sources = [source for source in inputs if source is not None]
    if layer.kind is Kind.JOIN:
        assert operation.function is not None
        return apply_all(operation.late, operation.function(*sources)), None
    volume = as_volume(sources[0], layer.source_grid)
    if layer.pool is not None:
        return _pooled(layer, operation, volume, keep=keep)
    return finish_volumes(layer, operation, window_sums(layer, operation, volume), keep=keep)


def _pooled(
    layer: Layer, operation: Operation, volume: Tensor, *, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """A convolution and its pool in slabs along the first axis, which stay in the cache."""
    assert layer.pool is not None
    children, plane = layer.n_children * layer.channels, math.prod(layer.grid[1:])
    out = volume.new_empty(math.prod(layer.grid), layer.channels)
    totals = volume.new_empty(len(out), children) if keep else None
    most = max(1, SLAB_BYTES // (plane * children * volume.element_size()))
    per_slab = most if volume.device.type == "cpu" else layer.grid[0]
    for first in range(0, layer.grid[0], per_slab):
        last = min(first + per_slab, layer.grid[0])
        rows = slice(first * plane, last * plane)
        sums = _slab_sums(layer, operation, volume, first, last)
        out[rows], total = finish_volumes(layer, operation, sums, keep=keep)
        if totals is not None and total is not None:
            totals[rows] = total
    return out, totals


def _slab_sums(layer: Layer, operation: Operation, volume: Tensor, first: int, last: int) -> Tensor:
    """Sums of a convolution for the planes `first` to `last` behind its pool."""
    window, patch = layer.window, layer.patch
    assert operation.weight is not None and layer.pool is not None
    low = first * patch.stride[0] - window.padding[0]
    high = (last - 1) * patch.stride[0] + patch.kernel[0] - window.padding[0]
    n = layer.source_grid[0]
    part = volume[:, :, max(low, 0) : min(high, n)]
    margins = (max(-low, 0), max(high - n, 0))
    if any(margins):
        part = F.pad(part, [*(0,) * (2 * len(layer.grid) - 2), *margins])
    return convolve(layer, part, operation.weight, operation.bias, (0, *window.padding[1:]))


def finish(layer: Layer, operation: Operation, sums: Tensor) -> Tensor:
    """Functions and pool of a layer on rows of sums (positions, children * channels).

    Never the same tensor as `sums`, unless there is nothing to do.
    """
    if layer.pool is None:
        return apply_all(operation.late, sums)
    by_child = apply_all(operation.early, sums.reshape(-1, layer.channels))
    pooled = by_child.reshape(-1, layer.n_children, layer.channels).amax(dim=1)
    return apply_all(operation.late, pooled)


def finish_volumes(
    layer: Layer, operation: Operation, sums: Tensor, *, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """Rows of the outputs, and of the sums if they are kept, of sums (n, channels, *grid).

    With a pool sums are kept of one volume only.
    """
    if layer.pool is not None and not keep:
        pooled = max_pool(apply_all(operation.early, sums), layer.pool)
        return apply_all(operation.late, as_rows(pooled)), None
    total = as_rows(sums)
    if layer.pool is not None:
        total = _group_children(total, layer, tuple(sums.shape[2:]))
    return finish(layer, operation, total), total if keep and layer.keeps_sums else None


def voxel_sums(operation: Operation, rows: Tensor) -> Tensor:
    """Sums (1, out), float64, over all voxels."""
    assert operation.bias is not None
    sums = operation.bias.clone()
    for part in operation.sums:
        sums[0, part.outputs.start : part.outputs.stop] += part.total(rows)
    return sums


def _group_children(sums: Tensor, layer: Layer, before: Shape) -> Tensor:
    """Rows of a convolution, on a grid `before` the absorbed pool, side by side for each output."""
    assert layer.pool is not None
    kernel, channels = layer.pool.kernel, layer.channels
    grid, pooled = sums.reshape(*before, channels), layer.pool.grid(before)
    covered = grid[tuple(slice(0, n * k) for n, k in zip(pooled, kernel, strict=True))]
    parts = [size for n, k in zip(pooled, kernel, strict=True) for size in (n, k)]
    n_dims = len(kernel)
    order = [*range(0, 2 * n_dims, 2), *range(1, 2 * n_dims, 2), 2 * n_dims]
    split = covered.reshape(*parts, channels).permute(order)
    return split.reshape(-1, layer.n_children * channels)


def _stem(layer: Layer, operation: Operation, padded: Tensor) -> Tensor:
    """Convolution, pool and functions as one product per patch, in slabs along the first axis."""
    patch = layer.patch
    out = padded.new_empty(math.prod(layer.grid), layer.channels)
    plane = len(out) // layer.grid[0]
    per_slab = max(1, STEM_SLAB // plane)
    view = patch_view(padded, layer, patch)
    for first in range(0, layer.grid[0], per_slab):
        patches = view[first : first + per_slab].reshape(-1, patch.size)
        stem_rows(layer, operation, patches, out[first * plane : first * plane + len(patches)])
    return out


def patch_view(padded: Tensor, layer: Layer, patch: Window) -> Tensor:
    """All patches of the padded input as an overlapping view (*grid, *extent)."""
    shift = [
        (n - g) // 2 - p
        for n, g, p in zip(padded.shape, layer.source_grid, patch.padding, strict=True)
    ]
    inner = padded[tuple(slice(s, None) for s in shift)]
    steps = [t * s for t, s in zip(inner.stride(), patch.stride, strict=True)]
    return inner.as_strided(
        (*layer.grid, *patch.extent), (*steps, *inner.stride()), inner.storage_offset()
    )


def stem_rows(layer: Layer, operation: Operation, patches: Tensor, out: Tensor) -> None:
    """Put the outputs (n, channels) of patches (n, taps) into `out`."""
    assert operation.rows is not None
    width = operation.rows.shape[1] * patches.element_size()
    most = max(1, STEM_BYTES // width) if patches.device.type == "cpu" else max(1, len(patches))
    sums = patches.new_empty(min(most, len(patches)), operation.rows.shape[1])
    for first in range(0, len(patches), most):
        part = patches[first : first + most]
        products = torch.mm(part, operation.rows, out=sums[: len(part)])
        out[first : first + most] = _stem_outputs(layer, operation, products)


def _stem_outputs(layer: Layer, operation: Operation, products: Tensor) -> Tensor:
    bias = operation.bias
    if bias is None:
        return finish(layer, operation, products)
    if layer.pool is None or operation.early:
        return finish(layer, operation, products.add_(bias))
    # The bias is that of all children alike: there are fewer values behind the maximum.
    pooled = products.view(-1, layer.n_children, layer.channels).amax(dim=1)
    return apply_all(operation.late, pooled.add_(bias[: layer.channels]))
