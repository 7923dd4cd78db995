"""Comparisons: between explanations, and of the main results with other choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.group.collect import AtlasResult
from bidsapp_brainage.group.notes import Findings, findings
from bidsapp_brainage.group.regional.levels import Level
from bidsapp_brainage.stats.agreement import repeatability
from bidsapp_brainage.stats.intervals import mean_with_interval
from bidsapp_brainage.stats.regional import regions

AGREEMENT = ("spearman", "spearman_abs", "spearman_abs_per_ml")
SENSITIVITY = tuple(columns_of("sensitivity"))


def agreement(table: pd.DataFrame) -> Findings:
    """Mean over participants of the rank agreement between explanations.

    The table has one row per scan and pair of explanations; it may be empty.
    """
    if table.empty or "explanation_a" not in table:
        return Findings({})
    rows = []
    for (one, two), part in table.groupby(["explanation_a", "explanation_b"], sort=False):
        for measure in (name for name in AGREEMENT if name in part):
            values = pd.to_numeric(part[measure], errors="coerce")
            mean = mean_with_interval(values.groupby(part["participant_id"]).mean())
            if mean.n:
                row = {"explanation_a": one, "explanation_b": two, "measure": measure}
                row |= {"n_participants": mean.n, "mean": mean.mean}
                if np.isfinite(mean.lower):
                    row |= {"sd": mean.sd, "ci95_lower": mean.lower, "ci95_upper": mean.upper}
                rows.append(row)
    return findings("agreementstats", pd.DataFrame(rows))


def sensitivity(
    metrics: pd.DataFrame,
    atlases: Sequence[tuple[AtlasResult, Sequence[Level]]],
    flagged: Set[str],
    further: Sequence[dict[str, object]] = (),
) -> Findings:
    """What changes without flagged scans, with other fills and between members (T7).

    Accuracy has the subsets ``all`` and ``unflagged``; of the levels of an atlas the first is that
    of regions; `flagged` are names of scans; `further` are rows of other analyses.
    """
    rows = compare_numbers("unflagged", key_numbers(metrics), key_numbers(metrics, "unflagged"))
    rows += further
    for atlas, levels in atlases:
        rows += [
            {"atlas": atlas.title, "main": np.nan, "difference": np.nan, **row}
            for level in levels[:1]
            for row in _other_contributions(level, atlas.baselines, flagged)
        ]
    return findings("sensitivity", pd.DataFrame(rows, columns=list(SENSITIVITY)))


def key_numbers(
    metrics: pd.DataFrame, subset: str = "all", gapmodel: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Accuracy of a subset, calibrated where that was done, and differences of groups in the gap.

    Rows by ``measure`` with ``value``, ``unit`` and ``n_participants``.
    """
    which = "site" if (metrics["prediction"] == "site").any() else "raw"
    used = metrics[(metrics["prediction"] == which) & (metrics["subset"] == subset)]
    numbers = used.rename(columns={"metric": "measure"})
    if gapmodel is not None:
        terms = gapmodel[gapmodel["term"].str.startswith("group_")]
        named = terms.assign(
            measure="gapmodel=" + terms["term"], value=terms["estimate"], unit="year"
        )
        numbers = pd.concat([numbers, named], ignore_index=True)
    return numbers.set_index("measure")[["value", "unit", "n_participants"]]


def compare_numbers(
    analysis: str, main: pd.DataFrame, other: pd.DataFrame
) -> list[dict[str, object]]:
    """Rows of the table: numbers of :func:`key_numbers` that both analyses have."""
    both = other.join(main["value"].rename("main"), how="inner").reset_index()
    difference = both["value"] - both["main"]
    rows = both.assign(analysis=analysis, atlas=None, difference=difference)
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def compare_contributions(
    analysis: str, atlas: str, main: Sequence[Level], other: Sequence[Level]
) -> list[dict[str, object]]:
    """Rows of the table: mean contributions of regions in both analyses."""
    facts = {"atlas": atlas, "main": np.nan, "difference": np.nan}
    return [
        {**facts, **row}
        for one, two in zip(main[:1], other[:1], strict=False)
        for row in _compare(analysis, one.matrix, two.matrix)
    ]


def _other_contributions(
    level: Level, baselines: pd.DataFrame, flagged: Set[str]
) -> list[dict[str, object]]:
    """Mean contributions without flagged scans, with other fills, over members."""
    main = level.matrix
    rows = []
    kept = level.rows.loc[
        ~level.rows["scan"].isin(flagged), ["participant_id", "index", "delta_age"]
    ]
    if flagged and not kept.empty:
        rows += _compare("unflagged", main, regions.person_matrix(kept, "region"))
    if not baselines.empty:
        first = level.rows["baseline"].iloc[0]
        for name, part in baselines.groupby("baseline", sort=True, observed=True):
            if name != first:
                other = regions.person_matrix(part, "region")
                people = main.index.intersection(other.index)
                rows += _compare(f"baseline={name}", main.loc[people], other)
    return rows + _members(level)


def _compare(analysis: str, main: pd.DataFrame, other: pd.DataFrame) -> list[dict[str, object]]:
    means = main.mean().align(other.mean(), join="inner")
    known = means[0].notna() & means[1].notna()
    if known.sum() < repeatability.MIN_REGIONS:
        return []
    one, two = (mean[known].to_numpy() for mean in means)
    measures: list[tuple[str, Callable[..., float]]] = [
        ("spearman", lambda a, b: float(stats.spearmanr(a, b).statistic)),
        ("spearman_abs", lambda a, b: float(stats.spearmanr(np.abs(a), np.abs(b)).statistic)),
    ]
    if len(one) >= 2 * repeatability.TOP:
        measures.append(("top10_overlap", repeatability.top_overlap))
    return [
        {
            "analysis": analysis,
            "measure": name,
            "value": function(one, two),
            "unit": "1",
            "n_participants": len(other),
        }
        for name, function in measures
    ]


def _members(level: Level) -> list[dict[str, object]]:
    """Spread over the members of the ensemble, against the size of the contribution."""
    if "delta_age_sd_members" not in level.rows:
        return []
    spread = regions.person_matrix(level.rows, "region", "delta_age_sd_members")
    if not spread.notna().to_numpy().any():
        return []
    relative = spread.mean() / level.matrix.abs().mean()
    return [
        {
            "analysis": "ensemble_members",
            "measure": "relative_sd_of_members",
            "value": float(relative.median()),
            "unit": "1",
            "n_participants": len(spread),
        }
    ]
