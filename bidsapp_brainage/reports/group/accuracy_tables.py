"""Tables of accuracy of the group page."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.reports.codes import measure_title, unit_title
from bidsapp_brainage.reports.html import Table, count
from bidsapp_brainage.reports.tables import INTERVAL, PEOPLE, Show, tabulate

#: What each metric says, in the order of the page.
METRICS = {
    "mae": "how far predictions are off, on average",
    "mae_mean_age": "needs no brain image",
    "mae_gain": "positive: the model adds something",
    "weighted_mae": "compares samples of different age range",
    "rmse": "large errors count more",
    "r2": "1 is perfect, 0 as good as the mean age, negative is worse",
    "pearson_r": "blind to offset and scale; grows with the age range",
    "mean_gap": "0 is unbiased",
    "bias_slope": "negative: the old look too young",
    "coverage95": "0.95 if the intervals are honest",
}
#: Columns without which there is nothing to show.
NEEDED = ("prediction", "subset", "metric", "value", "unit", "n_participants", "n_scans")
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
        title=[_title(name, unit) for name, unit in rows["unit"].items()],
        meaning=[METRICS[name] for name in rows.index],
    )
    if kind != "raw":
        rows["before"] = part_of(metrics, "raw", "all")["value"].reindex(rows.index)
        columns.append(Show("before", "As predicted", "number", help="before the calibration"))
    if not without.empty:
        rows["without"] = without["value"].reindex(rows.index)
        left = f"sensitivity to flags that need no age: {who(without)} are left"
        columns.append(Show("without", "Without flagged", "number", help=left))
    columns.append(Show("meaning", "What it says", "long"))
    caption = (
        f"Accuracy of {_WORDS[kind]} predictions of {who(everybody)} of known age, each scan "
        "counted; intervals from a bootstrap over people, each with all of their scans, that of "
        "the coverage by Wilson with people as observations."
        + (f" Without flagged: {who(without)}." if not without.empty else "")
    )
    return tabulate("accuracy-table", caption, columns, rows, sortable=False)


def who(rows: pd.DataFrame) -> str:
    """How many scans of how many people these metrics are of."""
    first = rows.iloc[0]
    return f"{count(first['n_scans'], 'scan')} of {count(first['n_participants'], 'person')}"


def _title(metric: object, unit: object) -> str:
    words = unit_title(str(unit))
    return measure_title(str(metric)) + (f" ({words})" if words else "")


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
