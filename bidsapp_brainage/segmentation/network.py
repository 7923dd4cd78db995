"""The network that segments: a small U-Net that knows where in the template it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class SegmentationNet(nn.Module):
    """U-Net (Ronneberger 2015) on brains that are aligned to a template.

    Skips are added, not stacked, and the coordinates of the template enter at the coarse levels, so
    that few weights suffice. Classes are computed only where they are asked for.

    Parameters
    ----------
    n_classes : int
        Classes; class 0 is outside the brain.
    channels : sequence of int
        Of the levels, the finest first; each level halves the grid.
    hidden : int
        Width of the layer between features and classes.
    """

    def __init__(
        self, n_classes: int, channels: Sequence[int] = (16, 32, 64, 80), hidden: int = 48
    ) -> None:
        super().__init__()
        self.first = _layer(1, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(
                _layer(above + 3 * (level > 0), here, stride=2),
                _layer(here, here),
            )
            for level, (above, here) in enumerate(zip(channels[:-1], channels[1:], strict=True))
        )
        self.narrow = nn.ModuleList(
            nn.Conv3d(here, above, 1)
            for above, here in zip(channels[:-1], channels[1:], strict=True)
        )
        self.up = nn.ModuleList(_layer(above, above) for above in channels[:-1])
        self.mix = nn.Linear(channels[0] + channels[1], hidden)
        self.classes = nn.Linear(hidden, n_classes)
        self.units = nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and tissue units of chosen voxels.

        Parameters
        ----------
        x : Tensor, shape (1, 1, D, H, W)
            A brain as :func:`bidsapp_brainage.segmentation.input.segmentation_input` makes it;
            D, H and W are multiples of 2 to the power of the levels below the first.
        where : Tensor of bool, shape (D, H, W)
            Voxels that are wanted.

        Returns
        -------
        logits : Tensor, shape (n_voxels, n_classes)
        units : Tensor, shape (n_voxels,)
            Fluid 0, grey matter 1, white matter 2.
        """
        hidden = self.hidden(x, where.nonzero())
        return self.classes(hidden), self.units(hidden)[:, 0]

    def hidden(self, x: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
        """What ``classes`` turns into logits, shape (n_voxels, hidden).

        Parameters
        ----------
        x : Tensor, shape (1, 1, D, H, W)
        voxels : Tensor of int, shape (n_voxels, 3)
            Indices of the voxels that are wanted.
        """
        fine, coarse = self._features(x)
        here = torch.cat([_at(fine, voxels), _between(coarse, voxels, x.shape[2:])])
        return functional.relu(self.mix(here.T))

    def _features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of the finest and of the second level."""
        levels = [self.first(x)]
        for number, step in enumerate(self.down):
            above = levels[-1]
            levels.append(step(torch.cat([above, _places(above)], dim=1) if number else above))
        coarse = levels[-1]
        for level in reversed(range(len(self.up))):
            below = coarse
            spread = functional.interpolate(
                self.narrow[level](below), levels[level].shape[2:], mode="nearest"
            )
            coarse = self.up[level](levels[level] + spread)
        return coarse, below


def _layer(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.InstanceNorm3d(outside, affine=True),
        nn.ReLU(inplace=True),
    )


def _at(x: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    """Features (C, n_voxels) of a volume (1, C, D, H, W) at voxels (n_voxels, 3)."""
    _, height, width = x.shape[2:]
    flat = (voxels[:, 0] * height + voxels[:, 1]) * width + voxels[:, 2]
    return x[0].flatten(1).index_select(1, flat)


def _between(x: torch.Tensor, voxels: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Features (C, n_voxels) of a coarser volume (1, C, d, h, w) at voxels (n_voxels, 3).

    Interpolated linearly, as ``functional.interpolate`` to the finer `shape` does everywhere.
    """
    size = torch.tensor(shape, device=x.device)
    places = ((2 * voxels + 1) / size - 1).flip(1)[None, None, None].float()
    found = functional.grid_sample(x.float(), places, align_corners=False, padding_mode="border")
    return found[0, :, 0, 0].to(x.dtype)


def _places(x: torch.Tensor) -> torch.Tensor:
    """Coordinates from -1 to 1, shape (N, 3, D, H, W)."""
    axes = [torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return grid.expand(x.shape[0], *grid.shape)
