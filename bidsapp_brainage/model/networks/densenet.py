"""DenseNet in three dimensions, with the module names of MONAI."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

_BOTTLENECK = 4


class DenseNet(nn.Module):
    """Densely connected network (Huang 2017, CVPR), as MONAI builds it with ``spatial_dims=3``.

    A state dict of ``monai.networks.nets.DenseNet121(3, 1, n_outputs)`` loads into it (and of
    DenseNet201 with the blocks of that network).

    Parameters
    ----------
    n_outputs : int
        Numbers that the last layer gives.
    layers : sequence of int
        Layers of every dense block: 6, 12, 24, 16 is DenseNet121; 6, 12, 48, 32 is DenseNet201.
    growth : int
        Channels that a layer adds.
    features : int
        Channels of the first convolution.
    """

    def __init__(
        self,
        n_outputs: int = 1,
        layers: Sequence[int] = (6, 12, 24, 16),
        *,
        growth: int = 32,
        features: int = 64,
    ) -> None:
        super().__init__()
        if not layers or min(layers) < 1:
            raise ValueError(f"layers needs positive numbers, not {list(layers)}")
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv3d(1, features, kernel_size=7, stride=2, padding=3, bias=False),
            "norm0": nn.BatchNorm3d(features),
            "relu0": nn.ReLU(inplace=True),
            "pool0": nn.MaxPool3d(kernel_size=3, stride=2, padding=1),
        }
        channels = features
        for number, depth in enumerate(layers, start=1):
            parts[f"denseblock{number}"] = _block(channels, depth, growth)
            channels += depth * growth
            if number < len(layers):
                parts[f"transition{number}"] = _transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm3d(channels)
        self.features = _named(**parts)
        self.class_layers = _named(
            relu=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool3d(1),
            flatten=nn.Flatten(1),
            out=nn.Linear(channels, n_outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers (N, n_outputs) of volumes (N, 1, D, H, W)."""
        return self.class_layers(self.features(x))


class _Layer(nn.Module):
    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        middle = _BOTTLENECK * growth
        self.layers = _named(
            norm1=nn.BatchNorm3d(before),
            relu1=nn.ReLU(inplace=True),
            conv1=nn.Conv3d(before, middle, kernel_size=1, bias=False),
            norm2=nn.BatchNorm3d(middle),
            relu2=nn.ReLU(inplace=True),
            conv2=nn.Conv3d(middle, growth, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.layers(x)], 1)


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _block(channels: int, depth: int, growth: int) -> nn.Sequential:
    layers = (_Layer(channels + index * growth, growth) for index in range(depth))
    return _named(**{f"denselayer{number}": layer for number, layer in enumerate(layers, 1)})


def _transition(channels: int) -> nn.Sequential:
    return _named(
        norm=nn.BatchNorm3d(channels),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv3d(channels, channels // 2, kernel_size=1, bias=False),
        pool=nn.AvgPool3d(kernel_size=2, stride=2),
    )
