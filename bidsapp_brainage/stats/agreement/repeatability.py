"""How well values repeat: in repeated scans of the same people, and in other people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bidsapp_brainage.stats.intervals import Floats

MIN_REPEATED = 5  # people with repeated scans; fewer make intervals of an ICC meaningless
MIN_PEOPLE = 6  # halves of three
MIN_REGIONS = 4
TOP = 10
_AT_ONCE = 4_000_000  # weights of people that are held in memory


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
    """

    within_sd: float
    icc21: tuple[float, float, float]
    icc31: tuple[float, float, float]
    smallest_detectable_change: float
    n_people: int
    n_sessions: int


def reliability(values: NDArray[np.floating]) -> Reliability:
    """Intraclass correlations of a table of people by sessions.

    Shrout and Fleiss (1979), with the intervals of McGraw and Wong (1996). Raises ``ValueError``
    for missing values, or fewer than two people or sessions.
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


@dataclass(frozen=True)
class Repeated:
    """A measure of agreement over repetitions: mean and central 95 % of them."""

    measure: str
    value: float
    lower: float
    upper: float
    n_repeats: int


def rank_intervals(values: Floats, *, n_boot: int = 1000, seed: int = 0) -> tuple[Floats, Floats]:
    """Bootstrap intervals of the rank of each outcome by absolute mean.

    2.5 and 97.5 % points of the rank, of shape (n_outcomes,), from values of people by outcomes; 1
    is the largest absolute mean. NaN for outcomes that are unknown in everybody and for fewer than
    six people.
    """
    used = np.isfinite(values).any(axis=0)
    lower, upper = (np.full(values.shape[1], np.nan) for _ in range(2))
    if len(values) < MIN_PEOPLE or not used.any():
        return lower, upper
    rng = np.random.default_rng(seed)
    shares, step = np.full(len(values), 1 / len(values)), max(1, _AT_ONCE // len(values))
    parts = [
        _weighted_means(
            rng.multinomial(len(values), shares, size=min(step, n_boot - start)).astype(float),
            values[:, used],
        )
        for start in range(0, n_boot, step)
    ]
    means = np.concatenate(parts)
    ranks = stats.rankdata(-np.abs(means), axis=1, method="average", nan_policy="omit")
    lower[used], upper[used] = np.nanpercentile(ranks, (2.5, 97.5), axis=0)
    return lower, upper


def _weighted_means(weights: Floats, values: Floats) -> Floats:
    known = np.isfinite(values)
    count = weights.sum(axis=1)[:, None] if known.all() else weights @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = (weights @ np.nan_to_num(values)) / count
    return means


def split_halves(values: Floats, *, n_splits: int = 200, seed: int = 0) -> list[Repeated]:
    """Agreement of mean contributions between random halves of the people.

    Spearman correlations of the signed and of the absolute means, the overlap of the ten strongest
    regions (with at least twenty regions), and the correlation of one person with the mean of the
    others. Regions (columns) that are unknown in somebody are left out; nothing for fewer than six
    people or four regions.
    """
    values = values[:, np.isfinite(values).all(axis=0)]
    n_people, n_regions = values.shape
    if n_people < MIN_PEOPLE or n_regions < MIN_REGIONS:
        return []
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((n_splits, n_people)), axis=1)
    first = (order < n_people // 2).astype(np.float64)
    one, two = (_weighted_means(half, values) for half in (first, 1 - first))
    others = (values.sum(axis=0) - values) / (n_people - 1)
    measures = [
        _repeated("split_half_spearman", _spearman_rows(one, two)),
        _repeated("split_half_spearman_abs", _spearman_rows(np.abs(one), np.abs(two))),
        _repeated("individual_spearman", _spearman_rows(values, others)),
    ]
    if n_regions >= 2 * TOP:
        measures.append(_repeated("top10_overlap", _overlap_rows(np.abs(one), np.abs(two))))
    return measures


def top_overlap(one: NDArray[np.floating], two: NDArray[np.floating]) -> float:
    """Share of the ten largest absolute values that two sets of regions have in common."""
    return float(_overlap_rows(np.abs(one)[None], np.abs(two)[None])[0])


def _overlap_rows(one: Floats, two: Floats) -> Floats:
    chosen = [stats.rankdata(-values, axis=1, method="ordinal") <= TOP for values in (one, two)]
    return np.asarray((chosen[0] & chosen[1]).sum(axis=1) / TOP)


def _spearman_rows(one: Floats, two: Floats) -> Floats:
    ranks = [stats.rankdata(values, axis=1) for values in (one, two)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))


def _repeated(measure: str, values: Floats) -> Repeated:
    lower, upper = np.nanpercentile(values, (2.5, 97.5))
    return Repeated(measure, float(np.nanmean(values)), float(lower), float(upper), len(values))
