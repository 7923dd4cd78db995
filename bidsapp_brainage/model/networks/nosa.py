"""The network of He et al. 2025, whose authors occluded it region by region (NOSA)."""

from __future__ import annotations

import torch
from torch import nn


class NOSA(nn.Module):
    """Five blocks of convolution, normalisation and pooling, then 1x1x1 convolutions to ages.

    He et al. 2025 (Human Brain Mapping 46:e70239), with their 73 ages (8 to 80 years) and dropout.
    Modules are named as in the authors' file, so that their state dict is taken as it is: every
    block also holds a 1x1x1 convolution ``conv1`` that takes no part in the computation.
    """

    def __init__(self, n_bins: int = 73, dropout: float = 0.5) -> None:
        super().__init__()
        self.block1 = _Block(1, 32)
        self.block2 = _Block(32, 64)
        self.block3 = _Block(64, 128)
        self.block4 = _Block(128, 256)
        self.block5 = _Block(256, 256)
        self.conv1 = nn.Conv3d(256, 128, kernel_size=1)
        self.bn = nn.BatchNorm3d(128)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout3d(dropout)
        self.conv2 = nn.Conv3d(128, n_bins, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_bins) of volumes (N, 1, D, H, W)."""
        x = self.block5(self.block4(self.block3(self.block2(self.block1(x)))))
        x = self.pool(self.relu(self.bn(self.conv1(x))))
        return self.conv2(self.dropout(x)).flatten(1)


class _Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv3d(before, after, kernel_size=3, padding=1)
        self.conv1 = nn.Conv3d(before, after, kernel_size=1)
        self.bn = nn.BatchNorm3d(after)
        self.pool = nn.MaxPool3d(2, stride=2)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.pool(self.bn(self.conv0(x))))
