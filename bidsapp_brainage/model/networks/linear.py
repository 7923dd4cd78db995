"""A linear network on amounts of grey and white matter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class TissueLinear(nn.Module):
    """Age as a weighted sum of local amounts of grey and white matter.

    Volumes in tissue units (fluid 0, grey matter 1, white matter 2; card scaling ``tissue``)
    become two maps, the parts of every block of voxels that are grey and white matter. Everything
    up to there is fixed; the weights of the sum are fitted in closed form
    (:mod:`bidsapp_brainage.training.fitting.ridge`), as linear models on tissue maps are in
    brain-age work with few people (Franke 2010, NeuroImage 50:883).

    Parameters
    ----------
    shape : sequence of int
        Voxels of the input; multiples of ``block``.
    lower, width, n_bins : float, float, int
        Bins (years) over which the answer is spread as a Gaussian, so that it can be averaged
        with networks that answer with bins.
    block : int
        Voxels along each side of a block.
    label_sd : float
        SD (years) of that Gaussian.
    """

    def __init__(
        self,
        shape: Sequence[int],
        lower: float,
        width: float,
        n_bins: int,
        *,
        block: int = 2,
        label_sd: float = 3.0,
    ) -> None:
        super().__init__()
        if any(size % block for size in shape):
            raise ValueError(f"shape {list(shape)} is no multiple of block {block}")
        self.grid = tuple(size // block for size in shape)
        # relu(t), relu(t - 1), relu(t - 2), from which roofs over 1 (grey) and 2 (white) are made
        self.hinges = nn.Conv3d(1, 3, 1)
        self.relu = nn.ReLU()
        self.roofs = nn.Conv3d(3, 2, 1, bias=False)
        self.amounts = nn.AvgPool3d(block)
        self.sum = nn.Linear(2 * math.prod(self.grid), 1)
        self.spread, self.middle = spread_over_bins(lower, width, n_bins, label_sd)
        self._fix()

    def amount_maps(self, x: torch.Tensor) -> torch.Tensor:
        """Parts of grey and white matter (N, 2, *grid), smoothed, of volumes (N, 1, D, H, W)."""
        return _smooth(self._blocks(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_bins) of volumes (N, 1, D, H, W)."""
        return self.spread(self.sum(self._blocks(x).flatten(1)))

    def set_sum(self, weights: torch.Tensor, age: float) -> None:
        """Put in fitted weights (2 * voxels,) of the maps, and the age (years) of empty maps.

        Smoothing is symmetric, so smooth weights of rough maps give the same sum; prediction and
        occlusion then have one step less.
        """
        with torch.no_grad():
            self.sum.weight.copy_(_smooth(weights.view(1, 2, *self.grid)).flatten(1))
            self.sum.bias.fill_(age - self.middle)

    def _blocks(self, x: torch.Tensor) -> torch.Tensor:
        return self.amounts(self.roofs(self.relu(self.hinges(x))))

    def _fix(self) -> None:
        """Set what is not learned."""
        with torch.no_grad():
            self.hinges.weight.fill_(1.0)
            assert self.hinges.bias is not None
            self.hinges.bias.copy_(torch.tensor([0.0, -1.0, -2.0]))
            self.roofs.weight.copy_(
                torch.tensor([[1.0, -2.0, 1.0], [0.0, 1.0, -1.0]])[:, :, None, None, None]
            )
            self.sum.weight.zero_()
            self.sum.bias.zero_()
        self.requires_grad_(requires_grad=False)


def spread_over_bins(
    lower: float, width: float, n_bins: int, label_sd: float
) -> tuple[nn.Linear, float]:
    """Layer that spreads a number as a Gaussian over bins, and the number that is its 0.

    The bins (years) start at `lower` and are `width` wide; `label_sd` is the Gaussian's SD. Logits
    of a Gaussian about m are linear in m.
    """
    centers = lower + width * (torch.arange(n_bins) + 0.5)
    middle = float(centers.mean())
    away = centers - middle
    layer = nn.Linear(1, n_bins)
    with torch.no_grad():
        layer.weight.copy_((away / label_sd**2)[:, None])
        layer.bias.copy_(-(away**2) / (2 * label_sd**2))
    return layer, middle


def _smooth(maps: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool3d(maps, 3, stride=1, padding=1)
