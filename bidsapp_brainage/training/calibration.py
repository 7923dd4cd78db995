"""Prediction intervals and the age-bias line, from predictions of people not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.folds import assign_folds

Floats = NDArray[np.float64]
Fact = str | int | float  # on a card

METHODS = ("normalised", "constant")
MISS = 0.05  # of the 95 % interval
PARTS, REPEATS = 10, 10  # of the cross-validation of the calibration itself
MIN_PEOPLE = 22  # a tenth of them left out, 19 remain: fewer have no 95 % quantile


def conformal_quantile(scores: Floats) -> float:
    """Half width that covers 95 % of new people, in the unit of the scores.

    The ``ceil(0.95 (n + 1))``-th smallest of n scores (split conformal prediction, Papadopoulos
    2002; Lei 2018), infinite for fewer than 19.
    """
    rank = math.ceil((1 - MISS) * (len(scores) + 1))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def scores(method: str, age: Floats, predicted: Floats, sd: Floats) -> Floats:
    """Absolute errors; for ``normalised`` in units of the distribution's SD."""
    error = np.abs(predicted - age)
    return error / sd if method == "normalised" else error


def check(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with everything that a calibration needs, one per person (their first scan).

    People are exchangeable, scans of one person are not.

    Raises
    ------
    DataError
        A column is missing, or too few people are left.
    """
    needed = ["participant_id", "age", "predicted_age", "predicted_age_sd"]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(f"The predictions lack the column {', '.join(missing)}.")
    known = np.isfinite(table[needed[1:]].to_numpy(dtype=float)).all(axis=1)
    people = table[known].drop_duplicates("participant_id").reset_index(drop=True)
    if len(people) < MIN_PEOPLE:
        raise DataError(
            f"{len(people)} people with age and prediction; a 95 % interval needs {MIN_PEOPLE}."
        )
    return people


def calibrate(table: pd.DataFrame, source: str, method: str = "auto") -> dict[str, Fact]:
    """``calibration`` of a card.

    Parameters
    ----------
    table : DataFrame
        Out-of-fold predictions: ``participant_id age predicted_age predicted_age_sd`` (the raw
        SD of the distribution).
    source : str
        Whose predictions they are.
    method : str
        ``normalised`` (half width a multiple of the distribution's SD), ``constant`` (the same
        for everybody) or ``auto``: the one with the lower mean interval score (Gneiting 2007) in
        cross-validation.

    Returns
    -------
    dict
        ``method``, ``ci95_half_width_sd`` or ``half_width95``, ``sd_scale`` or
        ``residual_sd``, ``n``, ``coverage95`` and ``mean_half_width`` in cross-validation of the
        calibration, ``source``.
    """
    people = check(table)
    age, predicted, sd = _columns(people)
    usable = METHODS if (sd > 0).all() else ("constant",)
    if method != "auto" and method not in usable:
        raise DataError(f"The calibration method {method} needs SDs above 0.")
    wanted = usable if method == "auto" else (method,)
    tried = {name: nested(people, name) for name in wanted}
    chosen = min(tried, key=lambda name: interval_score(tried[name], age))
    bounds = tried[chosen]
    width = conformal_quantile(scores(chosen, age, predicted, sd))
    key = "ci95_half_width_sd" if chosen == "normalised" else "half_width95"
    facts: dict[str, Fact] = {
        "method": f"conformal_{chosen}",
        key: _rounded(width),
        "n": len(people),
        "coverage95": _rounded(_covered(bounds, age).mean()),
        "mean_half_width": _rounded((bounds["upper"] - bounds["lower"]).mean() / 2),
        "source": source,
    }
    if chosen == "normalised":
        facts["sd_scale"] = sd_scale(age, predicted, sd)
    else:
        facts["residual_sd"] = _rounded(np.sqrt(((predicted - age) ** 2).mean()))
    return facts


def nested(people: pd.DataFrame, method: str, seed: int = 0) -> pd.DataFrame:
    """Intervals of everybody from calibrations that they had no part in.

    Returns
    -------
    DataFrame
        ``lower upper``, ``REPEATS`` rows per person (in the order of ``people``, repeated).
    """
    age, predicted, sd = _columns(people)
    rows = []
    for fitted, tested in _parts(people, seed):
        width = conformal_quantile(scores(method, age[fitted], predicted[fitted], sd[fitted]))
        half = width * (sd[tested] if method == "normalised" else 1.0) + np.zeros(len(tested))
        lower, upper = predicted[tested] - half, predicted[tested] + half
        rows.append(pd.DataFrame({"person": tested, "lower": lower, "upper": upper}))
    return pd.concat(rows, ignore_index=True).sort_values("person", kind="stable")


def interval_score(bounds: pd.DataFrame, age: Floats) -> float:
    """Mean width plus 2 / 0.05 times what lies outside (Gneiting and Raftery 2007)."""
    true = age[bounds["person"].to_numpy()]
    lower, upper = bounds["lower"].to_numpy(), bounds["upper"].to_numpy()
    outside = np.maximum(lower - true, 0) + np.maximum(true - upper, 0)
    return float((upper - lower + 2 / MISS * outside).mean())


def corrected(people: pd.DataFrame, bounds: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Raw and corrected gap side by side, each from fits that the person had no part in.

    `people` are those of :func:`check`, `bounds` those of :func:`nested`.
    """
    age, predicted, _ = _columns(people)
    lines = np.zeros(len(people))
    for fitted, tested in _parts(people, seed, repeats=1):
        slope, intercept = np.polyfit(age[fitted], predicted[fitted], 1)
        lines[tested] = slope * age[tested] + intercept
    first = bounds.drop_duplicates("person")
    return pd.DataFrame(
        {
            "participant_id": people["participant_id"],
            "age": age,
            "predicted_age": predicted,
            "ci95_lower": first["lower"].to_numpy(),
            "ci95_upper": first["upper"].to_numpy(),
            "covered": _covered(first, age),
            "gap": predicted - age,
            "gap_corrected": predicted - lines,
        }
    )


def bias_line(age: Floats, predicted: Floats, source: str) -> dict[str, Fact]:
    """Fit ``predicted = slope * age + intercept`` on predictions of people not trained on."""
    slope, intercept = np.polyfit(age, predicted, 1)
    residual = predicted - (slope * age + intercept)
    return {
        "slope": _rounded(slope),
        "intercept": _rounded(intercept),
        "residual_sd": _rounded(residual.std(ddof=2)),
        "n": len(age),
        "source": source,
    }


def sd_scale(age: Floats, predicted: Floats, sd: Floats) -> float:
    """Factor that gives distribution SDs the size of the errors: RMS of error / SD."""
    return _rounded(np.sqrt((((predicted - age) / sd) ** 2).mean()))


def interval_coverage(bounds: pd.DataFrame, people: pd.DataFrame) -> accuracy.Accuracy:
    """Share of people inside the intervals of the first repeat, with its Wilson interval."""
    first = bounds.drop_duplicates("person")
    age = people["age"].to_numpy(dtype=float)
    lower, upper = (first[name].to_numpy(dtype=float) for name in ("lower", "upper"))
    return accuracy.coverage(age, lower, upper, people["participant_id"].to_numpy())


def _parts(
    people: pd.DataFrame, seed: int, repeats: int = REPEATS
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """People to fit on and people to try, ``PARTS`` times ``repeats``."""
    names, age = people["participant_id"].tolist(), people["age"].to_numpy(dtype=float)
    for repeat in range(repeats):
        part = assign_folds(names, age, min(PARTS, len(names)), seed + repeat)
        for index in np.unique(part):
            yield np.flatnonzero(part != index), np.flatnonzero(part == index)


def _covered(bounds: pd.DataFrame, age: Floats) -> NDArray[np.bool_]:
    true = age[bounds["person"].to_numpy()]
    return np.asarray((bounds["lower"] <= true) & (true <= bounds["upper"]))


def _columns(people: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    names = ("age", "predicted_age", "predicted_age_sd")
    age, predicted, sd = (people[name].to_numpy(dtype=float) for name in names)
    return age, predicted, sd


def _rounded(value: float) -> float:
    return round(float(value), 4)
