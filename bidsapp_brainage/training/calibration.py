"""Prediction intervals and the age-bias line, from predictions of people not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.specs import CALIBRATIONS, IntervalScale
from bidsapp_brainage.model.uncertainty import expected_error
from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.folds import assign_folds
from bidsapp_brainage.stats.intervals import MISS, conformal_quantile
from bidsapp_brainage.training.crossval import SCANNER
from bidsapp_brainage.training.data.cohort import SIMULATED
from bidsapp_brainage.training.decode import MEMBER_SD
from bidsapp_brainage.training.reference import left_out_parts

Floats = NDArray[np.float64]

DISTANCE = "training_distance"
SCANNER_MISS = 0.08  # at most, on every single scanner
MEMBERS_BEYOND = 0.025  # of people not trained on have members that differ more than the limit
FAST_AGE, FAST_BEYOND = "fast_age", 0.01  # of people are farther from it than the limit
PARTS, REPEATS = 10, 10  # of the cross-validation of the calibration itself
MIN_PEOPLE = 22  # a tenth of them left out, 19 remain: fewer have no 95 % quantile
_FOR_QUANTILE = 19
_NEAREST = 0.1  # of the people are nearer than the distance from which on the width grows
_FOR_GROWTH = 50  # people
_LEAST = 1e-3  # years of expected error for a distance of 1
_TERMS = ("predicted_age_sd", DISTANCE)
_NEEDED = ("participant_id", "age", "predicted_age", "predicted_age_sd")


def check(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with everything that a calibration needs, one per person (their first scan).

    People are exchangeable, scans of one person are not; simulated images are no scans. A table
    that names no scanners is taken as one.

    Raises
    ------
    DataError
        A column is missing, or too few people are left.
    """
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise DataError(f"The predictions lack the column {', '.join(missing)}.")
    table = table if SCANNER in table else table.assign(**{SCANNER: "all"})
    known = np.isfinite(table[list(_NEEDED[1:])].to_numpy(dtype=float)).all(axis=1)
    named = table[known & table[SCANNER].notna()]
    if "image" in named:
        named = named[~named["image"].astype(str).str.contains(SIMULATED, regex=False)]
    people = named.drop_duplicates(["participant_id", SCANNER]).reset_index(drop=True)
    if len(people) < MIN_PEOPLE:
        raise DataError(
            f"{len(people)} people with age and prediction; a 95 % interval needs {MIN_PEOPLE}."
        )
    return people


def calibrate(table: pd.DataFrame, source: str, method: str = "auto") -> dict[str, Any]:
    """``calibration`` of a card.

    Parameters
    ----------
    table : DataFrame
        Predictions of people not trained on: ``participant_id age predicted_age
        predicted_age_sd`` (the raw SD of the distribution); optional ``scanner`` (who was left
        out of training together), ``training_distance`` (from the training people) and
        ``member_sd`` (how much members disagree).
    source : str
        Whose predictions they are.
    method : str
        ``distance`` (half width grows with the distribution's SD and with the distance from the
        training people), ``normalised`` (a multiple of the SD), ``constant`` (the same for
        everybody) or ``auto``: ``distance`` where distances are known, else the one with the
        lower mean interval score (Gneiting 2007) when calibrated without those it is tried on.

    Returns
    -------
    dict
        ``method``; ``scale`` and ``ci95_factor``, ``ci95_half_width_sd`` or ``half_width95``;
        ``sd_scale`` or ``residual_sd``; ``n``, ``coverage95`` and ``mean_half_width`` of
        people in intervals that they (their scanner) had no part in, with several scanners also
        ``coverage_by_scanner``; ``source``; ``member_sd_limit`` where spreads are known, and
        ``fast_age_limit`` where ages from raw images are.
    """
    people = check(table)
    wanted = _usable(people) if method == "auto" else (method,)
    if method != "auto" and method not in _usable(people, everything=True):
        needs = "distances from the training people" if method == "distance" else "SDs above 0"
        raise DataError(f"The calibration method {method} needs {needs}.")
    age = people["age"].to_numpy(dtype=float)
    tried = {name: nested(people, name) for name in wanted}
    chosen = min(tried, key=lambda name: interval_score(tried[name], age))
    bounds = tried[chosen]
    facts: dict[str, Any] = {
        "method": f"conformal_{chosen}",
        **_widths(people, chosen),
        "n": len(people),
        "coverage95": _rounded(_covered(bounds, age).mean()),
        "mean_half_width": _rounded((bounds["upper"] - bounds["lower"]).mean() / 2),
        "source": source,
    }
    if people[SCANNER].nunique() > 1:
        facts["coverage_by_scanner"] = by_scanner(people, bounds)
    spread = people[MEMBER_SD].dropna().to_numpy(float) if MEMBER_SD in people else np.zeros(0)
    limit = conformal_quantile(spread, MEMBERS_BEYOND)
    limits = {"member_sd_limit": _rounded(limit)} if 0 < limit < math.inf else {}
    return facts | limits | fast_age_limit(people)


def fast_age_limit(people: pd.DataFrame) -> dict[str, float]:
    """How far ages of left-out people are from those of the model of raw images (years).

    Parameters
    ----------
    people : DataFrame
        ``predicted_age`` and ``fast_age``, both from networks that had not seen the person.

    Returns
    -------
    dict
        ``fast_age_limit``, the 99th percentile; empty without such people.
    """
    if FAST_AGE not in people or people[FAST_AGE].notna().sum() < MIN_PEOPLE:
        return {}
    away = (people["predicted_age"] - people[FAST_AGE]).abs().dropna()
    return {"fast_age_limit": _rounded(float(away.quantile(1 - FAST_BEYOND)))}


def nested(people: pd.DataFrame, method: str, seed: int = 0) -> pd.DataFrame:
    """Intervals of everybody from calibrations that they had no part in.

    With several scanners no one of the person's scanner had a part in it, if enough people of
    others are there.

    Returns
    -------
    DataFrame
        ``person lower upper``, sorted by the place of the person in ``people``; with one scanner
        ``REPEATS`` rows per person.
    """
    several = people[SCANNER].nunique() > 1 if SCANNER in people else False
    parts = left_out_parts(people, _FOR_QUANTILE) if several else _parts(people, seed)
    predicted = people["predicted_age"].to_numpy(dtype=float)
    rows = []
    for fitted, tested in parts:
        scale, factor = fit_interval(people.iloc[fitted], method)
        half = factor * sizes(people.iloc[tested], scale)
        lower, upper = predicted[tested] - half, predicted[tested] + half
        rows.append(pd.DataFrame({"person": tested, "lower": lower, "upper": upper}))
    return pd.concat(rows, ignore_index=True).sort_values("person", kind="stable")


def fit_interval(people: pd.DataFrame, method: str) -> tuple[IntervalScale, float]:
    """Expected error by SD and distance, and by what it must be multiplied to cover 95 %.

    The factor covers 95 % of all people, with its finite-sample correction, and at least 92 % of
    those of every scanner with enough of them, so that no scanner pays for the others.
    """
    scale = fit_scale(people, method)
    found = _errors(people) / sizes(people, scale)
    factors = [conformal_quantile(found)]
    if SCANNER in people:
        for own in people.groupby(SCANNER).indices.values():
            if len(own) >= _FOR_QUANTILE:
                factors.append(float(np.quantile(found[own], 1 - SCANNER_MISS, method="higher")))
    return scale, max(factors)


def fit_scale(people: pd.DataFrame, method: str) -> IntervalScale:
    """Expected absolute error as a sum of terms none of which is negative.

    So it never falls with the SD or the distance. Least squares on absolute errors; a scanner
    counts by the root of its number of people, so that neither one large sample nor seven people
    decide alone. Fewer than ``_FOR_GROWTH`` people do not tell how errors grow: then the width is
    the same for everybody up to the limit of the distance, and grows beyond.
    """
    from scipy.optimize import nnls

    absent = {"constant": 0.0, "sd": 0.0, "distance": 0.0, "nearest": 0.0}
    if method != "distance":
        term = "sd" if method == "normalised" else "constant"
        return cast("IntervalScale", {**absent, term: 1.0})
    if len(people) < _FOR_GROWTH:
        return cast("IntervalScale", {**absent, "constant": 1.0, "distance": _LEAST})
    far = people[DISTANCE].to_numpy(float)
    nearest = float(np.quantile(far, _NEAREST))
    far = np.maximum(far, nearest)
    terms = np.stack([np.ones(len(far)), people["predicted_age_sd"].to_numpy(float), far], axis=1)
    terms *= np.maximum(far, 1.0)[:, None]  # as in expected_error
    size = people.groupby(SCANNER)[SCANNER].transform("size") if SCANNER in people else len(people)
    weight = np.broadcast_to(np.asarray(size, dtype=float) ** -0.25, len(people))
    constant, sd, distance = nnls(terms * weight[:, None], _errors(people) * weight)[0]
    # above 0, so that the width grows beyond the limit even where it does not within
    found = {"constant": constant, "sd": sd, "distance": max(distance, _LEAST), "nearest": nearest}
    return cast("IntervalScale", {name: round(float(x), 6) for name, x in found.items()})


def sizes(people: pd.DataFrame, scale: IntervalScale) -> Floats:
    """Expected error of everybody, as :mod:`bidsapp_brainage.model.uncertainty` has it."""
    absent = pd.Series(0.0, index=people.index)
    columns = [people.get(name, absent).to_numpy(dtype=float) for name in _TERMS]
    found = [expected_error(sd, far, scale) for sd, far in zip(*columns, strict=True)]
    return np.maximum(np.array(found, dtype=float), 1e-9)  # an SD may be 0


def by_scanner(people: pd.DataFrame, bounds: pd.DataFrame) -> dict[str, dict[str, float]]:
    """``n``, ``coverage95`` and ``mean_half_width`` of every scanner in intervals of `nested`."""
    age = people["age"].to_numpy(dtype=float)
    place = bounds["person"].to_numpy()
    rows = pd.DataFrame(
        {
            "scanner": people[SCANNER].to_numpy()[place],
            "person": place,
            "covered": _covered(bounds, age),
            "half": ((bounds["upper"] - bounds["lower"]) / 2).to_numpy(),
        }
    )
    return {
        str(name): {
            "n": int(part["person"].nunique()),
            "coverage95": _rounded(part["covered"].mean()),
            "mean_half_width": _rounded(part["half"].mean()),
        }
        for name, part in rows.groupby("scanner", sort=False)
    }


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


def bias_line(age: Floats, predicted: Floats, source: str) -> dict[str, Any]:
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


def _usable(people: pd.DataFrame, *, everything: bool = False) -> tuple[str, ...]:
    """Methods that the table allows; where distances are known, only that which uses them."""
    plain = CALIBRATIONS[:2] if (people["predicted_age_sd"] > 0).all() else ("constant",)
    if DISTANCE not in people or not np.isfinite(people[DISTANCE].to_numpy(dtype=float)).all():
        return plain
    return (*plain, "distance") if everything else ("distance",)


def _widths(people: pd.DataFrame, method: str) -> dict[str, Any]:
    """What the card needs to make an interval and an SD."""
    scale, factor = fit_interval(people, method)
    age, predicted, sd = _columns(people)
    if method == "constant":
        residual = _rounded(np.sqrt(((predicted - age) ** 2).mean()))
        return {"half_width95": _rounded(factor), "residual_sd": residual}
    if method == "normalised":
        facts = {"ci95_half_width_sd": _rounded(factor)}
        return {**facts, "sd_scale": sd_scale(age, predicted, sd)}
    size = sizes(people, scale)
    return {
        "scale": dict(scale),
        "ci95_factor": _rounded(factor),
        "sd_scale": sd_scale(age, predicted, size),
    }


def _errors(people: pd.DataFrame) -> Floats:
    return np.asarray((people["predicted_age"] - people["age"]).abs(), dtype=np.float64)


def _covered(bounds: pd.DataFrame, age: Floats) -> NDArray[np.bool_]:
    true = age[bounds["person"].to_numpy()]
    return np.asarray((bounds["lower"] <= true) & (true <= bounds["upper"]))


def _columns(people: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    names = ("age", "predicted_age", "predicted_age_sd")
    age, predicted, sd = (people[name].to_numpy(dtype=float) for name in names)
    return age, predicted, sd


def _rounded(value: float) -> float:
    return round(float(value), 4)
