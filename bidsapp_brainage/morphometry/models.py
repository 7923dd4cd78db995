"""Models of morphometry: from standardised features to ages and what every region adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from .network import CovarianceNetwork

Floats = NDArray[np.float64]
_RIDGE = 1e-2  # added to the variance of known regions before the others are told from them


class AgeModel(Protocol):
    """What answers for standardised features."""

    def ages(self, z: Floats) -> Floats:
        """Ages (years) by every member, shape (members, n), of features (n, m), NaN if missing."""

    def contributions(self, z: Floats) -> Floats:
        """Years by feature (n, m) that add up to the age less that of the mean training person."""

    def residuals(self, z: Floats) -> Floats | None:
        """Regional residuals (n, m) of Sihag 2023 in years; None if the model has none."""


@dataclass(frozen=True)
class LinearModel:
    """A line; a missing feature has the value that the known ones let expect.

    Attributes
    ----------
    coefficients : ndarray, shape (m,)
        Years per SD.
    intercept : float
        Years: the age of the mean training person.
    covariance : ndarray, shape (m, m)
        Of the features of the training people.
    """

    coefficients: Floats
    intercept: float
    covariance: Floats

    def ages(self, z: Floats) -> Floats:
        """Ages in years, shape (1, n)."""
        return (self.contributions(z).sum(axis=1) + self.intercept)[None]

    def contributions(self, z: Floats) -> Floats:
        """Coefficient times standardised feature, in years, shape (n, m)."""
        return completed(z, self.covariance) * self.coefficients

    def residuals(self, z: Floats) -> None:
        """None: a line has an answer for all regions together only."""


@dataclass(frozen=True)
class CovarianceModel:
    """Networks over the covariance of the regions that are known; the others are left out.

    Attributes
    ----------
    networks : sequence of CovarianceNetwork
        They answer in years.
    covariance : ndarray, shape (m, m)
        Of the features of the training people, or of other people with another parcellation.
    center : ndarray, shape (m,)
        What every region says of the training people on average, in years.
    """

    networks: Sequence[CovarianceNetwork]
    covariance: Floats
    center: Floats

    def ages(self, z: Floats) -> Floats:
        """Ages in years, shape (members, n)."""
        return np.stack([np.nanmean(said, axis=1) for said in self._said(z)])

    def contributions(self, z: Floats) -> Floats:
        """What a region says beyond its mean over the training people, over the regions."""
        return (self._said(z).mean(axis=0) - self.center) / np.isfinite(z).sum(axis=1)[:, None]

    def residuals(self, z: Floats) -> Floats:
        """What a region says less the age: p_i - mean of p (Sihag 2023)."""
        said = self._said(z).mean(axis=0)
        return said - np.nanmean(said, axis=1, keepdims=True)

    def _said(self, z: Floats) -> Floats:
        """What the regions say by every network, (members, n, m); NaN where one is missing."""
        known = np.isfinite(z)
        found = np.full((len(self.networks), *z.shape), np.nan)
        patterns, which = np.unique(known, axis=0, return_inverse=True)
        for place, pattern in enumerate(patterns):
            rows = np.flatnonzero(which.ravel() == place)
            chosen = np.ix_(rows, np.flatnonzero(pattern))
            own = torch.from_numpy(unit_covariance(self.covariance[np.ix_(pattern, pattern)]))
            with torch.inference_mode():
                for member, network in enumerate(self.networks):
                    answer = network.regional(torch.from_numpy(z[chosen]).float(), own.float())
                    found[member][chosen] = answer.double().numpy()
        return found


def unit_covariance(covariance: Floats) -> Floats:
    """The same with the largest eigenvalue 1, as the filters of the networks expect it."""
    return np.asarray(covariance / np.linalg.eigvalsh(covariance)[-1])


def completed(z: Floats, covariance: Floats) -> Floats:
    """Missing features (NaN) by what the known ones let expect: the mean of a normal distribution.

    Parameters
    ----------
    z : ndarray, shape (n, m)
        Standardised.
    covariance : ndarray, shape (m, m)
        Of complete people.
    """
    filled = z.copy()
    for row in filled:
        known = np.isfinite(row)
        if known.all():
            continue
        of_known = covariance[np.ix_(known, known)] + _RIDGE * np.eye(known.sum())
        row[~known] = covariance[np.ix_(~known, known)] @ np.linalg.solve(of_known, row[known])
    return filled


def build(
    architecture: Mapping[str, object], tensors: Mapping[str, torch.Tensor]
) -> LinearModel | CovarianceModel:
    """The model of a card's ``architecture`` with its weights.

    Raises
    ------
    KeyError, RuntimeError
        A tensor is missing or has another shape than the architecture says.
    """
    covariance = tensors["covariance"].double().numpy()
    if architecture["id"] == "linear":
        coefficients = tensors["coefficients"].double().numpy()
        return LinearModel(coefficients, float(tensors["intercept"]), covariance)
    parameters = dict(architecture["parameters"])  # type: ignore[call-overload]
    networks = []
    for member in range(parameters.pop("members")):
        network = CovarianceNetwork(**parameters)
        start = f"members.{member}."
        own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        network.load_state_dict(own, strict=True)
        networks.append(network.eval().requires_grad_(requires_grad=False))
    return CovarianceModel(networks, covariance, tensors["said_center"].double().numpy())
