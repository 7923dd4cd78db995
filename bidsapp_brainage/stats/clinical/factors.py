"""One outcome against every column of a table of factors, one factor at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.group.clinical import FACTORS
from bidsapp_brainage.stats.design import PEOPLE_PER_TERM, Design
from bidsapp_brainage.stats.intervals import NORMAL_95
from bidsapp_brainage.stats.linear import Estimates, least_squares
from bidsapp_brainage.stats.permutation import false_discovery

COLUMNS = tuple(column.name for column in FACTORS)
LEAST_OF_A_LEVEL = 5  # people; smaller levels of a category are left out
MOST_LEVELS = 20  # of a category; more is a label or a date


@dataclass(frozen=True)
class _Factor:
    """A column as terms of a model.

    ``terms`` has the people with a value as rows: one column of numbers in SDs, or one less than
    there are levels. ``remark`` says why there is none.
    """

    kind: str
    terms: pd.DataFrame
    n_levels: int = 0
    remark: str = ""


def screen(outcome: pd.Series, factors: pd.DataFrame, design: Design | None) -> pd.DataFrame:
    """Test an outcome against every factor, given the terms of a design.

    A number enters in SDs and is tested by t, a category by the joint F of its levels, both with
    HC3 errors (MacKinnon and White 1985). The effect of a number is its partial correlation with a
    95 % interval by Fisher's z; that of a category is the root of the partial eta squared, which
    has no sign. q is corrected over all factors that were tested (Benjamini and Hochberg 1995).

    Parameters
    ----------
    outcome : Series
        By ``participant_id``.
    factors : DataFrame
        One row per participant, one column per factor; on an index like that of the outcome.
    design : Design or None
        Terms that every model has; sites are fixed effects. None: only the intercept.

    Returns
    -------
    DataFrame
        ``COLUMNS``, one row per factor, the smallest p first; a factor that was not tested has a
        remark that says why.
    """
    known = outcome.dropna()
    base = _base(known, design)
    formula = " + ".join(filter(None, (design.formula if design else "", "factor")))
    rows = [_tested(known, factors[name], base, formula) for name in factors]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    table["q"] = false_discovery(table["p"].to_numpy(dtype=np.float64))
    return table.sort_values("p", kind="stable", na_position="last").reset_index(drop=True)


def _tested(
    outcome: pd.Series, values: pd.Series, base: pd.DataFrame, formula: str
) -> dict[str, object]:
    values = values.reindex(base.index)
    factor = _as_terms(values)
    row: dict[str, object] = {
        "factor": str(values.name),
        "kind": factor.kind,
        "n_participants": len(factor.terms),
        "n_missing": int(values.isna().sum()),
        "n_levels": factor.n_levels or np.nan,
    }
    if factor.remark:
        return row | {"remark": factor.remark}
    matrix = base.loc[factor.terms.index].join(factor.terms)
    matrix = matrix.loc[:, (matrix.nunique() > 1) | (matrix.columns == "intercept")]
    if len(matrix) < PEOPLE_PER_TERM * matrix.shape[1]:
        return row | {"remark": f"too few people: {PEOPLE_PER_TERM} are needed per coefficient"}
    if np.linalg.matrix_rank(matrix.to_numpy(dtype=np.float64)) < matrix.shape[1]:
        return row | {"remark": "a combination of the covariates"}
    estimates = least_squares(
        matrix.to_numpy(dtype=np.float64), outcome.loc[matrix.index].to_numpy(float)[:, None]
    )
    row["formula"] = formula
    places = [list(matrix).index(name) for name in factor.terms if name in matrix]
    if factor.kind == "number":
        spread = float(values[matrix.index].std(ddof=1))
        return row | _of_number(estimates, places[0], spread)
    return row | _of_category(estimates, places)


def _base(outcome: pd.Series, design: Design | None) -> pd.DataFrame:
    """Intercept and covariates of everybody with an outcome."""
    if design is None:
        return pd.DataFrame({"intercept": 1.0}, index=outcome.index)
    return design.matrix(design.terms.index.intersection(outcome.index))


def _as_terms(values: pd.Series) -> _Factor:
    known = values.dropna()
    nothing = pd.DataFrame(index=known.index)
    kind = "number" if pd.api.types.is_numeric_dtype(values) else "category"
    if known.nunique() < 2:
        return _Factor(kind, nothing, remark="it does not vary" if len(known) else "no values")
    if kind == "number":
        scaled = (known - known.mean()) / known.std(ddof=1)
        return _Factor(kind, scaled.astype(float).to_frame())
    text = known.astype(str)
    n_levels = text.nunique()
    if n_levels > MOST_LEVELS:
        return _Factor(kind, nothing, n_levels, f"more than {MOST_LEVELS} categories")
    text = text[text.map(text.value_counts()) >= LEAST_OF_A_LEVEL]
    if text.nunique() < 2:
        remark = f"fewer than two categories with {LEAST_OF_A_LEVEL} people"
        return _Factor(kind, nothing, n_levels, remark)
    indicators = pd.get_dummies(text, prefix=str(values.name), dtype=float)
    return _Factor(kind, indicators.iloc[:, 1:], text.nunique())


def _of_number(estimates: Estimates, place: int, spread: float) -> dict[str, object]:
    """Estimate per SD, and the partial correlation with its interval."""
    found = estimates.term(place).drop(columns="se").iloc[0]
    t, freedom = found["statistic"], found["df"]
    r = t / np.sqrt(t**2 + freedom)
    half = NORMAL_95 / np.sqrt(max(freedom - 1, 1.0))
    return {
        **found,
        "sd": spread,
        "effect": float(r),
        "effect_ci95_lower": float(np.tanh(np.arctanh(r) - half)),
        "effect_ci95_upper": float(np.tanh(np.arctanh(r) + half)),
    }


def _of_category(estimates: Estimates, places: list[int]) -> dict[str, object]:
    """Joint test of all levels."""
    (f,), (p,) = estimates.joint(places)
    freedom = estimates.freedom
    share = f * len(places) / (f * len(places) + freedom)
    return {
        "effect": float(np.sqrt(share)),
        "statistic": float(f),
        "df": freedom,
        "p": float(p),
    }
