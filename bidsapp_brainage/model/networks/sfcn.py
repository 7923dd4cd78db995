"""The simple fully convolutional network (SFCN) for brain age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn


class SFCN(nn.Module):
    """SFCN of Peng et al. 2021 (Medical Image Analysis 68:101871), with free sizes.

    Blocks of [3x3x3 convolution with padding 1, batch normalisation, max pooling 2, ReLU], one
    block of [1x1x1 convolution, batch normalisation, ReLU], then a head of [mean over space,
    dropout, 1x1x1 convolution to age bins]. Modules are named as in the authors' published
    weights, so that ``SFCN()`` takes their state dict once its ``module.`` prefix is removed.

    Parameters
    ----------
    channels : sequence of int
        Output channels of every block; the last is the 1x1x1 block. Peng's:
        32, 64, 128, 256, 256, 64.
    n_bins : int
        Age bins (Peng: 40).
    dropout : float
        Probability of dropping a feature before the last layer (Peng: 0.5).
    n_pools : int or None
        How many of the 3x3x3 blocks pool, counted from the first; None: all (Peng).
    stem_stride : int
        Stride of the very first convolution. 1 is Peng's. With 2 feature maps at full resolution
        are never made, which is what makes training on a CPU possible.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256, 256, 64),
        n_bins: int = 40,
        dropout: float = 0.5,
        *,
        n_pools: int | None = None,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or min(channels) < 1:
            raise ValueError(f"channels needs two or more positive numbers, not {list(channels)}")
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride is 1 or 2, not {stem_stride}")
        depth = len(channels) - 1
        pools = depth if n_pools is None else n_pools
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        before = 1
        for index, after in enumerate(channels[:-1]):
            stride = stem_stride if index == 0 else 1
            blocks[f"conv_{index}"] = _block(before, after, stride=stride, pooled=index < pools)
            before = after
        blocks[f"conv_{depth}"] = nn.Sequential(
            nn.Conv3d(before, channels[-1], kernel_size=1),
            nn.BatchNorm3d(channels[-1]),
            nn.ReLU(inplace=True),
        )
        self.feature_extractor = nn.Sequential(blocks)
        self.classifier = nn.Sequential(
            OrderedDict(
                [
                    ("average_pool", nn.AdaptiveAvgPool3d(1)),
                    ("dropout", nn.Dropout(dropout)),
                    (f"conv_{depth + 1}", nn.Conv3d(channels[-1], n_bins, kernel_size=1)),
                ]
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_bins) of volumes (N, 1, D, H, W)."""
        return self.classifier(self.feature_extractor(x)).flatten(1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the last layer reads (N, channels[-1]): the mean over space of its feature maps."""
        return self.feature_extractor(x).mean(dim=(2, 3, 4))


def _block(before: int, after: int, *, stride: int, pooled: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv3d(before, after, kernel_size=3, stride=stride, padding=1),
        nn.BatchNorm3d(after),
    ]
    if pooled:
        layers.append(nn.MaxPool3d(2, stride=2))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
