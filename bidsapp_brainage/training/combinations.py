"""Which modalities are needed: all combinations of them compared on the same people."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.outputs import AGE
from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.training.decode import OF_BRANCH

JOINED = "+"
MAX_SOURCES = 8  # 255 combinations
_PREDICTED = f"predicted_{AGE}"


def sources(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Ages from every source for the people that all sources know.

    Parameters
    ----------
    tables : mapping
        One table of a model with branches (columns ``branch_age_<channel>``), or several tables
        of models that see one source each, by its name; ``participant_id``, ``age``.

    Returns
    -------
    DataFrame
        ``age`` and a column per source (years), a row per participant, whose scans are averaged.

    Raises
    ------
    DataError
        There are fewer than two sources, or more than :data:`MAX_SOURCES`; or nobody of known age
        is in all of them.
    """
    first = next(iter(tables.values()))
    own = [name for name in first.columns if str(name).startswith(OF_BRANCH)]
    if len(tables) == 1:
        means = first.groupby("participant_id")[[AGE, *own]].mean()
        joined = means.rename(columns=lambda name: str(name).removeprefix(OF_BRANCH))
    else:
        columns = {
            name: table.groupby("participant_id")[_PREDICTED].mean()
            for name, table in tables.items()
        }
        joined = pd.DataFrame({AGE: first.groupby("participant_id")[AGE].mean(), **columns})
    if not 2 <= len(joined.columns) - 1 <= MAX_SOURCES:
        raise DataError(
            f"Combinations need 2 to {MAX_SOURCES} sources, and there are "
            f"{len(joined.columns) - 1}: give predictions of a model with branches "
            f"({OF_BRANCH}*), or a table of each modality ([NAME=]INPUTS)."
        )
    if (known := joined.dropna()).empty:
        raise DataError("No person of known age has a prediction from every source.")
    return known


def compare(known: pd.DataFrame, *, n_boot: int = 2000) -> pd.DataFrame:
    """Accuracy of the mean age of every combination of sources, on the same people.

    Parameters
    ----------
    known : DataFrame
        From :func:`sources`.
    n_boot : int
        Bootstrap resamples over participants.

    Returns
    -------
    DataFrame
        ``combination n_sources n_participants``; ``mae`` (years) and ``r2`` with their BCa
        intervals; ``mae_difference`` (years), the paired difference of the absolute errors to all
        sources together, with its interval, above 0 where the combination is worse.
    """
    age = known[AGE].to_numpy(dtype=float)
    people = np.arange(len(known))
    together = _error(known, [str(name) for name in known if name != AGE])
    rows = []
    for chosen in _subsets([str(name) for name in known if name != AGE]):
        predicted = known[list(chosen)].mean(axis=1).to_numpy(dtype=float)
        measured = accuracy.metrics(age, predicted, people, n_boot=n_boot, only=("mae", "r2"))
        error = _error(known, chosen)
        paired = accuracy.metrics(together, error, people, n_boot=n_boot, only=("mean_gap",))
        rows.append(
            {
                "combination": JOINED.join(chosen),
                "n_sources": len(chosen),
                "n_participants": len(known),
                **_with_interval(measured.table, {"mae": "mae", "r2": "r2"}),
                **_with_interval(paired.table, {"mean_gap": "mae_difference"}),
            }
        )
    return pd.DataFrame(rows)


def text_of(table: pd.DataFrame) -> str:
    """The table of :func:`compare` for a terminal."""
    wide = max(map(len, table["combination"])) + 2
    lines = [
        f"{'combination':<{wide}}{'n':>5}  MAE [95 % CI]          R2 [95 % CI]          "
        "MAE against all together [95 % CI]"
    ]
    for row in table.to_dict("records"):
        shown = (_shown(row, name) for name in ("mae", "r2", "mae_difference"))
        lines.append(
            f"{row['combination']:<{wide}}{row['n_participants']:>5}  "
            + "".join(f"{each:<22}" for each in shown).rstrip()
        )
    return "\n".join(lines)


def _shown(row: Mapping[Hashable, Any], name: str) -> str:
    sign = "+" if name == "mae_difference" else ""
    value, lower, upper = (row[column] for column in (name, f"{name}_lower", f"{name}_upper"))
    interval = f" [{lower:{sign}.2f}, {upper:{sign}.2f}]" if np.isfinite(lower) else ""
    return f"{value:{sign}.2f}{interval}"


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every non-empty combination, the smallest first."""
    for size in range(1, len(names) + 1):
        yield from combinations(names, size)


def _error(known: pd.DataFrame, chosen: Sequence[str]) -> np.ndarray:
    difference = known[list(chosen)].mean(axis=1) - known[AGE]
    return np.abs(difference.to_numpy(dtype=float))


def _with_interval(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, float]:
    """Values and ends of intervals of some metrics under other names; NaN where unsupported."""
    found = table.set_index("metric")
    cells = {"": "value", "_lower": "ci95_lower", "_upper": "ci95_upper"}
    return {
        f"{new}{ending}": float(found[column].get(old, np.nan))
        for old, new in names.items()
        for ending, column in cells.items()
    }
