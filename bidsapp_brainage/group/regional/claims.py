"""Rules, fixed beforehand, by which a sample agrees with what a study claims."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

MIN_PEOPLE = 10
AGREES, PARTLY = 75.0, 50.0  # mean percentile of a structure's regions
TOP_SHARE = 0.1
STABLE_SHARE = 0.5  # of a structure's regions; with fewer stable signs its rank tells nothing
ALPHA = 0.05  # of shapes and correlations; without significance they tell nothing
HE = "He et al. 2025, Human Brain Mapping 46:e70239"


def structure_facts(
    size: pd.Series,
    chosen: pd.Series,
    names: pd.Series,
    n_people: float,
    *,
    stable: pd.Series | None = None,
) -> dict[str, object]:
    """How strong the chosen regions are among all of them, with the verdict.

    Parameters
    ----------
    size : Series
        How strong each region is, not negative.
    chosen : Series of bool
        With the same index.
    names : Series of str
        By region.
    n_people : float
        Whom `size` is the mean of.
    stable : Series, optional
        Whether the sign of what `size` is the size of is the same with every baseline, by region.
    """
    mine = size[chosen]
    facts: dict[str, object] = {
        "regions": "; ".join(names[mine.index]) or None,
        "n_regions": len(mine),
        "n_ranked": len(size),
        "verdict": "cannot tell",
    }
    if len(mine):
        strength = _strength(size, mine)
        facts |= strength
        if stable is not None and stable.notna().any():
            n_stable = int(stable[mine.index].eq(True).sum())
            facts["n_stable"] = n_stable
            if n_stable < STABLE_SHARE * len(mine):
                return facts
        if n_people >= MIN_PEOPLE:
            facts["verdict"] = _verdict(strength, len(size))
    return facts


def _strength(size: pd.Series, mine: pd.Series) -> dict[str, float]:
    percentile = 100 * (size.rank() - 0.5) / len(size)
    rank = size.rank(ascending=False, method="min")
    return {
        "value": mine.mean(),
        "percentile": percentile[mine.index].mean(),
        "best_rank": int(rank[mine.index].min()),
    }


def _verdict(row: Mapping[str, float], n_ranked: int) -> str:
    if row["percentile"] >= AGREES:
        return "agrees"
    strong = row["best_rank"] <= TOP_SHARE * n_ranked
    return "partly" if row["percentile"] >= PARTLY or strong else "differs"
