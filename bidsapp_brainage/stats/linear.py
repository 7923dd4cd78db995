"""Linear models of many outcomes on the same people."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.group.models import FIT
from bidsapp_brainage.stats.design import PEOPLE_PER_TERM, Design
from bidsapp_brainage.stats.permutation import freedman_lane_max_t

COLUMNS = tuple(column.name for column in FIT)


def fit(outcome: pd.Series, design: Design) -> pd.DataFrame:
    """Fit one outcome (a value by ``participant_id``): ``COLUMNS``, one row per term.

    Least squares with HC3 errors (MacKinnon and White 1985), sites as fixed effects; with six sites
    or more a mixed model with a random intercept, if that converges. Empty if too few people have
    the outcome or it does not vary.
    """
    rows = design.terms.index.intersection(outcome.dropna().index)
    values = outcome.loc[rows].astype(float)
    if len(rows) < PEOPLE_PER_TERM * (1 + design.terms.shape[1]) or np.ptp(values) == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    fitted, method, freedom = _fitted(values, design, rows)
    bounds = np.asarray(fitted.conf_int(0.05))
    names = [name for name in map(str, design.terms) if name in fitted.model.exog_names]
    spread = values.std(ddof=1)
    table = []
    for name in names:
        place = fitted.model.exog_names.index(name)
        x = design.terms.loc[rows, name]
        scale = (1.0 if x.nunique() == 2 else x.std(ddof=1)) / spread
        estimate = float(np.asarray(fitted.params)[place])
        low, high = (float(value) for value in bounds[place])
        table.append(
            {
                "term": name,
                "estimate": estimate,
                "ci95_lower": low,
                "ci95_upper": high,
                "se": float(np.asarray(fitted.bse)[place]),
                "statistic": float(np.asarray(fitted.tvalues)[place]),
                "df": freedom,
                "p": float(np.asarray(fitted.pvalues)[place]),
                "beta": estimate * scale,
                "beta_ci95_lower": low * scale,
                "beta_ci95_upper": high * scale,
                **_hedges(values, design, name),
                "n_participants": len(rows),
                "method": method,
                "formula": design.formula,
            }
        )
    return pd.DataFrame(table, columns=list(COLUMNS))


def _fitted(values: pd.Series, design: Design, rows: pd.Index) -> tuple[Any, str, float]:
    import statsmodels.api as sm

    if design.mixed:
        mixed = _mixed(values, design, rows)
        if mixed is not None:
            return mixed, "mixed_site", np.nan
    matrix = design.matrix(rows)
    fitted = sm.OLS(values, matrix).fit(cov_type="HC3", use_t=True)
    return fitted, "OLS_HC3", float(fitted.df_resid)


def _mixed(values: pd.Series, design: Design, rows: pd.Index) -> Any:
    """Fitted mixed model, or None where it does not converge."""
    import statsmodels.api as sm

    assert design.sites is not None
    model = sm.MixedLM(values, design.matrix(rows, sites=False), groups=design.sites.loc[rows])
    with warnings.catch_warnings():
        # Convergence is asked for below; a variance of 0 between sites is an answer, not a fault.
        warnings.simplefilter("ignore")
        try:
            fitted = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    return fitted if fitted.converged and np.isfinite(fitted.bse_fe).all() else None


def _hedges(values: pd.Series, design: Design, term: str) -> dict[str, float]:
    """Hedges' g of a group term with its interval; NaN for other terms."""
    from statsmodels.stats.meta_analysis import effectsize_smd

    names = ("hedges_g", "hedges_g_ci95_lower", "hedges_g_ci95_upper")
    unknown = dict.fromkeys(names, np.nan)
    if design.groups is None or not term.startswith("group_"):
        return unknown
    groups = design.groups.loc[values.index]
    one = values[groups == term.removeprefix("group_")]
    two = values[groups == design.reference]
    if min(len(one), len(two)) < 2 or one.std() + two.std() == 0:
        return unknown
    g, variance = effectsize_smd(
        one.mean(), one.std(ddof=1), len(one), two.mean(), two.std(ddof=1), len(two)
    )
    half = 1.959964 * np.sqrt(variance)
    return dict(zip(names, (float(g), float(g - half), float(g + half)), strict=True))


def coefficients(outcomes: pd.DataFrame, design: Design) -> pd.Series:
    """Least-squares estimates by outcome and term, for participants by outcomes.

    Sites are fixed effects. NaN where too few people have the outcome.
    """
    rows = design.terms.index.intersection(outcomes.index)
    matrix = design.matrix(rows)
    terms = [name for name in design.terms if name in matrix]
    places = [list(matrix).index(term) for term in terms]
    right = matrix.to_numpy(dtype=np.float64)
    found = np.full((outcomes.shape[1], len(terms)), np.nan)
    for number, values in enumerate(outcomes.loc[rows].to_numpy(dtype=np.float64).T):
        known = np.isfinite(values)
        if known.sum() > len(right.T):
            found[number] = np.linalg.lstsq(right[known], values[known])[0][places]
    pairs = pd.MultiIndex.from_product([outcomes.columns, terms])
    return pd.Series(found.ravel(), index=pairs)


def max_t(
    outcomes: pd.DataFrame, design: Design, *, n_permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Family-wise p values of every term over all outcomes: outcomes by terms.

    Outcomes (participants by outcomes) that somebody in the design lacks are left out. Sites are
    blocks within which people are exchanged, and fixed effects.
    """
    rows = design.terms.index.intersection(outcomes.index)
    full = outcomes.loc[rows].dropna(axis="columns")
    matrix = design.matrix(rows)
    answer = pd.DataFrame(index=outcomes.columns, columns=list(design.terms), dtype=float)
    if full.empty:
        return answer
    blocks = None if design.sites is None else design.sites.loc[rows].to_numpy(dtype=str)
    for name in (name for name in map(str, design.terms) if name in matrix):
        answer.loc[full.columns, name] = freedman_lane_max_t(
            full.to_numpy(dtype=np.float64),
            matrix.to_numpy(dtype=np.float64),
            list(matrix).index(name),
            blocks=blocks,
            n_permutations=n_permutations,
            seed=seed,
        )
    return answer
