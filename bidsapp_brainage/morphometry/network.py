"""CoVariance neural network: filters that are polynomials of the covariance of the regions.

Sihag, Mateos, McMillan, Ribeiro: coVariance Neural Networks (NeurIPS 2022); the same: Explainable
brain age prediction using coVariance neural networks (NeurIPS 2023); Sihag, Mateos, Ribeiro:
Towards a foundation model for brain age prediction using coVariance neural networks (2024), there
NeuroVNN. No weight belongs to a region: a network fits any parcellation whose covariance is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (12, 12)
TAPS = 4  # powers of the covariance, from 0


class CovarianceNetwork(nn.Module):
    """Layers of covariance filters, and a line from the features of every region to an age.

    Parameters
    ----------
    widths : sequence of int
        Features of the layers.
    taps : int
        Powers of the covariance in a filter, the 0th included.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, taps: int = TAPS) -> None:
        super().__init__()
        self.taps = taps
        sizes = zip((1, *widths[:-1]), widths, strict=True)
        self.layers = nn.ModuleList(nn.Linear(taps * here, there) for here, there in sizes)
        self.readout = nn.Linear(widths[-1], 1)

    def regional(self, x: Tensor, covariance: Tensor) -> Tensor:
        """What every region says, shape (n, m), of values (n, m) with a covariance (m, m).

        Its mean over the regions is the network's answer; what a region says beyond that mean is
        the regional residual of Sihag 2023.
        """
        n, m = x.shape
        powers = [torch.eye(m, dtype=x.dtype, device=x.device)]
        for _ in range(self.taps - 1):
            powers.append(covariance @ powers[-1])
        stacked = torch.cat(powers)  # one product does all powers
        here = x.T[..., None]
        for layer in self.layers:
            filtered = (stacked @ here.reshape(m, -1)).reshape(self.taps, m, n, -1)
            features = filtered.permute(1, 2, 0, 3).reshape(m, n, -1)
            here = nn.functional.leaky_relu(layer(features), 0.1)
        return self.readout(here)[..., 0].T

    def forward(self, x: Tensor, covariance: Tensor) -> Tensor:
        """Standardised ages, shape (n,), of values (n, m) with a covariance (m, m)."""
        return self.regional(x, covariance).mean(dim=1)
