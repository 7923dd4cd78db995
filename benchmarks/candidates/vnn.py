"""coVariance neural network: filters that are polynomials of the covariance of the regions.

Sihag, Mateos, McMillan, Ribeiro: coVariance Neural Networks (NeurIPS 2022); Sihag, Mateos, Ribeiro:
Towards a foundation model for brain age prediction using coVariance neural networks (2024), there
NeuroVNN. No weight belongs to a region: a network fits any atlas whose covariance is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WIDTHS = (12, 12)
TAPS = 4  # powers of the covariance, from 0
SEEDS = (0, 1, 2)  # networks whose mean is the answer
STEPS = 250
BATCH = 256
PATIENCE = 40
HELD_OUT = 0.15  # of the training people, for early stopping


class CovarianceNetwork(nn.Module):
    """Layers of covariance filters, the mean over regions, and a line to the age.

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

    def forward(self, x: Tensor, covariance: Tensor) -> Tensor:
        """Standardised ages, shape (n,), of regions (n, m) with a covariance (m, m)."""
        here = x[..., None]
        for layer in self.layers:
            powers = [here]
            for _ in range(self.taps - 1):
                powers.append(torch.einsum("ij,njf->nif", covariance, powers[-1]))
            here = nn.functional.leaky_relu(layer(torch.cat(powers, dim=-1)), 0.1)
        return self.readout(here.mean(dim=1))[:, 0]


def normalised_covariance(x: NDArray[np.float64]) -> Tensor:
    """Covariance of the columns, shape (m, m), with the largest eigenvalue 1."""
    covariance = np.atleast_2d(np.cov(x, rowvar=False))
    return torch.from_numpy(covariance / np.linalg.eigvalsh(covariance)[-1]).float()


def fit(
    x: NDArray[np.float64], ages: NDArray[np.float64], weights: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Fit the networks to people (n, m), and return what predicts ages of others (k, m)."""
    covariance = normalised_covariance(x)
    level, spread = float(ages.mean()), float(ages.std())
    target = torch.from_numpy((ages - level) / spread).float()
    inputs, weight = torch.from_numpy(x).float(), torch.from_numpy(weights).float()
    networks = [_fitted(inputs, target, weight, covariance, seed) for seed in SEEDS]

    def predict(asked: NDArray[np.float64]) -> NDArray[np.float64]:
        with torch.no_grad():
            answers = [network(torch.from_numpy(asked).float(), covariance) for network in networks]
        return torch.stack(answers).mean(dim=0).double().numpy() * spread + level

    return predict


def _fitted(x: Tensor, target: Tensor, weight: Tensor, covariance: Tensor, seed: int) -> nn.Module:
    """One network, as it was when people held out for early stopping had the smallest error."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    n_held = max(1, round(HELD_OUT * len(x)))
    held, learnt = order[:n_held], order[n_held:]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CovarianceNetwork()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=1e-4)
    best, kept, since = float("inf"), network.state_dict(), 0
    for _ in range(STEPS):
        for batch in learnt[torch.randperm(len(learnt), generator=generator)].split(BATCH):
            optimiser.zero_grad()
            error = network(x[batch], covariance) - target[batch]
            (weight[batch] * error.square()).mean().backward()
            optimiser.step()
        with torch.no_grad():
            error = network(x[held], covariance) - target[held]
            loss = float((weight[held] * error.square()).mean())
        since += 1
        if loss < best:
            best, since = loss, 0
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        if since > PATIENCE:
            break
    network.load_state_dict(kept)
    return network
