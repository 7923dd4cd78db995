"""Linear models of many outcomes on the same people."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.group.models import FIT
from bidsapp_brainage.stats.design import GROUP_TERM, PEOPLE_PER_TERM, Design
from bidsapp_brainage.stats.intervals import NORMAL_95
from bidsapp_brainage.stats.permutation import freedman_lane_max_t

COLUMNS = tuple(column.name for column in FIT)


def fit(outcome: pd.Series, design: Design) -> pd.DataFrame:
    """Fit one outcome (a value by ``participant_id``): ``COLUMNS``, one row per term.

    Least squares with HC3 errors (MacKinnon and White 1985), sites as fixed effects; with six sites
    or more a mixed model with a random intercept, if that converges. Empty if too few people have
    the outcome or it does not vary.
    """
    found = fitted(outcome, design)
    if found is None:
        return pd.DataFrame(columns=list(COLUMNS))
    rows, values, bounds = found.rows, found.values, np.asarray(found.model.conf_int(0.05))
    names = [name for name in map(str, design.terms) if name in found.names]
    spread = values.std(ddof=1)
    table = []
    for name in names:
        place = found.names.index(name)
        x = design.terms.loc[rows, name]
        scale = (1.0 if x.nunique() == 2 else x.std(ddof=1)) / spread
        estimate = float(np.asarray(found.model.params)[place])
        low, high = (float(value) for value in bounds[place])
        table.append(
            {
                "term": name,
                "estimate": estimate,
                "ci95_lower": low,
                "ci95_upper": high,
                "se": float(np.asarray(found.model.bse)[place]),
                "statistic": float(np.asarray(found.model.tvalues)[place]),
                "df": found.freedom,
                "p": float(np.asarray(found.model.pvalues)[place]),
                "beta": estimate * scale,
                "beta_ci95_lower": low * scale,
                "beta_ci95_upper": high * scale,
                **_hedges(values, design, name),
                "n_participants": len(rows),
                "method": found.method,
                "formula": design.formula,
            }
        )
    return pd.DataFrame(table, columns=list(COLUMNS))


@dataclass(frozen=True)
class Fitted:
    """A fitted model of one outcome.

    Attributes
    ----------
    model : Any
        Results of statsmodels.
    rows : Index
        The participants.
    values : Series
        Their outcome.
    method : str
        One of the levels of :data:`bidsapp_brainage.catalogue.group.models.FIT_METHOD`.
    freedom : float
        Residual degrees of freedom of the t distribution, NaN if normal.
    """

    model: Any
    rows: pd.Index
    values: pd.Series
    method: str
    freedom: float

    @property
    def names(self) -> list[str]:
        """Names of the coefficients in their order."""
        return [str(name) for name in self.model.model.exog_names]


def fitted(outcome: pd.Series, design: Design) -> Fitted | None:
    """Model of one outcome as of :func:`fit`; None where the sample does not support it."""
    import statsmodels.api as sm

    rows = design.terms.index.intersection(outcome.dropna().index)
    values = outcome.loc[rows].astype(float)
    if len(rows) < PEOPLE_PER_TERM * (1 + design.terms.shape[1]) or np.ptp(values) == 0:
        return None
    if design.mixed and (mixed := _mixed(values, design, rows)) is not None:
        return Fitted(mixed, rows, values, "mixed_site", np.nan)
    model = sm.OLS(values, design.matrix(rows)).fit(cov_type="HC3", use_t=True)
    return Fitted(model, rows, values, "OLS_HC3", float(model.df_resid))


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
    """Hedges' g of a group term against the reference; NaN for other terms."""
    nobody = values.iloc[:0]
    if design.groups is None or not term.startswith(GROUP_TERM):
        return hedges(nobody, nobody)
    groups = design.groups.loc[values.index]
    return hedges(
        values[groups == term.removeprefix(GROUP_TERM)], values[groups == design.reference]
    )


def hedges(one: pd.Series, two: pd.Series) -> dict[str, float]:
    """Hedges' g of two groups with its 95 % interval by column; NaN where there are too few."""
    from statsmodels.stats.meta_analysis import effectsize_smd

    names = ("hedges_g", "hedges_g_ci95_lower", "hedges_g_ci95_upper")
    if min(len(one), len(two)) < 2 or one.std() + two.std() == 0:
        return dict.fromkeys(names, np.nan)
    g, variance = effectsize_smd(
        one.mean(), one.std(ddof=1), len(one), two.mean(), two.std(ddof=1), len(two)
    )
    half = NORMAL_95 * np.sqrt(variance)
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
    left = outcomes.loc[rows].to_numpy(dtype=np.float64)
    known = np.isfinite(left)
    complete = known.all(axis=0)
    if complete.any() and len(left) > len(right.T):
        found[complete] = np.linalg.lstsq(right, left[:, complete])[0][places].T
    for number in np.flatnonzero(~complete):
        own = known[:, number]
        if own.sum() > len(right.T):
            found[number] = np.linalg.lstsq(right[own], left[own, number])[0][places]
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
