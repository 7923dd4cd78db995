"""Networks of several kinds that answer together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

TINY = math.exp(-60)  # keeps the logarithm of an empty bin finite


class Mixture(nn.Module):
    """The mean of the distributions that several networks give, as one network.

    Parameters
    ----------
    parts : sequence of nn.Module
        Two or more, which all answer with logits over the same bins.
    weights : sequence of float, optional
        How much each counts; by default all the same.
    """

    def __init__(self, parts: Sequence[nn.Module], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(parts) if weights is None else weights
        if len(parts) < 2:
            raise ValueError("parts needs two or more architectures")
        if len(weights) != len(parts) or min(weights) <= 0:
            raise ValueError("weights needs one number above 0 for each of the parts")
        self.parts = nn.ModuleList(parts)
        self.shares = tuple(weight / sum(weights) for weight in weights)

    def bound(self, labels: np.ndarray) -> Mixture:
        """The mixture for a brain with these regions (D, H, W)."""
        return self._of("bound", labels)

    def mirrored(self, axis: int) -> Mixture:
        """The mixture for the mirror image of the brain, along an axis (0 to 2) of its volume."""
        return self._of("mirrored", axis)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_bins), the logarithm of the mean distribution."""
        total = torch.softmax(self.parts[0](x), dim=1) * self.shares[0]
        for share, part in list(zip(self.shares, self.parts, strict=True))[1:]:
            total = total + torch.softmax(part(x), dim=1) * share
        return torch.log(total + TINY)

    def _of(self, change: str, value: object) -> Mixture:
        """With the parts changed that can be."""
        parts = [getattr(part, change)(value) if hasattr(part, change) else part
                 for part in self.parts]  # fmt: skip
        return Mixture(parts, self.shares)
