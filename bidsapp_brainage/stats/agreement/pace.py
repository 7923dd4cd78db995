"""Pace of ageing within people who were scanned several times, and how many people show it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue.group.longitudinal import PACE, POWER
from bidsapp_brainage.stats.agreement.change import MIN_YEARS
from bidsapp_brainage.stats.design import GROUP_TERM, reference_group
from bidsapp_brainage.stats.intervals import NORMAL_95

COLUMNS = tuple(column.name for column in PACE)
POWER_COLUMNS = tuple(column.name for column in POWER)
LEAST_PEOPLE = 10
SCANS_FOR_SPREAD = 3  # per person; with two a pace cannot be told from noise
YEARS, SCANS, DIFFERENCES = (1, 2, 5), (2, 3, 5), (0.1, 0.25, 0.5, 1.0)
POWER_WANTED = 0.8
PACE_TERM, BETWEEN = "pace", "between people"


@dataclass(frozen=True)
class Pace:
    """A fitted model.

    Attributes
    ----------
    table : DataFrame
        ``COLUMNS``, one row per term.
    residual_sd : float
        Of a scan about the line of its person, years.
    spread : float
        SD of the pace over people, years per year; NaN where two scans each do not tell.
    """

    table: pd.DataFrame
    residual_sd: float
    spread: float


def fit(scans: pd.DataFrame, *, reference: str = "") -> Pace | None:
    """Fit predicted age by a mixed model with people as random effects.

    ``predicted ~ years + mean age (+ group + group x years) + (1 | person)``, by REML; from three
    scans a person on also with a random slope. ``years`` is the age minus the mean age of the
    person's scans, so that differences between people do not enter the pace (Neuhaus and
    Kalbfleisch 1998). The slope on the mean age says how much of a year between people the model
    sees: where it is .7, a pace of .7 is what usual ageing looks like.

    Parameters
    ----------
    scans : DataFrame
        ``participant_id``, ``chronological_age``, ``predicted_age`` and, where known, ``group``.
    reference : str
        Reference group; empty for the most frequent one. People of no group, and of one with fewer
        than ten people, are left out.

    Returns
    -------
    Pace or None
        None with fewer than ten people who were scanned at least half a year apart, or where the
        model does not converge.
    """
    data = _in_groups(_data(scans))
    if data["participant_id"].nunique() < LEAST_PEOPLE:
        return None
    right, groups = _terms(data, reference)
    own = data.groupby("participant_id").size()
    slopes = data[["years"]] if own.median() >= SCANS_FOR_SPREAD else None
    for effects in (slopes, None) if slopes is not None else (None,):
        fitted = _fitted(data, right, effects)
        if fitted is not None:
            return _pace(fitted, data, groups, with_slopes=effects is not None)
    return None


def _data(scans: pd.DataFrame) -> pd.DataFrame:
    """Scans of people who were scanned several times over long enough, with centred years."""
    known = scans.dropna(subset=["chronological_age", "predicted_age"]).reset_index(drop=True)
    age = known.groupby("participant_id")["chronological_age"]
    known = known.assign(years=known["chronological_age"] - age.transform("mean"))
    known["mean_age"] = age.transform("mean")
    return known[age.transform("max") - age.transform("min") >= MIN_YEARS].reset_index(drop=True)


def _groups(data: pd.DataFrame) -> pd.Series:
    """Group of each person, as text."""
    return data.dropna(subset=["group"]).groupby("participant_id")["group"].first().astype(str)


def _in_groups(data: pd.DataFrame) -> pd.DataFrame:
    """Without people of no group, or of one with too few of them; everybody without groups."""
    if "group" not in data:
        return data
    groups = _groups(data)
    large = groups[groups.map(groups.value_counts()) >= LEAST_PEOPLE]
    return data[data["participant_id"].isin(large.index)].reset_index(drop=True)


def _terms(data: pd.DataFrame, reference: str) -> tuple[pd.DataFrame, list[str]]:
    """Fixed effects, and the groups that are compared with the reference."""
    right = pd.DataFrame({"intercept": 1.0, PACE_TERM: data["years"]})
    right[BETWEEN] = data["mean_age"] - data["mean_age"].mean()
    if "group" not in data:
        return right, []
    groups = _groups(data)
    others = sorted(set(groups) - {reference_group(groups, reference)})
    for name in others:
        here = (data["group"].astype(str) == name).astype(float)
        right[GROUP_TERM + name] = here
        right[f"{PACE_TERM} {name}"] = here * data["years"]
    return right, others


def _fitted(data: pd.DataFrame, right: pd.DataFrame, slopes: pd.DataFrame | None) -> Any:
    """Fitted mixed model; None where it does not converge."""
    import statsmodels.api as sm

    effects = None if slopes is None else slopes.assign(intercept=1.0)[["intercept", "years"]]
    model = sm.MixedLM(data["predicted_age"], right, groups=data["participant_id"], exog_re=effects)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is asked for below
        try:
            fitted = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    return fitted if fitted.converged and np.isfinite(fitted.bse_fe).all() else None


def _pace(fitted: Any, data: pd.DataFrame, groups: list[str], *, with_slopes: bool) -> Pace:
    bounds = np.asarray(fitted.conf_int(0.05))
    names = [str(name) for name in fitted.model.exog_names]
    shown = {PACE_TERM: "", BETWEEN: "", **{f"{PACE_TERM} {name}": name for name in groups}}
    residual = float(np.sqrt(fitted.scale))
    spread = float(np.sqrt(np.asarray(fitted.cov_re)[1, 1])) if with_slopes else np.nan
    rows = [
        {
            "term": term.split(" ")[0] if group else term,
            "group": group or None,
            "estimate": float(fitted.fe_params[term]),
            "ci95_lower": float(bounds[names.index(term), 0]),
            "ci95_upper": float(bounds[names.index(term), 1]),
            "se": float(fitted.bse_fe[term]),
            "p": float(fitted.pvalues[term]),
            "n_participants": data["participant_id"].nunique(),
            "n_scans": len(data),
            "sd_of_pace": spread,
            "residual_sd": residual,
        }
        for term, group in shown.items()
    ]
    return Pace(pd.DataFrame(rows, columns=list(COLUMNS)), residual, spread)


def power(residual_sd: float, spread: float) -> pd.DataFrame:
    """How many people each of two groups needs to show a difference of their paces.

    Two-sided test at .05 with a power of .8, scans at equal distances, paces by least squares:
    ``n = 2 (z_.975 + z_.8)^2 (spread^2 + residual^2 / Sxx) / difference^2`` (Diggle et al.,
    Analysis of Longitudinal Data, 2002, section 2.4). An unknown spread counts as none, which makes
    the numbers the least.

    Parameters
    ----------
    residual_sd : float
        Of a scan about the line of its person, years.
    spread : float
        SD of the pace over people, years per year, or NaN.
    """
    both = NORMAL_95 + float(stats.norm.ppf(POWER_WANTED))
    rows = []
    for years in YEARS:
        for n_scans in SCANS:
            times = np.linspace(0, years, n_scans)
            noise = residual_sd**2 / float(((times - times.mean()) ** 2).sum())
            variance = noise + np.nan_to_num(spread) ** 2
            rows += [
                {
                    "years": years,
                    "n_scans": n_scans,
                    "floor_of_one": NORMAL_95 * float(np.sqrt(noise)),
                    "difference": difference,
                    "n_per_group": int(np.ceil(2 * both**2 * variance / difference**2)),
                }
                for difference in DIFFERENCES
            ]
    return pd.DataFrame(rows, columns=list(POWER_COLUMNS))
