"""Networks of several kinds that answer together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from bidsapp_brainage.model.specs import Architecture


class Mixture(nn.Module):
    """The mean of the distributions that several networks give, as one network.

    ``build`` makes a network of each of the two or more architectures in ``parts``, which all
    answer with logits over the same bins.
    """

    def __init__(
        self, build: Callable[[Architecture], nn.Module], parts: Sequence[Architecture]
    ) -> None:
        super().__init__()
        if len(parts) < 2:
            raise ValueError("parts needs two or more architectures")
        self.parts = nn.ModuleList(build(part) for part in parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_bins), the logarithm of the mean distribution."""
        total = torch.softmax(self.parts[0](x), dim=1)
        for part in list(self.parts)[1:]:
            total = total + torch.softmax(part(x), dim=1)
        return torch.log(total * (1 / len(self.parts)) + _TINY)


_TINY = math.exp(-60)  # keeps the logarithm of an empty bin finite
