"""What an ensemble predicts for several volumes, and how predictions differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Decode: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Logits (N, n_bins) of one network -> (probabilities (N, n_bins), mean ages (N,) in years)."""
Progress: TypeAlias = Callable[[int, int], None]
"""Called with (regions done, regions in all)."""


@dataclass(frozen=True)
class Predictions:
    """Predictions to ``n`` volumes.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n, n_bins)
        Mean of the members' distributions; n_bins is 0 where the network gives none.
    ages : ndarray of float64, shape (n,)
        Its mean in years.
    member_ages : ndarray of float64, shape (n_members, n)
        Mean of each member's own distribution in years.
    """

    probabilities: NDArray[np.float64]
    ages: NDArray[np.float64]
    member_ages: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ages)

    def rows(self, first: int, last: int) -> Predictions:
        """Predictions `first` to `last - 1`."""
        return Predictions(
            self.probabilities[first:last], self.ages[first:last], self.member_ages[:, first:last]
        )

    def put(self, places: Sequence[int], other: Predictions) -> None:
        """Overwrite the rows at `places`."""
        self.probabilities[places], self.ages[places] = other.probabilities, other.ages
        self.member_ages[:, places] = other.member_ages

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """One after another."""
        return cls(
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.ages for part in parts]),
            np.concatenate([part.member_ages for part in parts], axis=1),
        )

    @classmethod
    def mean_of(cls, parts: Sequence[Predictions]) -> Predictions:
        """Mean of the distributions of several networks for the same rows; one row fits all."""
        rows = max(len(part) for part in parts)
        full = [part if len(part) == rows else cls.joined([part] * rows) for part in parts]
        return cls(
            np.mean([part.probabilities for part in full], axis=0),
            np.mean([part.ages for part in full], axis=0),
            np.mean([part.member_ages for part in full], axis=0),
        )

    def spread_from(self, other: Predictions) -> NDArray[np.float64]:
        """SD over members of the change of age (years); NaN with a single member."""
        return members_sd(self.member_ages - other.member_ages)

    def divergence_from(self, other: Predictions) -> NDArray[np.float64]:
        """Jensen-Shannon divergence (nats) between distributions row by row; shapes broadcast.

        NaN where there are no distributions.
        """
        middle = entropy((self.probabilities + other.probabilities) / 2)
        apart = (entropy(self.probabilities) + entropy(other.probabilities)) / 2
        return np.asarray(np.maximum(middle - apart, 0.0))  # rounding must not make it negative


def ensemble_predictions(decode: Decode, logits: Sequence[Tensor]) -> Predictions:
    """Average the members as the prediction does: the mean of their distributions.

    Parameters
    ----------
    decode : callable
    logits : sequence of Tensor
        (n, n_bins) of each member.
    """
    decoded = [decode(part) for part in logits]
    probabilities = torch.stack([part.double() for part, _ in decoded]).mean(dim=0)
    ages = torch.stack([part.double() for _, part in decoded])
    return Predictions(
        probabilities.cpu().numpy(), ages.mean(dim=0).cpu().numpy(), ages.cpu().numpy()
    )


def members_sd(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample SD over the members (first axis); NaN with a single one."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of distributions in nats, over the last axis; NaN for those without bins."""
    from scipy.special import entr

    if probabilities.shape[-1] == 0:
        return np.full(probabilities.shape[:-1], np.nan)
    return np.asarray(entr(probabilities).sum(axis=-1))
