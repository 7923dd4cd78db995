"""Agreement of repeated scans of the same people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_PEOPLE = 5  # with repeated scans; fewer make intervals of an ICC meaningless


@dataclass(frozen=True)
class Reliability:
    """Reliability of one measure.

    Attributes
    ----------
    within_sd : float
        Root of the mean variance within persons, in units of the measure.
    icc21, icc31 : tuple of float
        Value and bounds of the 95 % interval: two-way random effects with absolute agreement,
        and two-way mixed effects with consistency, both of a single scan.
    smallest_detectable_change : float
        1.96 * sqrt(2) * standard error of measurement.
    n_people, n_sessions : int
    """

    within_sd: float
    icc21: tuple[float, float, float]
    icc31: tuple[float, float, float]
    smallest_detectable_change: float
    n_people: int
    n_sessions: int


def reliability(values: NDArray[np.floating]) -> Reliability:
    """Intraclass correlations of a table of people by sessions.

    Shrout and Fleiss (1979), with the intervals of McGraw and Wong (1996).

    Parameters
    ----------
    values : ndarray, shape (n_people, n_sessions)
        Without missing values, at least two people and two sessions.

    Raises
    ------
    ValueError
        If the table is smaller or has missing values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError("reliability needs a full table of at least 2 people and 2 sessions")
    n, k = values.shape
    grand = values.mean()
    rows = k * float(np.sum((values.mean(axis=1) - grand) ** 2)) / (n - 1)
    columns = n * float(np.sum((values.mean(axis=0) - grand) ** 2)) / (k - 1)
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + grand
    error = float(np.sum(residual**2)) / ((n - 1) * (k - 1))
    return Reliability(
        within_sd=float(np.sqrt(values.var(axis=1, ddof=1).mean())),
        icc21=_agreement(rows, columns, error, n, k),
        icc31=_consistency(rows, error, n, k),
        smallest_detectable_change=float(1.96 * np.sqrt(2) * np.sqrt(error)),
        n_people=n,
        n_sessions=k,
    )


def _consistency(rows: float, error: float, n: int, k: int) -> tuple[float, float, float]:
    if error <= 0 or rows <= 0:
        return (np.nan,) * 3
    ratio = rows / error
    df1, df2 = n - 1, (n - 1) * (k - 1)
    low = ratio / stats.f.ppf(0.975, df1, df2)
    high = ratio * stats.f.ppf(0.975, df2, df1)
    answer = [(f - 1) / (f + k - 1) for f in (ratio, low, high)]
    return float(answer[0]), float(answer[1]), float(answer[2])


def _agreement(
    rows: float, columns: float, error: float, n: int, k: int
) -> tuple[float, float, float]:
    total = rows + (k - 1) * error + k * (columns - error) / n
    if total <= 0 or error <= 0:
        return (np.nan,) * 3
    icc = (rows - error) / total
    if icc >= 1:
        return icc, np.nan, np.nan
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    freedom = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    spread = k * columns + (k * n - k - n) * error
    lower = stats.f.ppf(0.975, n - 1, freedom)
    upper = stats.f.ppf(0.975, freedom, n - 1)
    low = n * (rows - lower * error) / (lower * spread + n * rows)
    high = n * (upper * rows - error) / (spread + n * upper * rows)
    return float(icc), float(low), float(high)
