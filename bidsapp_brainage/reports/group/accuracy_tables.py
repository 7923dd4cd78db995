"""Tables of accuracy of the group page."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.reports.html import Table
from bidsapp_brainage.reports.tables import INTERVAL, PEOPLE, Show, tabulate

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
_WORDS = {"raw": "raw", "site": "calibrated"}
_KINDS = {"age": "age (years)", "sex": "sex", "site": "site"}
_PARTS = (
    Show("kind", "By", "name"),
    Show("label", "Part", "name"),
    PEOPLE,
    Show("mae", "MAE (years)", "number"),
    Show("mae", "95 % interval", "interval"),
    Show("mean_gap", "Mean gap (years)", "signed"),
    Show("mean_gap", "95 % interval", "interval"),
)


def main_prediction(metrics: pd.DataFrame) -> str:
    """Which prediction the page is about: that calibrated for the site, if there is one."""
    return "site" if not metrics.empty and (metrics["prediction"] == "site").any() else "raw"


def accuracy_table(metrics: pd.DataFrame) -> Table | None:
    """Metrics of predictions, with and without flagged scans; None when there are none.

    After a calibration those as predicted stand beside.
    """
    kind = main_prediction(metrics)
    everybody = part_of(metrics, kind, "all")
    if everybody.empty:
        return None
    without = part_of(metrics, kind, "unflagged")
    columns = [Show("title", "Metric", "name"), Show("value", "Value", "number"), INTERVAL]
    rows = everybody.loc[[name for name in METRICS if name in everybody.index]]
    rows = rows.assign(
        title=[METRICS[name][0] for name in rows.index],
        meaning=[METRICS[name][1] for name in rows.index],
    )
    if kind != "raw":
        rows["before"] = part_of(metrics, "raw", "all")["value"].reindex(rows.index)
        columns.append(Show("before", "As predicted", "number", help="before the calibration"))
    if not without.empty:
        rows["without"] = without["value"].reindex(rows.index)
        sensitivity = "sensitivity to flagged scans"
        columns.append(Show("without", "Without flagged", "number", help=sensitivity))
    columns += [PEOPLE, Show("meaning", "What it says", "long")]
    source = "intervals from a bootstrap over participants"
    caption = f"Accuracy of {_WORDS[kind]} predictions; {source}."
    return tabulate("accuracy-table", caption, columns, rows, sortable=False)


def subset_table(metrics: pd.DataFrame) -> Table | None:
    """Error and mean gap by sex, site and decade of age; None when there are no such parts."""
    if metrics.empty:
        return None
    which = main_prediction(metrics)
    named = metrics["subset"].astype(str).str.contains("=")
    parts = metrics[named & (metrics["prediction"] == which)]
    if parts.empty:
        return None
    ends = {"value": "", "ci95_lower": "_lower", "ci95_upper": "_upper"}
    rows = []
    for subset, values in parts.groupby("subset", sort=False):
        kind, label = str(subset).split("=", 1)
        by_metric = values.set_index("metric")
        numbers = {
            f"{metric}{end}": by_metric.loc[metric, column]
            for metric in ("mae", "mean_gap")
            for column, end in ends.items()
        }
        label = label.replace("-", "\N{EN DASH}") if kind == "age" else label
        people = by_metric["n_participants"].iloc[0]
        about = {"kind": _KINDS.get(kind, kind), "label": label, "n_participants": people}
        rows.append({**about, **numbers})
    caption = f"Error and mean gap of parts of the sample, {_WORDS[which]} predictions."
    return tabulate("subset-table", caption, _PARTS, pd.DataFrame(rows))


def part_of(metrics: pd.DataFrame, prediction: str, subset: str) -> pd.DataFrame:
    """Metrics by name, of one kind of prediction and one part of the sample."""
    if metrics.empty:
        return metrics
    part = metrics[(metrics["prediction"] == prediction) & (metrics["subset"] == subset)]
    return part.set_index("metric")
