"""95 % intervals over participants: of means by t, of any statistic by bootstrap."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats, Floats], float]

MIN_FOR_INTERVAL = 3  # participants, for a t interval
MISS = 0.05  # of a 95 % interval
NORMAL_95 = float(stats.norm.ppf(1 - MISS / 2))  # half of one, in standard errors
MIN_FOR_BOOTSTRAP = 5  # participants; fewer make a bootstrap interval meaningless


@dataclass(frozen=True)
class Mean:
    """Mean of a sample; what the sample does not support is NaN.

    Attributes
    ----------
    n : int
        Known values.
    mean, sd : float
        ``sd`` needs two values.
    lower, upper : float
        95 % t interval of the mean; needs three values that are not all equal.
    t, p : float
        Two-sided one-sample t test against zero, where there is an interval.
    """

    n: int
    mean: float
    sd: float
    lower: float = np.nan
    upper: float = np.nan
    t: float = np.nan
    p: float = np.nan

    @property
    def tested(self) -> dict[str, float]:
        """Interval, test and effect size (mean over SD) by the names of their columns."""
        effect = self.mean / self.sd if np.isfinite(self.t) else np.nan
        bounds = {"ci95_lower": self.lower, "ci95_upper": self.upper}
        return {**bounds, "t": self.t, "p": self.p, "effect_size": effect}


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a proportion of `n` independent observations.

    Where several observations of one person are counted as one, the share need not be a multiple
    of 1/n. Source: Wilson, Journal of the American Statistical Association 1927.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(0.75, 4)]
    [0.301, 0.954]
    """
    z = NORMAL_95
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def conformal_quantile(scores: Floats, miss: float = MISS) -> float:
    """Half width that covers all but `miss` of new people, in the unit of the scores.

    The ``ceil((1 - miss) (n + 1))``-th smallest of n scores (split conformal prediction,
    Papadopoulos 2002; Lei 2018), infinite where n is too small: 95 % need 19.
    """
    rank = math.ceil((1 - miss) * (len(scores) + 1) - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def mean_with_interval(values: ArrayLike) -> Mean:
    """Mean, standard deviation, 95 % t interval and t test of independent values.

    Parameters
    ----------
    values : array_like, shape (n,)
        One value per participant; NaN where unknown.

    Examples
    --------
    >>> mean = mean_with_interval([1.0, 2.0, 3.0, float("nan")])
    >>> mean.n, mean.mean, round(mean.lower, 2), round(mean.upper, 2)
    (3, 2.0, -0.48, 4.48)
    """
    everything: Floats = np.asarray(values, dtype=np.float64)
    known = everything[np.isfinite(everything)]
    n = len(known)
    mean = float(known.mean()) if n else np.nan
    sd = float(known.std(ddof=1)) if n > 1 else np.nan
    if n < MIN_FOR_INTERVAL or np.ptp(known) == 0:
        return Mean(n, mean, sd)
    error = sd / math.sqrt(n)
    t = mean / error
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Mean(n, mean, sd, mean - half, mean + half, t, float(2 * stats.t.sf(abs(t), n - 1)))


def means_with_intervals(values: Floats) -> pd.DataFrame:
    """:func:`mean_with_interval` of every column (people by outcomes), by the names of columns.

    One row per outcome: ``n``, ``mean``, ``sd``, ``ci95_lower``, ``ci95_upper``, ``t``, ``p`` and
    ``effect_size`` (mean over SD).
    """
    import pandas as pd

    known = np.isfinite(values)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(axis=0) / n
        squares = np.where(known, (values - mean) ** 2, 0).sum(axis=0)
        sd = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
        widest = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
        varies = widest > np.where(known, values, np.inf).min(axis=0, initial=np.inf)
        error = np.where((n >= MIN_FOR_INTERVAL) & varies, sd / np.sqrt(n), np.nan)
        t = mean / error
        half = stats.t.ppf(1 - MISS / 2, n - 1) * error
        p = 2 * stats.t.sf(np.abs(t), n - 1)
        effect = np.where(np.isfinite(t), mean / sd, np.nan)
    facts = {"n": n, "mean": mean, "sd": sd, "ci95_lower": mean - half, "ci95_upper": mean + half}
    return pd.DataFrame(facts | {"t": t, "p": p, "effect_size": effect})


@dataclass(frozen=True)
class Paired:
    """True and predicted values of scans, which belong to participants; complete scans only.

    All have shape (n_scans,); the codes number participants from 0.
    """

    true: Floats
    predicted: Floats
    codes: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        true: NDArray[np.floating],
        predicted: NDArray[np.floating],
        participants: NDArray[np.generic],
    ) -> Paired:
        """From arrays with NaN where something is unknown."""
        true = np.asarray(true, dtype=np.float64)
        predicted = np.asarray(predicted, dtype=np.float64)
        known = np.isfinite(true) & np.isfinite(predicted)
        codes = np.unique(np.asarray(participants).astype(str)[known], return_inverse=True)[1]
        return cls(true[known], predicted[known], codes)

    @property
    def n_scans(self) -> int:
        """Number of scans."""
        return len(self.true)

    @property
    def n_participants(self) -> int:
        """Number of participants."""
        return len(np.unique(self.codes))

    def interval(self, statistic: Statistic, n_boot: int, seed: int) -> tuple[float, float, str]:
        """Bootstrap interval over participants, each with all of their scans.

        Bias-corrected and accelerated (``BCa``) and, where that is undefined, of percentiles
        (``percentile``); NaN (``n/a``) for small samples, and where `n_boot` is 0.
        """
        if n_boot == 0 or self.n_participants < MIN_FOR_BOOTSTRAP:
            return np.nan, np.nan, "n/a"

        def of_participants(drawn: NDArray[np.intp]) -> float:
            times = np.bincount(drawn.astype(np.intp), minlength=self.n_participants)
            scans = np.repeat(np.arange(self.n_scans), times[self.codes])
            return statistic(self.true[scans], self.predicted[scans])

        everybody = (np.arange(self.n_participants),)
        for method in ("BCa", "percentile"):
            with warnings.catch_warnings():
                # Degenerate samples are told by the NaN interval, which the next method replaces.
                warnings.simplefilter("ignore")
                bounds = stats.bootstrap(
                    everybody,
                    of_participants,
                    n_resamples=n_boot,
                    vectorized=False,
                    method=method,
                    rng=np.random.default_rng(seed),
                ).confidence_interval
            if np.isfinite(bounds.low) and np.isfinite(bounds.high):
                return float(bounds.low), float(bounds.high), method
        return np.nan, np.nan, "n/a"
