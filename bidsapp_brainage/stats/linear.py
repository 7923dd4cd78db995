"""Linear models of many outcomes on the same people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.group_columns import FIT
from bidsapp_brainage.stats.permutation import freedman_lane_max_t

Floats: TypeAlias = NDArray[np.float64]

PEOPLE_PER_TERM = 5
SMALL_SITE = 10  # people; smaller sites are pooled
SITES_FOR_MIXED = 6  # fewer do not determine the variance between sites
MOST_MISSING = 0.2  # share of people; a term of the app's own choice that lacks more is dropped
POOLED = "pooled"
#: Terms that the app adds by itself, in the order in which a small sample gives them up.
OWN_TERMS = ("quality", "brain_volume", "age_squared", "site", "sex", "age")
COLUMNS = tuple(column.name for column in FIT)


@dataclass(frozen=True)
class Design:
    """Right-hand side of a linear model.

    Attributes
    ----------
    terms : DataFrame
        One row per participant, one column per term, without the intercept and sites.
    sites : Series or None
        Site of each participant, small ones pooled; None if the model has no sites.
    groups : Series or None
        Group of each participant, for standardised differences.
    reference : str
        Group that the others are compared with.
    formula : str
        The model in words.
    """

    terms: pd.DataFrame
    sites: pd.Series | None
    groups: pd.Series | None
    reference: str
    formula: str

    @property
    def mixed(self) -> bool:
        """Whether sites get a random intercept instead of fixed effects."""
        return self.sites is not None and self.sites.nunique() >= SITES_FOR_MIXED

    def matrix(self, rows: pd.Index, *, sites: bool = True) -> pd.DataFrame:
        """Intercept, terms and, if wanted, fixed effects of the sites for these participants."""
        matrix = self.terms.loc[rows].copy()
        matrix.insert(0, "intercept", 1.0)
        if sites and self.sites is not None:
            effects = pd.get_dummies(self.sites.loc[rows], prefix="site", dtype=float)
            matrix = matrix.join(effects.iloc[:, 1:])
        return _independent(matrix)


def make_design(
    people: pd.DataFrame, *, covariates: Sequence[str] = (), reference: str = ""
) -> tuple[Design | None, list[str]]:
    """Choose the terms that a sample supports.

    Parameters
    ----------
    people : DataFrame
        One row per participant, indexed by ``participant_id``; of the columns ``age``, ``sex``,
        ``group``, ``site``, ``brain_volume`` and ``quality`` those that are known, and the
        covariates.
    covariates : sequence of str
        Columns to be added as they are; numbers per SD, text as categories.
    reference : str
        Reference group; empty for the most frequent one.

    Returns
    -------
    design : Design or None
        None if not even one term can be supported. There are at least five people for each
        coefficient; terms of the app's own choice are given up first.
    notes : list of str
        What was left out and why.
    """
    notes: list[str] = []
    wanted = [name for name in OWN_TERMS if _usable(people, name, notes)]
    asked = [name for name in ("group", *covariates) if _varies(people, name)]
    notes += [
        f"{name} does not vary in this sample: not in the models."
        for name in ("group", *covariates)
        if name in people and name not in asked
    ]
    complete = people
    while wanted or asked:
        sources = ["age" if name == "age_squared" else name for name in [*wanted, *asked]]
        complete = people.dropna(subset=list(dict.fromkeys(sources)))
        terms, sites = _terms(complete, [*wanted, *asked], reference)
        n_sites = 0 if sites is None or sites.nunique() >= SITES_FOR_MIXED else sites.nunique() - 1
        if len(complete) >= PEOPLE_PER_TERM * (1 + terms.shape[1] + n_sites):
            break
        if not wanted:
            notes.append(_too_few(complete, asked))
            return None, notes
        notes.append(
            f"{len(complete)} participants are too few for {wanted[0]} in the models "
            f"({PEOPLE_PER_TERM} for each coefficient)."
        )
        wanted = wanted[1:]
    else:
        notes.append("No linear models: nothing varies, or the sample is too small.")
        return None, notes
    return _design(people, complete, terms, sites, reference, notes)


def _design(
    people: pd.DataFrame,
    complete: pd.DataFrame,
    terms: pd.DataFrame,
    sites: pd.Series | None,
    reference: str,
    notes: list[str],
) -> tuple[Design | None, list[str]]:
    if len(complete) < len(people):
        notes.append(
            f"{len(people) - len(complete)} participants lack a covariate and are not in the "
            "linear models."
        )
    if sites is not None and POOLED in set(sites):
        notes.append(f"Sites with fewer than {SMALL_SITE} participants were pooled in the models.")
    whole = terms.assign(intercept=1.0)[["intercept", *terms.columns]]
    kept = _independent(whole).columns[1:]
    notes += [
        f"{name} is a combination of other terms: not in the models."
        for name in terms
        if name not in kept
    ]
    if not len(kept):
        return None, notes
    shape = " + ".join(kept)
    if sites is not None:
        shape += " + (1|site)" if sites.nunique() >= SITES_FOR_MIXED else " + site"
    groups = complete["group"].astype(str) if "group" in complete else None
    named = _reference(groups, reference) if groups is not None else ""
    return Design(terms[list(kept)], sites, groups, named, shape), notes


def _too_few(complete: pd.DataFrame, asked: Sequence[str]) -> str:
    return (
        f"No linear models: {len(complete)} participants with known {', '.join(asked)} are too "
        f"few ({PEOPLE_PER_TERM} are needed for each coefficient)."
    )


def _varies(people: pd.DataFrame, name: str) -> bool:
    return name in people and people[name].dropna().nunique() > 1


def _usable(people: pd.DataFrame, name: str, notes: list[str]) -> bool:
    """Whether a term of the app's own choice is known and varies."""
    source = "age" if name == "age_squared" else name
    if not _varies(people, source):
        return False
    missing = float(people[source].isna().mean())
    if missing > MOST_MISSING:
        if name == source:
            notes.append(f"{name} is unknown for {missing:.0%} of the participants: not in models.")
        return False
    return True


def _terms(
    people: pd.DataFrame, names: Sequence[str], reference: str
) -> tuple[pd.DataFrame, pd.Series | None]:
    terms = pd.DataFrame(index=people.index)
    sites = None
    for name in sorted(names, key=_place):
        if name == "site":
            sites = pooled_sites(people["site"])
        elif name in ("age", "age_squared"):
            decades = (people["age"] - people["age"].mean()) / 10
            terms[name] = decades if name == "age" else decades**2
        elif pd.api.types.is_numeric_dtype(people[name]) and name not in ("sex", "group"):
            terms[name] = _scaled(people[name])
        else:
            terms = terms.join(_levels(people[name], name, reference if name == "group" else ""))
    return terms, sites


def _place(name: str) -> int:
    order = ("age", "age_squared", "sex", "group")
    return order.index(name) if name in order else len(order)


def _scaled(values: pd.Series) -> pd.Series:
    spread = values.std(ddof=1)
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def _levels(values: pd.Series, name: str, reference: str) -> pd.DataFrame:
    text = values.astype(str)
    indicator = pd.get_dummies(text, prefix=name, dtype=float)
    return indicator.drop(columns=f"{name}_{_reference(text, reference)}")


def _reference(values: pd.Series, wanted: str) -> str:
    counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return wanted if wanted in counts.index else str(counts.index[0])


def pooled_sites(sites: pd.Series) -> pd.Series | None:
    """Sites as text, small ones under one name; None if only one is left."""
    text = sites.astype(str)
    counts = text.value_counts()
    text = text.where(text.map(counts) >= SMALL_SITE, POOLED)
    return text if text.nunique() > 1 else None


def _independent(matrix: pd.DataFrame) -> pd.DataFrame:
    """Without columns that are combinations of those before them."""
    values = matrix.to_numpy(dtype=np.float64)
    kept: list[int] = []
    for column in range(values.shape[1]):
        if np.linalg.matrix_rank(values[:, [*kept, column]]) == len(kept) + 1:
            kept.append(column)
    return matrix.iloc[:, kept]


def fit(outcome: pd.Series, design: Design) -> pd.DataFrame:
    """Fit one outcome.

    Parameters
    ----------
    outcome : Series
        One value per participant, indexed by ``participant_id``.
    design : Design

    Returns
    -------
    DataFrame
        ``COLUMNS``, one row per term; empty if too few people have the outcome or it does not
        vary. Least squares with HC3 errors (MacKinnon and White 1985), sites as fixed effects;
        with six sites or more a mixed model with a random intercept, if that converges.
    """
    rows = design.terms.index.intersection(outcome.dropna().index)
    values = outcome.loc[rows].astype(float)
    if len(rows) < PEOPLE_PER_TERM * (1 + design.terms.shape[1]) or np.ptp(values) == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    found, method, freedom = _fitted(values, design, rows)
    bounds = np.asarray(found.conf_int(0.05))
    names = [name for name in design.terms if name in found.model.exog_names]
    spread = values.std(ddof=1)
    table = []
    for name in names:
        place = found.model.exog_names.index(name)
        x = design.terms.loc[rows, name]
        scale = (1.0 if x.nunique() == 2 else x.std(ddof=1)) / spread
        estimate = float(np.asarray(found.params)[place])
        low, high = (float(value) for value in bounds[place])
        table.append(
            {
                "term": name,
                "estimate": estimate,
                "ci95_lower": low,
                "ci95_upper": high,
                "se": float(np.asarray(found.bse)[place]),
                "statistic": float(np.asarray(found.tvalues)[place]),
                "df": freedom,
                "p": float(np.asarray(found.pvalues)[place]),
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
        found = _mixed(values, design, rows)
        if found is not None:
            return found, "mixed_site", np.nan
    matrix = design.matrix(rows)
    found = sm.OLS(values, matrix).fit(cov_type="HC3", use_t=True)
    return found, "OLS_HC3", float(found.df_resid)


def _mixed(values: pd.Series, design: Design, rows: pd.Index) -> Any:
    """Fitted mixed model, or None where it does not converge."""
    import statsmodels.api as sm

    assert design.sites is not None
    model = sm.MixedLM(values, design.matrix(rows, sites=False), groups=design.sites.loc[rows])
    with warnings.catch_warnings():
        # Convergence is asked for below; a variance of 0 between sites is an answer, not a fault.
        warnings.simplefilter("ignore")
        try:
            found = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    return found if found.converged and np.isfinite(found.bse_fe).all() else None


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


def max_t(
    outcomes: pd.DataFrame, design: Design, *, n_permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Family-wise p values of every term over all outcomes.

    Parameters
    ----------
    outcomes : DataFrame
        Participants by outcomes. Outcomes that somebody in the design lacks are left out.
    design : Design
        Sites are blocks within which people are exchanged, and fixed effects.
    n_permutations, seed : int

    Returns
    -------
    DataFrame
        Outcomes by terms.
    """
    rows = design.terms.index.intersection(outcomes.index)
    full = outcomes.loc[rows].dropna(axis="columns")
    matrix = design.matrix(rows)
    answer = pd.DataFrame(index=outcomes.columns, columns=list(design.terms), dtype=float)
    if full.empty:
        return answer
    blocks = None if design.sites is None else design.sites.loc[rows].to_numpy(dtype=str)
    for name in (name for name in design.terms if name in matrix):
        answer.loc[full.columns, name] = freedman_lane_max_t(
            full.to_numpy(dtype=np.float64),
            matrix.to_numpy(dtype=np.float64),
            matrix.columns.get_loc(name),
            blocks=blocks,
            n_permutations=n_permutations,
            seed=seed,
        )
    return answer
