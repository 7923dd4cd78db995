"""Linear models of many outcomes on the same people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue.group.models import FIT
from bidsapp_brainage.stats.design import GROUP_TERM, PEOPLE_PER_TERM, Design
from bidsapp_brainage.stats.intervals import MISS, NORMAL_95, Floats
from bidsapp_brainage.stats.permutation import freedman_lane_max_t

COLUMNS = tuple(column.name for column in FIT)


@dataclass(frozen=True)
class Estimates:
    """Coefficients of one matrix for many outcomes, and what follows from them.

    Attributes
    ----------
    values : ndarray, shape (n_outcomes, n_terms)
        The coefficients.
    covariance : ndarray, shape (n_outcomes, n_terms, n_terms)
        Of the coefficients of each outcome.
    freedom : float
        Residual degrees of freedom of the t distribution, NaN if normal.
    """

    values: Floats
    covariance: Floats
    freedom: float

    def contrast(self, weights: Sequence[float] | Floats) -> pd.DataFrame:
        """A weighted sum of coefficients, with t interval and test against zero by outcome."""
        weights = np.asarray(weights, dtype=np.float64)
        estimate = self.values @ weights
        error = np.sqrt(weights @ self.covariance @ weights)
        known = stats.norm() if np.isnan(self.freedom) else stats.t(self.freedom)
        half = float(known.ppf(1 - MISS / 2)) * error
        with np.errstate(invalid="ignore", divide="ignore"):
            statistic = estimate / error
        return pd.DataFrame(
            {
                "estimate": estimate,
                "ci95_lower": estimate - half,
                "ci95_upper": estimate + half,
                "se": error,
                "statistic": statistic,
                "df": self.freedom,
                "p": 2 * known.sf(np.abs(statistic)),
            }
        )

    def term(self, place: int) -> pd.DataFrame:
        """One coefficient as of :meth:`contrast`."""
        return self.contrast(np.eye(self.values.shape[1])[place])

    def joint(self, places: Sequence[int]) -> tuple[Floats, Floats]:
        """F and p value of some coefficients together against zero, by outcome."""
        own = self.values[:, places]
        block = self.covariance[:, places][:, :, places]
        solved = np.linalg.solve(block, own[:, :, None])[:, :, 0]
        f = (own * solved).sum(axis=1) / len(places)
        return f, np.asarray(stats.f.sf(f, len(places), self.freedom))


def least_squares(matrix: Floats, outcomes: Floats) -> Estimates:
    """Least squares with HC3 errors (MacKinnon and White 1985), of all outcomes at once.

    Parameters
    ----------
    matrix : ndarray, shape (n_people, n_terms)
        Of full rank, with the intercept.
    outcomes : ndarray, shape (n_people, n_outcomes)
        Without missing values.
    """
    inverse = np.linalg.pinv(matrix)
    values = inverse @ outcomes
    leverage = np.einsum("ij,ji->i", matrix, inverse)
    weights = ((outcomes - matrix @ values) / (1 - leverage)[:, None]) ** 2
    n, k = matrix.shape
    # The products of every two rows of the inverse weigh the squares of all outcomes at once.
    rows, columns = np.triu_indices(k)
    halves = (inverse[rows] * inverse[columns]) @ weights
    covariance = np.empty((outcomes.shape[1], k, k))
    covariance[:, rows, columns] = covariance[:, columns, rows] = halves.T
    return Estimates(values.T, covariance, float(n - k))


@dataclass(frozen=True)
class Fitted:
    """Fitted models of outcomes that the same people have.

    Attributes
    ----------
    values : DataFrame
        Participants by outcomes.
    names : list of str
        Names of the coefficients in their order.
    estimates : Estimates
    method : str
        One of the levels of :data:`bidsapp_brainage.catalogue.group.models.FIT_METHOD`.
    """

    values: pd.DataFrame
    names: list[str]
    estimates: Estimates
    method: str


def fit(outcome: pd.Series, design: Design) -> pd.DataFrame:
    """Fit one outcome (a value by ``participant_id``): ``COLUMNS``, one row per term.

    Least squares with HC3 errors (MacKinnon and White 1985), sites as fixed effects; with six sites
    or more a mixed model with a random intercept, if that converges. Empty if too few people have
    the outcome or it does not vary.
    """
    return fit_each(outcome.to_frame(), design).drop(columns="place")


def fit_each(outcomes: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Fit many outcomes (participants by outcomes), each as :func:`fit` does.

    Returns
    -------
    DataFrame
        ``place``, the place of the outcome among the columns, and ``COLUMNS``: one row per outcome
        and term, in their order.
    """
    columns = ["place", *COLUMNS]
    tables = []
    numbers = outcomes.set_axis(range(outcomes.shape[1]), axis="columns").astype(float)
    for part in _alike(numbers.loc[design.terms.index.intersection(numbers.index)]):
        for found in _fits(part, design):
            tables += _rows(found, design)
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)
    order = {name: number for number, name in enumerate(map(str, design.terms))}
    table = table.sort_values("term", key=lambda names: names.map(order), kind="stable")
    return table.sort_values("place", kind="stable").reset_index(drop=True)[columns]


def fitted(outcome: pd.Series, design: Design) -> Fitted | None:
    """Model of one outcome as of :func:`fit`; None where the sample does not support it."""
    known = outcome.loc[design.terms.index.intersection(outcome.dropna().index)]
    return next(iter(_fits(known.astype(float).to_frame(), design)), None)


def _alike(outcomes: pd.DataFrame) -> list[pd.DataFrame]:
    """Outcomes that the same people have, without the others."""
    known = outcomes.notna().to_numpy()
    if known.all():
        return [outcomes]
    patterns, of_outcome = np.unique(known, axis=1, return_inverse=True)
    of_outcome = np.ravel(of_outcome)
    return [
        outcomes.loc[patterns[:, number], of_outcome == number]
        for number in range(patterns.shape[1])
    ]


def _fits(values: pd.DataFrame, design: Design) -> list[Fitted]:
    """Models of outcomes without missing values; those that are not supported are left out."""
    rows = values.index
    if len(rows) < PEOPLE_PER_TERM * (1 + design.terms.shape[1]):
        return []
    values = values.loc[:, np.ptp(values.to_numpy(), axis=0) > 0]
    found = []
    if design.mixed:
        names = list(values)
        mixed = {name: _mixed(values[name], design, rows) for name in names}
        found = [each for each in mixed.values() if each is not None]
        values = values[[name for name in names if mixed[name] is None]]
    if values.shape[1]:
        matrix = design.matrix(rows)
        estimates = least_squares(matrix.to_numpy(dtype=np.float64), values.to_numpy())
        found.append(Fitted(values, list(map(str, matrix)), estimates, "OLS_HC3"))
    return found


def _mixed(values: pd.Series, design: Design, rows: pd.Index) -> Fitted | None:
    """Fitted mixed model, or None where it does not converge."""
    import statsmodels.api as sm

    assert design.sites is not None
    matrix = design.matrix(rows, sites=False)
    model = sm.MixedLM(values, matrix, groups=design.sites.loc[rows])
    with warnings.catch_warnings():
        # Convergence is asked for below; a variance of 0 between sites is an answer, not a fault.
        warnings.simplefilter("ignore")
        try:
            result: Any = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    if not (result.converged and np.isfinite(result.bse_fe).all()):
        return None
    n_fixed = len(result.fe_params)
    covariance = np.asarray(result.cov_params())[:n_fixed, :n_fixed]
    estimates = Estimates(np.asarray(result.fe_params)[None], covariance[None], np.nan)
    return Fitted(values.to_frame(), list(map(str, matrix)), estimates, "mixed_site")


def _rows(found: Fitted, design: Design) -> list[pd.DataFrame]:
    """A table of each term: one row per outcome."""
    values, rows = found.values, found.values.index
    spread = values.std(ddof=1).to_numpy()
    tables = []
    for name in (name for name in map(str, design.terms) if name in found.names):
        table = found.estimates.term(found.names.index(name))
        x = design.terms.loc[rows, name]
        scale = (1.0 if x.nunique() == 2 else x.std(ddof=1)) / spread
        for column, source in (("beta", "estimate"), *((f"beta_{b}", b) for b in _BOUNDS)):
            table[column] = table[source] * scale
        effects = _hedges(values, design, name)
        table = table.assign(place=np.asarray(values.columns), term=name, **effects)
        table = table.assign(n_participants=len(rows), method=found.method, formula=design.formula)
        tables.append(table)
    return tables


_BOUNDS = ("ci95_lower", "ci95_upper")


def _hedges(values: pd.DataFrame, design: Design, term: str) -> dict[str, Floats]:
    """Hedges' g of a group term against the reference; NaN for other terms."""
    nobody = values.iloc[:0]
    if design.groups is None or not term.startswith(GROUP_TERM):
        return hedges(nobody, nobody)
    groups = design.groups.loc[values.index]
    return hedges(
        values[groups == term.removeprefix(GROUP_TERM)], values[groups == design.reference]
    )


def hedges(one: pd.DataFrame, two: pd.DataFrame) -> dict[str, Floats]:
    """Hedges' g of two groups with its 95 % interval by column; NaN where there are too few.

    Groups are people by outcomes; every column has a value for each outcome.
    """
    from statsmodels.stats.meta_analysis import effectsize_smd

    names = ("hedges_g", "hedges_g_ci95_lower", "hedges_g_ci95_upper")
    unknown = np.full(one.shape[1], np.nan)
    if min(len(one), len(two)) < 2:
        return dict.fromkeys(names, unknown)
    facts = [
        fact
        for part in (one.to_numpy(), two.to_numpy())
        for fact in (part.mean(axis=0), part.std(axis=0, ddof=1), len(part))
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        g, variance = effectsize_smd(*facts)
    half = NORMAL_95 * np.sqrt(variance)
    varies = facts[1] + facts[4] > 0
    bounds = (np.where(varies, value, unknown) for value in (g, g - half, g + half))
    return dict(zip(names, bounds, strict=True))


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
    families: Sequence[pd.DataFrame], design: Design, *, n_permutations: int = 999, seed: int = 0
) -> list[pd.DataFrame]:
    """Family-wise p values of every term over the outcomes of each family: outcomes by terms.

    Families are participants by outcomes; outcomes that somebody in the design lacks are left out.
    Sites are blocks within which people are exchanged, and fixed effects. People are put into the
    same orders for all families that they are in.
    """
    terms = list(map(str, design.terms))
    answers = [pd.DataFrame(index=of.columns, columns=terms, dtype=float) for of in families]
    whole = [of.loc[design.terms.index.intersection(of.index)] for of in families]
    full = {place: of.dropna(axis="columns") for place, of in enumerate(whole)}
    full = {place: of for place, of in full.items() if not of.empty}
    while full:
        rows = next(iter(full.values())).index
        same = {place: of for place, of in full.items() if of.index.equals(rows)}
        full = {place: of for place, of in full.items() if place not in same}
        matrix = design.matrix(rows)
        sizes = [of.shape[1] for of in same.values()]
        ends = np.cumsum(sizes)[:-1]
        for name in (name for name in terms if name in matrix):
            p = freedman_lane_max_t(
                np.hstack([of.to_numpy(dtype=np.float64) for of in same.values()]),
                matrix.to_numpy(dtype=np.float64),
                list(matrix).index(name),
                blocks=None if design.sites is None else design.sites[rows].to_numpy(dtype=str),
                families=np.repeat(np.arange(len(same)), sizes),
                n_permutations=n_permutations,
                seed=seed,
            )
            for (place, of), own in zip(same.items(), np.split(p, ends), strict=True):
                answers[place].loc[of.columns, name] = own
    return answers
