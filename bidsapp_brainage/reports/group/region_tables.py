"""Tables of the group page about regions and groups of regions."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.catalogue.levels import REGION, group_level, is_mean_level, level_title
from bidsapp_brainage.reports.html import Table
from bidsapp_brainage.reports.tables import (
    INTERVAL,
    PEOPLE,
    Show,
    tabulate,
    with_values,
    without_told_sides,
)

_PLACES = (
    Show("hemisphere", "Side", "side"),
    Show("network", "Network", "name"),
    Show("lobe", "Lobe", "name"),
)
_LARGEST = "against random parcels, corrected by the largest statistic"
Q_HELP = (
    "t test over people of the mean against zero, corrected over the rows of this level (false "
    "discovery rate)"
)
_NULL = "against random parcels of the same size"
_SIGN = Show(
    "stable", "Sign", "sign", help="stable: the mean has the same sign with every baseline"
)
_Q_STABLE = Show(
    "q_stable",
    "q, every baseline",
    "p",
    help="of a test that the sign is the same with every baseline; all regions of the atlas are in "
    "the family",
)
_SHARE = Show(
    "share",
    "Stable in people (%)",
    "number",
    0,
    "whose own contribution has the same sign with every baseline, beyond the spread over members "
    "of the ensemble",
)
_RANKS = Show(
    "rank_ci95",
    "Rank, 95 %",
    "interval",
    0,
    "of the rank, bootstrap over participants",
    ascending=True,
)
_AGAINST_NULL = (
    Show("mean_z_null", "z (null)", "signed", 2, f"mean z {_NULL}", ascending=True),
    Show("q_null", "q (null)", "p", 2, f"{_NULL}, false discovery rate"),
    Show("p_null_maxt", "p (max-T)", "p", 2, _LARGEST),
)


def region_table(regions: pd.DataFrame, *, identifier: str) -> Table:
    """All regions of an atlas (rows of level ``region``), strongest first, empty ones last."""
    most = regions["mean_delta_age"].abs().max()
    rows = regions.sort_values("rank", kind="stable", na_position="last")
    rows = rows.assign(
        volume=rows["mean_volume_mm3"] / 1000,
        share=100 * rows["share_stable"],
        turning=rows["stable"].eq(False),
    )
    columns = [
        Show("name", "Region", "name"),
        Show("rank", "Rank", "rank"),
        Show("mean_delta_age", "Mean change (years)", "signed", 3, "occluded minus intact", most,
             striped="turning"),
        INTERVAL,
        *with_values(rows, [_SIGN]),
        Show("q", "q", "p", help=Q_HELP),
        *with_values(rows, [_Q_STABLE, *_AGAINST_NULL, _SHARE, _RANKS]),
        Show("effect_size", "Mean / SD", "signed", help="effect size over participants"),
        Show("mean_delta_age_per_ml", "Per mL", "signed", 3, "years per millilitre of the region"),
        Show("volume", "Volume (mL)", "number", 1),
        *with_values(rows, without_told_sides(rows, _PLACES)),
        PEOPLE,
    ]  # fmt: skip
    caption = "Mean contribution of every region of the atlas; click a heading to sort."
    return tabulate(identifier, caption, columns, rows, searchable=True)


def group_table(groups: pd.DataFrame, level: str, *, identifier: str) -> Table:
    """Networks, lobes and so on: rows of one level."""
    columns = [
        Show("name", level_title(group_level(level)), "side"),
        Show("mean_delta_age", "Mean change (years)", "signed", 3, "occluded minus intact"),
        INTERVAL,
        Show("q", "q", "p", help=Q_HELP),
        Show("effect_size", "Mean / SD", "signed", help="effect size over participants"),
        Show("mean_abs_delta_age", "Mean |change|", "number", 3),
        Show("n_regions", "Regions", "count"),
        PEOPLE,
    ]
    caption = f"{level_title(level)}: {how_occluded(level)}."
    return tabulate(identifier, caption, columns, groups.sort_values("rank", kind="stable"))


def how_occluded(level: str) -> str:
    """How the values of a level were made, in words."""
    if is_mean_level(level):
        return "each region occluded by itself, their mean weighted by volume; no group's effect"
    if level == REGION.key:
        return "each region occluded by itself"
    return "all of its regions occluded as one"
