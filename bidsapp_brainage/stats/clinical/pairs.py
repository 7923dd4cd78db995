"""Every two groups compared, given the terms of a linear model (ANCOVA)."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.group.clinical import PAIRS
from bidsapp_brainage.stats import linear
from bidsapp_brainage.stats.design import GROUP_TERM, Design

COLUMNS = tuple(column.name for column in PAIRS)


def compare(outcome: pd.Series, design: Design) -> pd.DataFrame:
    """Adjusted difference of every two groups, with Holm's correction over all pairs.

    The model is that of :func:`bidsapp_brainage.stats.linear.fit`; a difference is a contrast of
    its group terms. Hedges' g is without covariates. Empty where the model cannot be fitted or has
    no groups.
    """
    from statsmodels.stats.multitest import multipletests

    found = linear.fitted(outcome, design)
    if found is None or design.groups is None:
        return pd.DataFrame(columns=list(COLUMNS))
    values, names, groups = found.values, found.names, design.groups.loc[found.rows]
    counts = groups.value_counts()
    known = [g for g in sorted(counts.index) if g == design.reference or GROUP_TERM + g in names]
    table = []
    for first, second in itertools.combinations(known, 2):
        tested = found.model.t_test(_term(first, names) - _term(second, names))
        low, high = np.ravel(tested.conf_int())
        table.append(
            {
                "group_a": first,
                "group_b": second,
                "n_a": counts[first],
                "n_b": counts[second],
                "mean_a": values[groups == first].mean(),
                "mean_b": values[groups == second].mean(),
                "difference": float(np.ravel(tested.effect)[0]),
                "ci95_lower": float(low),
                "ci95_upper": float(high),
                "statistic": float(np.ravel(tested.tvalue)[0]),
                "df": found.freedom,
                "p": float(np.ravel(tested.pvalue)[0]),
                **linear.hedges(values[groups == first], values[groups == second]),
                "method": found.method,
                "formula": design.formula,
            }
        )
    compared = pd.DataFrame(table, columns=list(COLUMNS))
    if len(compared):
        compared["p_holm"] = multipletests(compared["p"], method="holm")[1]
    return compared


def _term(group: str, names: list[str]) -> np.ndarray:
    """Place of a group among the terms; the reference has none."""
    return np.array([float(name == GROUP_TERM + group) for name in names])
