"""The coVariance network of :mod:`bidsapp_brainage.morphometry.network`, stopped early."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidsapp_brainage.morphometry.models import unit_covariance
from bidsapp_brainage.morphometry.network import CovarianceNetwork

SEEDS = (0, 1, 2)  # networks whose mean is the answer
STEPS = 250
BATCH = 256
PATIENCE = 40
HELD_OUT = 0.15  # of the training people, for early stopping


def fit(
    x: NDArray[np.float64], ages: NDArray[np.float64], weights: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Fit the networks to people (n, m), and return what predicts ages of others (k, m)."""
    covariance = torch.from_numpy(unit_covariance(np.cov(x, rowvar=False))).float()
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
