"""Convolutions and poolings of whole volumes, channels innermost in memory as they are in rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Shape, Window
from .graph import Kind, Layer, Operation

SHORT = 4  # taps of a pooling along each axis that are combined one by one
_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEAN_POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def window_sums(
    layer: Layer, operation: Operation, volumes: Tensor, padding: Shape | None = None
) -> Tensor:
    """A convolution or pooling of volumes (n, channels, *grid), before any function.

    Padding that is not given is that of the window.
    """
    window = layer.window if padding is None else replace(layer.window, padding=padding)
    if operation.weight is not None:
        return convolve(layer, volumes, operation.weight, operation.bias, window.padding)
    if layer.kind is Kind.MEAN:
        return _mean_pool(volumes, window)
    return max_pool(volumes, window)


def convolve(
    layer: Layer, volumes: Tensor, weight: Tensor, bias: Tensor | None, padding: Shape
) -> Tensor:
    """A layer's convolution of volumes (n, channels, *grid) with zeros around them."""
    window = layer.window
    if _prefers_onednn(layer, volumes):
        return torch.mkldnn_convolution(
            volumes, weight, bias, padding, window.stride, window.dilation, layer.groups
        )
    convolution = _CONVOLUTIONS[volumes.dim() - 3]
    return convolution(volumes, weight, bias, window.stride, padding, window.dilation, layer.groups)


def _prefers_onednn(layer: Layer, volumes: Tensor) -> bool:
    """Whether oneDNN is asked for by name: torch takes slower ways for small single volumes."""
    return bool(
        volumes.device.type == "cpu"
        and volumes.dtype == torch.float32
        and volumes.dim() > 3
        and layer.window.size > 1
        and not layer.covers_grid
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


def max_pool(volumes: Tensor, window: Window) -> Tensor:
    """Maximum of each window."""
    if _is_short(window):
        if any(window.padding):
            volumes = padded(volumes, window.padding, float("-inf"))
        return _tap_by_tap(volumes, window, torch.maximum)
    padding = window.padding
    if any(2 * p > k for p, k in zip(padding, window.kernel, strict=True)):
        volumes, padding = padded(volumes, padding, float("-inf")), (0,) * len(padding)
    pool = _MAX_POOLS[len(window.kernel) - 1]
    return pool(volumes, window.kernel, window.stride, padding, window.dilation)


def _mean_pool(volumes: Tensor, window: Window) -> Tensor:
    """Mean of each window; its padding counts as zeros."""
    if _is_short(window):
        if any(window.padding):
            volumes = padded(volumes, window.padding, 0.0)
        return _tap_by_tap(volumes, window, torch.add) / window.size
    pool = _MEAN_POOLS[len(window.kernel) - 1]
    return pool(volumes, window.kernel, window.stride, window.padding)


def _is_short(window: Window) -> bool:
    return window.size > 1 and max(window.kernel) <= SHORT


def _tap_by_tap(
    volumes: Tensor, window: Window, combine: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Combine the taps of short windows axis by axis: channels stay innermost in memory."""
    for axis, (kernel, stride, dilation) in enumerate(
        zip(window.kernel, window.stride, window.dilation, strict=True), start=2
    ):
        n = (volumes.shape[axis] - dilation * (kernel - 1) - 1) // stride + 1
        before = (slice(None),) * axis
        taps = [
            volumes[(*before, slice(start, start + (n - 1) * stride + 1, stride))]
            for start in range(0, dilation * kernel, dilation)
        ]
        volumes = functools.reduce(combine, taps)
    return volumes


def padded(values: Tensor, widths: Sequence[int], fill: float) -> Tensor:
    """Pad the last axes on both sides."""
    return F.pad(values, [n for width in reversed(widths) for n in (width, width)], value=fill)


def as_volume(rows: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Rows as (1, channels, *grid), channels innermost in memory, without a copy."""
    return rows.reshape(*grid, rows.shape[1]).movedim(-1, 0)[None]


def as_rows(volumes: Tensor) -> Tensor:
    """(n, channels, *grid) as rows; no copy when channels are innermost already."""
    return volumes.movedim(1, -1).reshape(-1, volumes.shape[1])
