"""How well predicted ages match chronological ages, always from raw predictions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.stats.intervals import MIN_FOR_BOOTSTRAP, Floats, Paired, Statistic, wilson
from bidsapp_brainage.stats.resampling import Measure, Resampled, Sums

MIN_FOR_LINE = 3  # participants, for correlation, R2 and slope
COLUMNS = tuple(columns_of("metrics"))
#: Metrics of ages, and what they are called for other numbers.
OF_NUMBERS = MappingProxyType({
    "weighted_mae": "mae_over_range",
    "pearson_r": "correlation",
    "mean_gap": "mean_error",
    "bias_slope": "error_slope",
    "mae_mean_age": "mae_mean_value",
    "mae_gain": "mae_gain_value",
})  # fmt: skip


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a sample.

    Attributes
    ----------
    table : DataFrame
        One row per metric, columns ``COLUMNS``; only metrics that the sample supports.
    notes : tuple of str
        Sentences that say what was left out and why.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Metric:
    """A metric of one sample, and the same from sums for many samples at once."""

    name: str
    unit: str
    statistic: Statistic
    measure: Measure
    needs_line: bool = False


def mae(age: Floats, predicted: Floats) -> float:
    """Mean absolute error, in years."""
    return float(np.mean(np.abs(predicted - age)))


def rmse(age: Floats, predicted: Floats) -> float:
    """Root mean squared error, in years."""
    return float(np.sqrt(np.mean((predicted - age) ** 2)))


def r_squared(age: Floats, predicted: Floats) -> float:
    """Coefficient of determination, 1 - SSE / SST (not the squared correlation)."""
    spread = float(np.sum((age - age.mean()) ** 2))
    return 1 - float(np.sum((age - predicted) ** 2)) / spread if spread > 0 else np.nan


def pearson_r(age: Floats, predicted: Floats) -> float:
    """Pearson correlation; NaN when one of the two does not vary."""
    if np.ptp(age) == 0 or np.ptp(predicted) == 0:
        return np.nan
    return float(np.corrcoef(age, predicted)[0, 1])


def mean_gap(age: Floats, predicted: Floats) -> float:
    """Mean of predicted minus chronological age, in years."""
    return float(np.mean(predicted - age))


def bias_slope(age: Floats, predicted: Floats) -> float:
    """Slope of the gap on chronological age, in years per year; 0 is unbiased."""
    spread = float(np.sum((age - age.mean()) ** 2))
    return float(np.sum((age - age.mean()) * (predicted - age))) / spread if spread > 0 else np.nan


def mae_mean_age(age: Floats, predicted: Floats) -> float:
    """Mean absolute error in years of answering everybody with the sample's mean age."""
    del predicted  # same signature as the other metrics
    return float(np.mean(np.abs(age - age.mean())))


def mae_gain(age: Floats, predicted: Floats) -> float:
    """Years by which the error of the mean-age predictor exceeds the model's."""
    return mae_mean_age(age, predicted) - mae(age, predicted)


def metrics(
    age: NDArray[np.floating],
    predicted: NDArray[np.floating],
    participants: NDArray[np.generic],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    subset: str = "all",
    only: Sequence[str] = (),
) -> Accuracy:
    """Accuracy of raw predictions with bootstrap intervals over participants.

    Parameters
    ----------
    age, predicted : ndarray, shape (n_scans,)
        Chronological and predicted age in years; scans where either is NaN are left out.
    participants : ndarray, shape (n_scans,)
        Participant of each scan: the unit that is resampled, with all of its scans.
    n_boot : int
        Bootstrap resamples.
    seed : int
        Seed of the resampling.
    subset : str
        Name of the sample, for the ``subset`` column.
    only : sequence of str
        Names of the metrics wanted; empty means all.

    Returns
    -------
    Accuracy
        MAE, MAE divided by the age range (de Lange et al. 2022), RMSE, R2 (1 - SSE/SST), Pearson
        r, mean gap, slope of the gap on age, MAE of the mean-age predictor, and how much larger
        that is than the model's MAE. Intervals are bias-corrected and accelerated (BCa) and, where
        those are undefined, percentile intervals (column ``ci_method``).
    """
    sample = Paired.of(age, predicted, participants)
    if sample.n_participants == 0:
        note = f"{_named(subset)}: no participant has a known age, accuracy is unknown."
        return Accuracy(_empty_table(), (note,))
    wanted, notes = _supported(sample, subset)
    enough = n_boot > 0 and sample.n_participants >= MIN_FOR_BOOTSTRAP
    resampled = Resampled(sample, n_boot, seed) if enough else None
    rows = []
    for metric in (metric for metric in wanted if not only or metric.name in only):
        rows.append(
            _row(
                resampled.interval(metric.measure) if resampled else (np.nan, np.nan, "n/a"),
                subset=subset,
                metric=metric.name,
                value=metric.statistic(sample.true, sample.predicted),
                unit=metric.unit,
                n_participants=sample.n_participants,
                n_scans=sample.n_scans,
            )
        )
    return Accuracy(pd.DataFrame(rows, columns=list(COLUMNS)), notes)


def of_numbers(
    true: NDArray[np.floating],
    predicted: NDArray[np.floating],
    participants: NDArray[np.generic],
    *,
    unit: str,
    n_boot: int = 2000,
    seed: int = 0,
) -> Accuracy:
    """The metrics of :func:`metrics` for another number than an age, in its unit.

    Those that are about ages have names of their own (:data:`OF_NUMBERS`).
    """
    whole = metrics(true, predicted, participants, n_boot=n_boot, seed=seed)
    table = whole.table.assign(
        metric=whole.table["metric"].replace(dict(OF_NUMBERS)),
        unit=whole.table["unit"].replace({"year": unit, "year/year": "1"}),
    )
    words = "units" if unit == "1" else unit
    said = (re.sub(r"\bage(s?)\b", r"value\1", note) for note in whole.notes)
    return Accuracy(table, tuple(re.sub(r"\byears\b", lambda _: words, note) for note in said))


def estimate(
    name: str,
    statistic: Statistic,
    true: NDArray[np.floating],
    predicted: NDArray[np.floating],
    participants: NDArray[np.generic],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    subset: str = "all",
) -> Accuracy:
    """One metric of your own with its bootstrap interval, in the table of :func:`metrics`.

    Parameters
    ----------
    name : str
        As it shall stand in the table; its unit is 1.
    statistic : callable
        Takes true and predicted values, both of shape (n_scans,), and gives a number.
    true, predicted : ndarray, shape (n_scans,)
        Scans where either is NaN are left out.
    participants, n_boot, seed, subset
        As in :func:`metrics`.
    """
    sample = Paired.of(true, predicted, participants)
    if sample.n_participants == 0:
        return Accuracy(_empty_table())
    row = _row(
        sample.interval(statistic, n_boot, seed),
        subset=subset,
        metric=name,
        value=statistic(sample.true, sample.predicted),
        unit="1",
        n_participants=sample.n_participants,
        n_scans=sample.n_scans,
    )
    return Accuracy(pd.DataFrame([row], columns=list(COLUMNS)))


def _row(interval: tuple[float, float, str], **facts: str | float) -> dict[str, str | float]:
    """One row of the table of metrics; `interval` is its bounds and how they were made."""
    lower, upper, method = interval
    facts |= {"prediction": "raw", "ci95_lower": lower, "ci95_upper": upper, "ci_method": method}
    return facts


def by_subset(
    scans: pd.DataFrame, labels: pd.Series, *, prefix: str, n_boot: int = 2000, seed: int = 0
) -> Accuracy:
    """MAE and mean gap of parts of the sample (by sex, by site, by decade of age).

    Parameters
    ----------
    scans : DataFrame
        ``chronological_age``, ``predicted_age`` (years) and ``participant_id``, a row per scan.
    labels : Series
        Part that each scan belongs to, same index; missing where unknown.
    prefix : str
        What the labels mean; subsets are called ``prefix=label``.
    n_boot, seed : int
        As in :func:`metrics`.

    Returns
    -------
    Accuracy
        Nothing if there are fewer than two parts; parts of fewer than five participants are left
        out with a sentence.
    """
    known = scans[["chronological_age", "predicted_age"]].notna().all(axis=1) & labels.notna()
    parts = list(scans[known].groupby(labels[known], sort=True))
    if len(parts) < 2:
        return Accuracy(_empty_table())
    answers, small = [], []
    for label, part in parts:
        if part["participant_id"].nunique() < MIN_FOR_BOOTSTRAP:
            small.append(f"{prefix} {label}")
            continue
        answer = metrics(
            part["chronological_age"].to_numpy(dtype=float),
            part["predicted_age"].to_numpy(dtype=float),
            part["participant_id"].to_numpy(),
            n_boot=n_boot,
            seed=seed,
            subset=f"{prefix}={label}",
            only=("mae", "mean_gap"),
        )
        answers.append(Accuracy(answer.table))
    if small:
        note = f"Fewer than {MIN_FOR_BOOTSTRAP} participants, not reported: {', '.join(small)}."
        answers.append(Accuracy(_empty_table(), (note,)))
    return join(answers)


def coverage(
    age: NDArray[np.floating],
    lower: NDArray[np.floating],
    upper: NDArray[np.floating],
    participants: NDArray[np.generic],
    *,
    subset: str = "all",
) -> Accuracy:
    """Share of scans whose chronological age lies in the nominal 95 % prediction interval.

    Parameters
    ----------
    age, lower, upper : ndarray, shape (n_scans,)
        Chronological age and bounds of the interval, in years; NaN where unknown.
    participants : ndarray, shape (n_scans,)
        Participant of each scan.
    subset : str
        Name of the sample.

    Returns
    -------
    Accuracy
        One row, ``coverage95`` between 0 and 1, with the Wilson interval for as many observations
        as there are participants: scans of one person are not independent, and counting each
        would make it too narrow.
    """
    known = np.isfinite(age) & np.isfinite(lower) & np.isfinite(upper)
    n_scans = int(known.sum())
    if n_scans == 0:
        return Accuracy(_empty_table())
    inside = int(((age >= lower) & (age <= upper))[known].sum())
    n_participants = len(np.unique(np.asarray(participants)[known]))
    row = _row(
        (*wilson(inside / n_scans, n_participants), "Wilson"),
        subset=subset,
        metric="coverage95",
        value=inside / n_scans,
        unit="1",
        n_participants=n_participants,
        n_scans=n_scans,
    )
    return Accuracy(pd.DataFrame([row], columns=list(COLUMNS)))


def corrected_gap(
    age: NDArray[np.floating],
    gap: NDArray[np.floating],
    participants: NDArray[np.generic],
    *,
    n_boot: int = 2000,
    seed: int = 0,
) -> Accuracy:
    """Mean of the bias-corrected gap and its slope on age; never an accuracy.

    Accuracy from corrected predictions is inflated because the correction puts the true age into
    the prediction (Butler et al. 2021), so no such metric is offered.

    Parameters
    ----------
    age, gap : ndarray, shape (n_scans,)
        Chronological age and corrected gap, in years; NaN where unknown.
    participants : ndarray, shape (n_scans,)
        Participant of each scan.
    n_boot, seed : int
        As in :func:`metrics`.
    """
    age = np.asarray(age, dtype=np.float64)
    answer = metrics(
        age,
        age + gap,
        participants,
        n_boot=n_boot,
        seed=seed,
        only=("mean_gap", "bias_slope"),
    )
    return Accuracy(answer.table.assign(prediction="corrected"))


def join(parts: list[Accuracy]) -> Accuracy:
    """Put several results into one table; equal notes appear once."""
    tables = [part.table for part in parts if not part.table.empty]
    table = pd.concat(tables, ignore_index=True) if tables else _empty_table()
    return Accuracy(table, tuple(dict.fromkeys(note for part in parts for note in part.notes)))


def _empty_table() -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS))


def _supported(sample: Paired, subset: str) -> tuple[list[_Metric], tuple[str, ...]]:
    """Metrics that this sample can support, and sentences about the others."""
    notes = []
    span = float(np.ptp(sample.true))
    supports_line = sample.n_participants >= MIN_FOR_LINE and span > 0
    if not supports_line:
        notes.append(
            f"{_named(subset)}: too few participants for R², correlation, slope and weighted MAE "
            f"({sample.n_participants}, over {span:.1f} years; at least {MIN_FOR_LINE} of "
            "different age are needed)."
        )
    elif np.ptp(sample.predicted) == 0:
        notes.append(
            f"{_named(subset)}: all predicted ages are equal, so that a correlation is undefined."
        )
    if sample.n_participants < MIN_FOR_BOOTSTRAP:
        notes.append(
            f"{_named(subset)}: too few participants for bootstrap intervals "
            f"({sample.n_participants}; at least {MIN_FOR_BOOTSTRAP} are needed)."
        )
    undefined = "pearson_r" if np.ptp(sample.predicted) == 0 else ""
    wanted = [m for m in _all_metrics(span) if supports_line or not m.needs_line]
    return [m for m in wanted if m.name != undefined], tuple(notes)


def _named(subset: str) -> str:
    """A part of the sample, as the beginning of a sentence."""
    words = {"all": "All scans", "unflagged": "Without flagged scans"}
    return words.get(subset, subset.replace("=", " ").capitalize())


def _all_metrics(age_span: float) -> list[_Metric]:
    def weighted_mae(age: Floats, predicted: Floats) -> float:
        return mae(age, predicted) / age_span

    return [
        _Metric("mae", "year", mae, lambda s: s.abs_error / s.n),
        _Metric("weighted_mae", "1", weighted_mae, lambda s: s.abs_error / s.n / age_span, True),
        _Metric("rmse", "year", rmse, lambda s: np.sqrt(s.error2 / s.n)),
        _Metric("r2", "1", r_squared, lambda s: 1 - s.error2 / s.true_spread, True),
        _Metric("pearson_r", "1", pearson_r, _pearson_r, True),
        _Metric("mean_gap", "year", mean_gap, lambda s: s.error / s.n),
        _Metric("bias_slope", "year/year", bias_slope, _bias_slope, True),
        _Metric("mae_mean_age", "year", mae_mean_age, lambda s: s.distance / s.n, True),
        _Metric("mae_gain", "year", mae_gain, lambda s: (s.distance - s.abs_error) / s.n, True),
    ]


def _pearson_r(sums: Sums) -> Floats:
    shared = sums.product - sums.true * sums.predicted / sums.n
    return np.asarray(shared / np.sqrt(sums.true_spread * sums.predicted_spread))


def _bias_slope(sums: Sums) -> Floats:
    return np.asarray((sums.true_error - sums.true * sums.error / sums.n) / sums.true_spread)
