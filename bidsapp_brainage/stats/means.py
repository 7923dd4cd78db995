"""The mean over participants with its t interval and test against zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_FOR_INTERVAL = 3  # participants


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


def mean_with_interval(values: ArrayLike) -> Mean:
    """Mean, standard deviation, 95 % t interval and t test of independent values.

    Parameters
    ----------
    values : array_like, shape (n,)
        One value per participant; NaN where unknown.

    Examples
    --------
    >>> found = mean_with_interval([1.0, 2.0, 3.0, float("nan")])
    >>> found.n, found.mean, round(found.lower, 2), round(found.upper, 2)
    (3, 2.0, -0.48, 4.48)
    """
    given: Any = np.asarray(values, dtype=np.float64)
    known = given[np.isfinite(given)]
    n = len(known)
    mean = float(known.mean()) if n else np.nan
    sd = float(known.std(ddof=1)) if n > 1 else np.nan
    if n < MIN_FOR_INTERVAL or np.ptp(known) == 0:
        return Mean(n, mean, sd)
    error = sd / np.sqrt(n)
    t = mean / error
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Mean(n, mean, sd, mean - half, mean + half, t, float(2 * stats.t.sf(abs(t), n - 1)))
