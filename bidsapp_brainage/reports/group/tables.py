"""Tables of the group page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES
from bidsapp_brainage.group.summary import UNFLAGGED, Summary
from bidsapp_brainage.reports.html import (
    Cell,
    Column,
    Table,
    is_missing,
    number,
    number_cell,
    text_cell,
)

METRICS = {
    "mae": ("Mean absolute error (years)", "how far predictions are off, on average"),
    "mae_mean_age": ("The same, answering the sample's mean age (years)", "needs no brain image"),
    "mae_gain": ("Gain over the mean age (years)", "positive: the model adds something"),
    "weighted_mae": ("Mean absolute error / age range", "compares samples of different age range"),
    "rmse": ("Root mean squared error (years)", "large errors count more"),
    "r2": ("R², 1 − SSE/SST", "1 is perfect, 0 as good as the mean age, negative is worse"),
    "pearson_r": ("Pearson r", "blind to offset and scale; grows with the age range"),
    "mean_gap": ("Mean gap (years)", "0 is unbiased"),
    "bias_slope": ("Slope of the gap on age", "negative: the old look too young"),
    "coverage95": ("Coverage of the 95 % intervals", "0.95 if the intervals are honest"),
}
#: From a participant (``sub-01``) to a relative link, empty if there is no page.
Link = Callable[[str], str]
_KINDS = {"age": "age (years)", "sex": "sex", "site": "site"}


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """Bounds as ``low to high``; ``n/a`` when they are unknown."""
    if is_missing(low) or is_missing(high):
        return "n/a"
    return f"{number(low, digits)} to {number(high, digits)}"


def accuracy_table(summary: Summary) -> Table | None:
    """Metrics of raw predictions, with and without flagged scans; None when there are none."""
    table = summary.accuracy.table
    found = _metrics(table, "raw", "all")
    if found.empty:
        return None
    without = _metrics(table, "raw", "unflagged")
    columns = [
        Column("Metric"),
        Column("Value", numeric=True),
        Column("95 % interval", numeric=True),
    ]
    if not without.empty:
        columns.append(Column("Without flagged", numeric=True, help="sensitivity to flagged scans"))
    columns += [Column("People", numeric=True), Column("What it says", wrap=True)]
    rows = []
    for name in (name for name in METRICS if name in found.index):
        row = [
            Cell(METRICS[name][0]),
            number_cell(found.loc[name, "value"], 2),
            _ci(found.loc[name]),
        ]
        if not without.empty:
            row.append(number_cell(without["value"].get(name), 2))
        row += [number_cell(found.loc[name, "n_participants"], 0), Cell(METRICS[name][1])]
        rows.append(row)
    caption = "Accuracy of raw predictions; intervals from a bootstrap over participants."
    return Table("accuracy-table", caption, columns, rows, sortable=False)


def subset_table(summary: Summary) -> Table | None:
    """Error and mean gap by sex, site and decade of age; None when there are no such parts."""
    table = summary.accuracy.table
    parts = table[table["subset"].astype(str).str.contains("=")]
    if parts.empty:
        return None
    rows = []
    for subset, values in parts.groupby("subset", sort=False):
        kind, label = str(subset).split("=", 1)
        found = values.set_index("metric")
        rows.append(
            [
                Cell(_KINDS.get(kind, kind)),
                Cell(label.replace("-", "\N{EN DASH}") if kind == "age" else label),
                number_cell(found["n_participants"].iloc[0], 0),
                number_cell(found.loc["mae", "value"], 2),
                _ci(found.loc["mae"]),
                number_cell(found.loc["mean_gap", "value"], 2, signed=True),
                _ci(found.loc["mean_gap"]),
            ]
        )
    columns = [
        Column("By"),
        Column("Part"),
        Column("People", numeric=True),
        Column("MAE (years)", numeric=True),
        Column("95 % interval", numeric=True),
        Column("Mean gap (years)", numeric=True),
        Column("95 % interval", numeric=True),
    ]
    caption = "Error and mean gap of parts of the sample, raw predictions."
    return Table("subset-table", caption, columns, rows)


def corrected_table(summary: Summary) -> Table | None:
    """Mean and slope of the corrected gap; None when nothing was corrected."""
    found = _metrics(summary.accuracy.table, "corrected", "all")
    if found.empty:
        return None
    rows = [
        [Cell(METRICS[name][0]), number_cell(found.loc[name, "value"], 2), _ci(found.loc[name])]
        for name in METRICS
        if name in found.index
    ]
    columns = [
        Column("Corrected gap"),
        Column("Value", numeric=True),
        Column("95 % interval", numeric=True),
    ]
    caption = "After the bias correction. No accuracy is computed from corrected predictions."
    return Table("corrected-table", caption, columns, rows, sortable=False)


def _metrics(table: pd.DataFrame, prediction: str, subset: str) -> pd.DataFrame:
    part = table[(table["prediction"] == prediction) & (table["subset"] == subset)]
    return part.set_index("metric")


def _ci(row: pd.Series) -> Cell:
    """An interval; sorts by its lower bound."""
    low = row["ci95_lower"]
    text = interval(low, row["ci95_upper"])
    return Cell(text, value="" if text == "n/a" else f"{low:.6g}")


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
                _ci(row),
                number_cell(row["mean_delta_age_per_ml"], 3, signed=True),
                number_cell(row["mean_volume_mm3"] / 1000, 1),
                number_cell(row["effect_size"], 2, signed=True),
                _q_cell(row["q"]),
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
        return _q_cell(row[name])
    text = interval(row[name], row["rank_ci95_upper"], 0)
    return Cell(text, value="" if text == "n/a" else f"{row[name]:.6g}")


def group_table(groups: pd.DataFrame, level: str, *, identifier: str) -> Table:
    """Networks, hemispheres or lobes.

    Parameters
    ----------
    groups : DataFrame
        Rows of one level.
    level : str
        Name of the level and of the column with the names.
    identifier : str
        Unique within the page.
    """
    columns = [
        Column(level.capitalize()),
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
            text_cell(SIDES.get(row[level], row[level])),
            number_cell(row["n_regions"], 0),
            number_cell(row["mean_delta_age"], 3, signed=True),
            _ci(row),
            number_cell(row["mean_abs_delta_age"], 3),
            number_cell(row["effect_size"], 2, signed=True),
            _q_cell(row["q"]),
            number_cell(row["n_participants"], 0),
        ]
        for _, row in groups.sort_values("rank", kind="stable").iterrows()
    ]
    caption = f"By {level}: mean over its regions, weighted by volume, then over participants."
    return Table(identifier, caption, columns, rows)


def _q_cell(value: Any) -> Cell:
    if is_missing(value):
        return Cell("n/a", value="")
    text = "< 0.001" if value < 0.001 else number(value, 3)
    return Cell(text, value=f"{value:.6g}")


def flag_table(summary: Summary, link: Link) -> Table | None:
    """Scans with a quality or doubt flag; None when there are none."""
    flagged = summary.scans[summary.scans["flagged"]]
    if flagged.empty:
        return None
    qc = summary.model.qc
    reasons = (
        dict(zip(qc["scan"], qc["decision_reason"], strict=True)) if "decision_reason" in qc else {}
    )
    rows = [
        [
            _scan_cell(row["scan"], link),
            _flag_cell(row["qc_flag"]),
            text_cell(reasons.get(row["scan"])),
            _flag_cell(row["ood_flag"]),
            number_cell(row["predicted_age"], 1),
            number_cell(row["gap"], 1, signed=True),
        ]
        for _, row in flagged.iterrows()
    ]
    columns = [
        Column("Scan"),
        Column("Image quality"),
        Column("Reason", wrap=True),
        Column("Doubt about the prediction"),
        Column("Predicted age (years)", numeric=True),
        Column("Gap (years)", numeric=True),
    ]
    caption = "Flagged scans. They are kept in all figures; the accuracy table shows both versions."
    return Table("flag-table", caption, columns, rows)


def _scan_cell(scan: Any, link: Link) -> Cell:
    """Name of a scan that leads to the person's page."""
    return Cell(str(scan), href=link(str(scan).split("_")[0]))


def _flag_cell(flag: Any) -> Cell:
    calm = flag in UNFLAGGED
    level = "ok" if calm else "bad" if flag == "fail" else "warn"
    return Cell(str(flag).replace("_", " "), level=level)


def outlier_table(summary: Summary, link: Link) -> Table | None:
    """Values far from the rest of the sample; None when there are none."""
    found = summary.outliers
    if found.empty:
        return None
    rows = [
        [
            _scan_cell(row["scan"], link),
            Cell(str(row["metric"]).replace("_", " ")),
            Cell(f"{row['value']:.4g}", value=f"{row['value']:.6g}"),
            Cell(f"{row['median']:.4g}", value=f"{row['median']:.6g}"),
            number_cell(row["robust_z"], 1, signed=True),
        ]
        for _, row in found.iterrows()
    ]
    columns = [
        Column("Scan"),
        Column("Measure"),
        Column("Value", numeric=True),
        Column("Median", numeric=True),
        Column("Robust z", numeric=True, help="distance from the median in robust SDs"),
    ]
    caption = "More than 3.5 robust standard deviations from the sample's median: worth a look."
    return Table("outlier-table", caption, columns, rows)


def exclusion_table(summary: Summary, link: Link) -> Table | None:
    """What was left out of what, and why; None when nothing was."""
    found = summary.exclusions
    if found.empty:
        return None
    rows = [
        [_scan_cell(name, link), *(Cell(str(value)) for value in rest)]
        for name, *rest in found.itertuples(index=False)
    ]
    columns = [Column("Participant or scan"), Column("Left out of"), Column("Why", wrap=True)]
    return Table("exclusion-table", "Left out, with the reason.", columns, rows)
