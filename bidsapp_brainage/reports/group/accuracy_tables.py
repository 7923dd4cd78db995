"""Tables of accuracy of the group page."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bidsapp_brainage.reports.html import (
    Cell,
    Column,
    Table,
    is_missing,
    number,
    number_cell,
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
_KINDS = {"age": "age (years)", "sex": "sex", "site": "site"}


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """Bounds as ``low to high``; ``n/a`` when they are unknown."""
    if is_missing(low) or is_missing(high):
        return "n/a"
    return f"{number(low, digits)} to {number(high, digits)}"


def accuracy_table(metrics: pd.DataFrame) -> Table | None:
    """Metrics of raw predictions, with and without flagged scans; None when there are none."""
    everybody = part_of(metrics, "raw", "all")
    if everybody.empty:
        return None
    without = part_of(metrics, "raw", "unflagged")
    columns = [
        Column("Metric"),
        Column("Value", numeric=True),
        Column("95 % interval", numeric=True),
    ]
    if not without.empty:
        columns.append(Column("Without flagged", numeric=True, help="sensitivity to flagged scans"))
    columns += [Column("People", numeric=True), Column("What it says", wrap=True)]
    rows = []
    for name in (name for name in METRICS if name in everybody.index):
        row = [
            Cell(METRICS[name][0]),
            number_cell(everybody.loc[name, "value"], 2),
            interval_cell(everybody.T[name]),
        ]
        if not without.empty:
            row.append(number_cell(without["value"].get(name), 2))
        row += [number_cell(everybody.loc[name, "n_participants"], 0), Cell(METRICS[name][1])]
        rows.append(row)
    caption = "Accuracy of raw predictions; intervals from a bootstrap over participants."
    return Table("accuracy-table", caption, columns, rows, sortable=False)


def subset_table(metrics: pd.DataFrame) -> Table | None:
    """Error and mean gap by sex, site and decade of age; None when there are no such parts."""
    if metrics.empty:
        return None
    parts = metrics[metrics["subset"].astype(str).str.contains("=")]
    if parts.empty:
        return None
    rows = []
    for subset, values in parts.groupby("subset", sort=False):
        kind, label = str(subset).split("=", 1)
        by_metric = values.set_index("metric")
        rows.append(
            [
                Cell(_KINDS.get(kind, kind)),
                Cell(label.replace("-", "\N{EN DASH}") if kind == "age" else label),
                number_cell(by_metric["n_participants"].iloc[0], 0),
                number_cell(by_metric.loc["mae", "value"], 2),
                interval_cell(by_metric.T["mae"]),
                number_cell(by_metric.loc["mean_gap", "value"], 2, signed=True),
                interval_cell(by_metric.T["mean_gap"]),
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


def part_of(metrics: pd.DataFrame, prediction: str, subset: str) -> pd.DataFrame:
    """Metrics by name, of one kind of prediction and one part of the sample."""
    if metrics.empty:
        return metrics
    part = metrics[(metrics["prediction"] == prediction) & (metrics["subset"] == subset)]
    return part.set_index("metric")


def interval_cell(row: pd.Series) -> Cell:
    """An interval; sorts by its lower bound."""
    low = row["ci95_lower"]
    text = interval(low, row["ci95_upper"])
    return Cell(text, value="" if text == "n/a" else f"{low:.6g}")
