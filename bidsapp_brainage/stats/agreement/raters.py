"""What several raters say together, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Weights: TypeAlias = Literal["none", "linear", "quadratic"]
MIN_FOR_JACKKNIFE = 10  # participants; fewer say little about the spread of a kappa


@dataclass(frozen=True)
class Agreement:
    """How far two raters agree about scans that both rated.

    Attributes
    ----------
    n_scans, n_participants : int
        Scans that both rated, and the people they are of.
    share : float
        Of scans with the same answer, from 0 to 1.
    kappa : float
        NaN where chance alone would give full agreement, as when both always say the same.
    lower, upper : float
        95 % interval of kappa; NaN where the sample does not support one.
    """

    n_scans: int
    n_participants: int
    share: float
    kappa: float
    lower: float = np.nan
    upper: float = np.nan


def consensus(grades: Sequence[int]) -> int:
    """The median of at least one grade; of two in the middle the lower, so that doubt counts.

    Examples
    --------
    >>> consensus([4, 1]), consensus([4, 1, 3])
    (1, 3)
    """
    return sorted(grades)[(len(grades) - 1) // 2]


def cohens_kappa(counts: NDArray[np.floating], weights: Weights = "none") -> float:
    """Cohen's kappa of a table of answers, one minus observed over expected disagreement.

    Parameters
    ----------
    counts : ndarray, shape (k, k)
        Scans by the answers of the first (rows) and the second rater, in their order.
    weights : {"none", "linear", "quadratic"}
        How much a disagreement weighs by its distance: all alike (Cohen 1960), or with the distance
        or its square (Cohen 1968).

    Returns
    -------
    float
        1 for full agreement, 0 for that of chance; NaN where chance alone would be full agreement.

    Examples
    --------
    >>> float(round(cohens_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])), 2))
    0.4
    """
    k = len(counts)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(float)
    cost = {"none": np.sign(distance), "linear": distance, "quadratic": distance**2}[weights]
    shares = counts / counts.sum()
    expected = float((cost * np.outer(shares.sum(axis=1), shares.sum(axis=0))).sum())
    return 1 - float((cost * shares).sum()) / expected if expected > 0 else np.nan


def agreement(
    first: ArrayLike,
    second: ArrayLike,
    participants: ArrayLike,
    *,
    n_answers: int,
    weights: Weights = "none",
) -> Agreement:
    """Agreement of two raters with a jackknife interval over participants.

    The interval is kappa ± t(n - 1) times the jackknife standard error (Fleiss & Davies 1982),
    cut at 1 and -1. People are left out one at a time with all of their scans, because scans of one
    person are alike. There is none with fewer than 10 people, nor where all agree.

    Parameters
    ----------
    first, second : array_like of int, shape (n_scans,)
        Answers from 0 to ``n_answers - 1``, in their order; at least one.
    participants : array_like, shape (n_scans,)
        Participant of each scan.
    n_answers : int
        Number of possible answers.
    weights : {"none", "linear", "quadratic"}
        As in :func:`cohens_kappa`.
    """
    one, two = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    people, person = np.unique(np.asarray(participants).astype(str), return_inverse=True)
    counts = np.zeros((len(people), n_answers, n_answers))
    np.add.at(counts, (person, one, two), 1)
    total = counts.sum(axis=0)
    kappa = cohens_kappa(total, weights)
    lower, upper = np.nan, np.nan
    if len(people) >= MIN_FOR_JACKKNIFE:
        without = np.array([cohens_kappa(total - own, weights) for own in counts])
        half = _half_width(without)
        if half > 0:
            lower, upper = max(kappa - half, -1.0), min(kappa + half, 1.0)
    share = float(np.mean(one == two))
    return Agreement(len(one), len(people), share, kappa, lower, upper)


def _half_width(without: NDArray[np.floating]) -> float:
    """Half of a 95 % interval from the values with each participant left out; NaN if one is."""
    n = len(without)
    variance = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    return float(stats.t.ppf(0.975, n - 1)) * variance**0.5
