"""A network that sees a raw head: soft volumes of tissue, and an age from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bidsapp_brainage.model.networks.linear import spread_over_bins

_SMALLEST = 5e-4  # part of the intracranial volume; its logarithm stays finite


class HeadVolumes(nn.Module):
    """Age from a raw head, without registration, brain mask or segmentation before it.

    A small U-Net (Ronneberger 2015) gives every voxel its chances to belong to a few large
    regions. Their sums, as parts of the intracranial volume, make the age by a weighted sum of
    their logarithms. The U-Net learns from images of random contrast, pose, field of view and
    stripping; the weighted sum is fitted in closed form, so that few people suffice.

    Parameters
    ----------
    regions : mapping
        Indices in the label maps that it was trained on, by the name of each region. All of them
        together are the intracranial volume.
    lower, width, n_bins : float, float, int
        Bins (years) over which the answer is spread.
    channels : sequence of int
        Of the levels, the finest first; each level halves the grid.
    hidden : int
        Width of the layer before the classes.
    label_sd : float
        SD (years) of the Gaussian over bins.
    """

    def __init__(
        self,
        regions: Mapping[str, Sequence[int]],
        lower: float,
        width: float,
        n_bins: int,
        *,
        channels: Sequence[int] = (12, 24, 48, 72),
        hidden: int = 24,
        label_sd: float = 3.0,
    ) -> None:
        super().__init__()
        self.names = tuple(regions)
        self.first = _layer(1, channels[0])
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.down = nn.ModuleList(
            nn.Sequential(_layer(above, here, stride=2), _layer(here, here))
            for above, here in pairs
        )
        self.narrow = nn.ModuleList(nn.Conv3d(here, above, 1) for above, here in pairs)
        self.up = nn.ModuleList(_layer(above, above) for above in channels[:-1])
        self.fine = nn.Conv3d(channels[0], hidden, 1)
        self.coarse = nn.Conv3d(channels[1], hidden, 1, bias=False)
        self.classes = nn.Conv3d(hidden, 1 + len(regions), 1)
        self.sum = nn.Linear(len(regions), 1)
        self.spread, self.middle = spread_over_bins(lower, width, n_bins, label_sd)
        for layer in (self.sum, self.spread):
            layer.requires_grad_(requires_grad=False)
        nn.init.zeros_(self.sum.weight)
        nn.init.zeros_(self.sum.bias)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the outside and of every region (N, 1 + n_regions, D, H, W)."""
        levels = [self.first(x)]
        for step in self.down:
            levels.append(step(levels[-1]))
        below, here = levels[-1], levels[-1]
        for level in reversed(range(len(self.up))):
            below = here
            spread = functional.interpolate(
                self.narrow[level](below), levels[level].shape[2:], mode="nearest"
            )
            here = self.up[level](levels[level] + spread)
        around = functional.interpolate(self.coarse(below), here.shape[2:], mode="trilinear")
        return self.classes(functional.relu(self.fine(here) + around))

    def fractions(self, x: torch.Tensor) -> torch.Tensor:
        """Parts of the intracranial volume (N, n_regions), of volumes (N, 1, D, H, W)."""
        volumes = self.logits(x).float().softmax(dim=1)[:, 1:].sum(dim=(2, 3, 4))
        return volumes / volumes.sum(dim=1, keepdim=True).clamp(min=1.0)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Logarithms of the parts of the intracranial volume, (N, n_regions)."""
        return torch.log(self.fractions(x) + _SMALLEST)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_bins) of volumes (N, 1, D, H, W)."""
        return self.spread(self.sum(self.features(x)))

    def years(self, features: np.ndarray) -> float:
        """Age (years) of a person with these features (n_regions,)."""
        weight = self.sum.weight[0].double().numpy()
        return float(features @ weight) + float(self.sum.bias[0]) + self.middle

    def set_weights(self, weight: np.ndarray, intercept: float) -> None:
        """Put in years per feature (n_regions,), and the age where all of them are 0."""
        with torch.no_grad():
            self.sum.weight.copy_(torch.from_numpy(np.asarray(weight, dtype=np.float32))[None])
            self.sum.bias.fill_(float(intercept) - self.middle)


def _layer(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.InstanceNorm3d(outside, affine=True),
        nn.ReLU(inplace=True),
    )
