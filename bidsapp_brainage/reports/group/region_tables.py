"""Tables of the group page about regions and groups of regions."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.catalogue.levels import (
    REGION,
    SIDES,
    group_level,
    is_mean_level,
    level_title,
)
from bidsapp_brainage.reports.group.accuracy_tables import interval, interval_cell
from bidsapp_brainage.reports.group.result_tables import p_cell
from bidsapp_brainage.reports.html import Cell, Column, Table, number_cell, text_cell


def region_table(regions: pd.DataFrame, *, identifier: str) -> Table:
    """All regions of an atlas, strongest first, empty ones last.

    Parameters
    ----------
    regions : DataFrame
        Rows of level ``region``.
    identifier : str
        Unique within the page.
    """
    extra = [name for name in ("hemisphere", "network", "lobe") if regions[name].notna().any()]
    shown = [
        entry for entry in _AGAINST_NULL if entry[0] in regions and regions[entry[0]].notna().any()
    ]
    most = regions["mean_delta_age"].abs().max()
    columns = [
        Column("Region"),
        *(Column("Side" if name == "hemisphere" else name.capitalize()) for name in extra),
        Column("Rank", numeric=True, ascending=True),
        Column("Mean change (years)", numeric=True, help="occluded minus intact"),
        Column("95 % interval", numeric=True),
        Column("Per mL", numeric=True, help="years per millilitre of the region"),
        Column("Volume (mL)", numeric=True),
        Column("Mean / SD", numeric=True, help="effect size over participants"),
        Column("q", numeric=True, ascending=True, help="sign test, false discovery rate"),
        *(Column(title, numeric=True, ascending=True, help=words) for _, title, words in shown),
        Column("People", numeric=True),
    ]
    rows = []
    for _, row in regions.sort_values("rank", kind="stable", na_position="last").iterrows():
        rows.append(
            [
                text_cell(row["name"]),
                *(text_cell(SIDES.get(row[name], row[name])) for name in extra),
                number_cell(row["rank"], 0),
                number_cell(row["mean_delta_age"], 3, signed=True, most=most),
                interval_cell(row),
                number_cell(row["mean_delta_age_per_ml"], 3, signed=True),
                number_cell(row["mean_volume_mm3"] / 1000, 1),
                number_cell(row["effect_size"], 2, signed=True),
                p_cell(row["q"]),
                *(_null_cell(row, name) for name, _, _ in shown),
                number_cell(row["n_participants"], 0),
            ]
        )
    caption = "Mean contribution of every region of the atlas; click a heading to sort."
    return Table(identifier, caption, columns, rows, searchable=True)


#: Columns against random parcels of the same size: name, title, explanation.
_AGAINST_NULL = (
    ("mean_z_null", "z (null)", "mean z against random parcels of the same size"),
    ("q_null", "q (null)", "against random parcels of the same size, false discovery rate"),
    ("p_null_maxt", "p (max-T)", "against random parcels, corrected by the largest statistic"),
    ("rank_ci95_lower", "Rank, 95 %", "of the rank, bootstrap over participants"),
)


def _null_cell(row: pd.Series, name: str) -> Cell:
    if name == "mean_z_null":
        return number_cell(row[name], 2, signed=True)
    if name != "rank_ci95_lower":
        return p_cell(row[name])
    text = interval(row[name], row["rank_ci95_upper"], 0)
    return Cell(text, value="" if text == "n/a" else f"{row[name]:.6g}")


def group_table(groups: pd.DataFrame, level: str, *, identifier: str) -> Table:
    """Networks, lobes and so on.

    Parameters
    ----------
    groups : DataFrame
        Rows of one level.
    level : str
        Groups occluded as one, or means over their regions.
    identifier : str
        Unique within the page.
    """
    columns = [
        Column(level_title(group_level(level))),
        Column("Regions", numeric=True),
        Column("Mean change (years)", numeric=True, help="occluded minus intact"),
        Column("95 % interval", numeric=True),
        Column("Mean |change|", numeric=True),
        Column("Mean / SD", numeric=True),
        Column("q", numeric=True, ascending=True),
        Column("People", numeric=True),
    ]
    rows = [
        [
            text_cell(SIDES.get(row["name"], row["name"])),
            number_cell(row["n_regions"], 0),
            number_cell(row["mean_delta_age"], 3, signed=True),
            interval_cell(row),
            number_cell(row["mean_abs_delta_age"], 3),
            number_cell(row["effect_size"], 2, signed=True),
            p_cell(row["q"]),
            number_cell(row["n_participants"], 0),
        ]
        for _, row in groups.sort_values("rank", kind="stable").iterrows()
    ]
    return Table(identifier, f"{level_title(level)}: {how_occluded(level)}.", columns, rows)


def how_occluded(level: str) -> str:
    """How the values of a level were made, in words."""
    if is_mean_level(level):
        return "each region occluded by itself, their mean weighted by volume; no group's effect"
    if level == REGION.key:
        return "each region occluded by itself"
    return "all of its regions occluded as one"
