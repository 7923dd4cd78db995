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
    values, names = found.values, found.names
    groups = design.groups.loc[values.index]
    counts = groups.value_counts()
    known = [g for g in sorted(counts.index) if g == design.reference or GROUP_TERM + g in names]
    table = []
    for first, second in itertools.combinations(known, 2):
        one, two = values[groups == first], values[groups == second]
        tested = found.estimates.contrast(_term(first, names) - _term(second, names)).iloc[0]
        hedges = linear.hedges(one, two)
        table.append(
            {
                "group_a": first,
                "group_b": second,
                "n_a": counts[first],
                "n_b": counts[second],
                "mean_a": one.iloc[:, 0].mean(),
                "mean_b": two.iloc[:, 0].mean(),
                "difference": tested["estimate"],
                **tested.drop(["estimate", "se"]),
                **{name: value[0] for name, value in hedges.items()},
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
