"""The table of candidates: accuracy by scanner that was left out, and mixtures of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measure import markdown as as_markdown
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.intervals import Floats, Paired
from bidsapp_brainage.training.morphometry.fitting import BINS

from .protocol import FEW, LEFT_OUT, OUT_OF_FOLD

KEYS = ["participant_id", "cohort", "split"]
ALL, MEAN = "all", "mean of scanners"  # rows over scanners
MANY_SCANNERS = 8  # more are shown together
COLUMNS = (
    "candidate", "split", "cohort", "n", "n_learnt", "mae", "mean_error", "r", "slope",
    "balanced_mae", "mean_age_mae",
)  # fmt: skip


def slope(age: Floats, predicted: Floats) -> float:
    """Slope of predicted on true age; 1 is a full scale."""
    return 1 + accuracy.bias_slope(age, predicted)


def balanced_mae(age: Floats, predicted: Floats) -> float:
    """Mean over occupied bins of age of the mean absolute error, in years."""
    number = np.digitize(age, BINS)
    errors = np.abs(predicted - age)
    return float(np.mean([errors[number == n].mean() for n in np.unique(number)]))


STATISTICS = {
    "mae": accuracy.mae,
    "mean_error": accuracy.mean_gap,
    "r": accuracy.pearson_r,
    "slope": slope,
}


def read_given(path: Path, largest: str) -> pd.DataFrame:
    """Read somebody's out-of-sample predictions.

    Columns ``participant_id cohort age predicted``, perhaps ``sd split n_learnt``. Without
    ``split``, people of the largest cohort are taken as out of fold, others as left out.

    Raises
    ------
    DataError
        A column is missing.
    """
    table = read_tsv(path)
    missing = {"participant_id", "cohort", "age", "predicted"} - set(table.columns)
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}.")
    if "split" not in table:
        table["split"] = np.where(table["cohort"] == largest, OUT_OF_FOLD, LEFT_OUT)
    return table.reindex(columns=[*KEYS, "age", "predicted", "sd", "n_learnt"])


def mixture(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of the predictions of several candidates, for people that all of them predicted."""
    joined = tables[0].drop(columns=["sd"]).set_index(KEYS)
    for table in tables[1:]:
        other = table.set_index(KEYS)["predicted"]
        joined = joined[joined.index.isin(other.index)]
        joined["predicted"] = joined["predicted"] + other.loc[joined.index]
    joined["predicted"] = joined["predicted"] / len(tables)
    return joined.reset_index().assign(sd=np.nan)


def summary(candidates: Mapping[str, pd.DataFrame], n_boot: int) -> pd.DataFrame:
    """One row per candidate, kind of split and scanner, all scanners together, and a mean.

    The row ``mean of scanners`` holds the number by which a candidate is chosen: the mean over
    scanners, each left out, or out of fold where too few people were left to learn from. Its
    ``mean_error`` is the mean of the sizes, its ``n`` the number of scanners.
    """
    rows: list[dict[str, object]] = []
    for name, table in candidates.items():
        measured = []
        for kind, part in table.groupby("split", sort=False):
            scanners = list(part.groupby("cohort", sort=False))
            measured += [_row(name, str(kind), str(n), p, n_boot) for n, p in scanners]
            if len(scanners) > 1:
                measured.append(_row(name, str(kind), ALL, part, n_boot))
        rows += [*measured, *_mean_of_scanners(measured)]
    return pd.DataFrame(rows)


def _mean_of_scanners(measured: list[dict[str, object]]) -> list[dict[str, object]]:
    """The mean over scanners as a row; none where there is one scanner."""
    table = pd.DataFrame(measured)
    table = table[table["cohort"] != ALL]
    enough = ~(table["n_learnt"] < FEW) | (table["split"] == OUT_OF_FOLD)
    # scanners that were left out come first
    chosen = table[enough].drop_duplicates("cohort")
    if len(chosen) < 2:
        return []
    return [
        {
            "candidate": chosen["candidate"].iloc[0],
            "split": "; ".join(chosen["split"].unique()),
            "cohort": MEAN,
            "n": len(chosen),
            "mae": chosen["mae"].mean(),
            "mean_error": chosen["mean_error"].abs().mean(),
            "mean_age_mae": chosen["mean_age_mae"].mean(),
        }
    ]


def markdown(table: pd.DataFrame) -> str:
    """The table for a page; scanners are left out where they are many."""
    together = (ALL, MEAN)
    many = table.groupby("candidate")["cohort"].nunique().max() > MANY_SCANNERS + len(together)
    shown = table[table["cohort"].isin(together)] if many else table
    rows = ([_cell(row, name) for name in COLUMNS] for row in shown.to_dict("records"))
    return as_markdown(COLUMNS, rows)


def _row(
    candidate: str, kind: str, cohort: str, part: pd.DataFrame, n_boot: int
) -> dict[str, object]:
    age, predicted = (part[c].to_numpy(dtype=np.float64) for c in ("age", "predicted"))
    row: dict[str, object] = {"candidate": candidate, "split": kind, "cohort": cohort}
    row |= {"n": len(part), "n_learnt": part["n_learnt"].min()}
    sample = Paired.of(age, predicted, _units(part))
    for name, statistic in STATISTICS.items():
        row[name] = statistic(age, predicted)
        lower, upper, _ = sample.interval(statistic, n_boot, 0) if n_boot else (np.nan,) * 3
        row |= {f"{name}_lower": lower, f"{name}_upper": upper}
    row["balanced_mae"] = balanced_mae(age, predicted)
    row["mean_age_mae"] = accuracy.mae_mean_age(age, predicted)
    return row


def _units(part: pd.DataFrame) -> NDArray[np.str_]:
    return (part["cohort"] + "/" + part["participant_id"]).to_numpy(dtype=str)


def _cell(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if isinstance(value, str):
        return value
    if value is None or not np.isfinite(float(str(value))):
        return ""
    number = float(str(value))
    if name in ("n", "n_learnt"):
        return f"{number:.0f}"
    text = f"{number:+.1f}" if name == "mean_error" else f"{number:.2f}"
    bounds = [row.get(f"{name}_{end}") for end in ("lower", "upper")]
    if all(isinstance(bound, float) and np.isfinite(bound) for bound in bounds):
        text += f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"
    return text
