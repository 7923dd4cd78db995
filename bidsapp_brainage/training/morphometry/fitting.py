"""Learners of ages from standardised regional measures: ridge and coVariance networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bidsapp_brainage.morphometry.models import unit_covariance
from bidsapp_brainage.morphometry.network import TAPS, WIDTHS, CovarianceNetwork

Floats = NDArray[np.float64]

PENALTIES = np.logspace(-1, 5, 25)
EPOCHS = 60
BATCH = 256
LEARNING_RATE = 0.02
#: Years, of age-balanced weights and errors.
BINS = (0, 8, 13, 18, 25, 35, 45, 55, 65, 75, 120)
LARGEST_WEIGHT = 10.0  # of a person, relative to the mean


def balancing_weights(ages: Floats) -> Floats:
    """Weights of mean 1 that make every occupied bin of age count alike, up to a limit."""
    number = np.digitize(ages, BINS)
    count = np.bincount(number)[number]
    weights = np.minimum(count.mean() / count, LARGEST_WEIGHT)
    return np.asarray(weights / weights.mean())


def fit_ridge(x: Floats, ages: Floats, weights: Floats) -> tuple[Floats, float]:
    """Coefficients (m,) and intercept of a ridge regression on people (n, m).

    The penalty is chosen by generalised cross-validation within these people.
    """
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(PENALTIES).fit(x, ages, weights)
    return np.asarray(model.coef_, dtype=np.float64), float(model.intercept_)


def fit_networks(
    x: Floats,
    ages: Floats,
    weights: Floats,
    *,
    members: int,
    widths: Sequence[int] = WIDTHS,
    taps: int = TAPS,
) -> list[CovarianceNetwork]:
    """CoVariance networks fitted to people (n, m), from different starts; they answer in years.

    The number of epochs is fixed, so that nobody has to be held out to stop.
    """
    covariance = torch.from_numpy(unit_covariance(np.cov(x, rowvar=False))).float()
    level, spread = float(np.average(ages, weights=weights)), float(ages.std())
    target = torch.from_numpy((ages - level) / spread).float()
    inputs, weight = torch.from_numpy(x).float(), torch.from_numpy(weights).float()
    networks = []
    for seed in range(members):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = CovarianceNetwork(widths, taps)
            _train(network, inputs, target, weight, covariance)
        with torch.no_grad():  # the line of the readout takes over the unit
            network.readout.weight.mul_(spread)
            network.readout.bias.mul_(spread).add_(level)
        networks.append(network.eval().requires_grad_(requires_grad=False))
    return networks


def _train(
    network: CovarianceNetwork,
    x: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    covariance: torch.Tensor,
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    steps = EPOCHS * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            error = network(x[batch], covariance) - target[batch]
            (weight[batch] * error.square()).mean().backward()
            optimiser.step()
            schedule.step()
