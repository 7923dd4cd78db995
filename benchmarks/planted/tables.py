"""Tables of the benchmark, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.measure import markdown

from .scores import SCORES, with_interval

NOT_EXPLANATIONS = ("person", "index", "name", "n_voxels")
TRUTHS = ("shrink", "swell", "shrink, noisy", "thin")


def accuracy_table(rows: Sequence[dict[str, object]]) -> str:
    """Correlation and mean absolute error (years) on held-out people, mean over seeds."""
    frame = pd.DataFrame(rows)
    by = ["anatomy", "plant", "network"]
    return _table(frame.groupby(by, sort=False)[["r", "mae"]].mean().round(2).reset_index())


def planted_table(rows: pd.DataFrame) -> str:
    """Means with intervals over cells, one row per explanation, the best first."""
    found = with_interval(rows, ["explanation"], list(SCORES))
    ranked = found.sort_values("auc", ascending=False)
    return _table(pd.DataFrame([
        {"explanation": row["explanation"], **{score: _cell(row, score) for score in SCORES}}
        for _, row in ranked.iterrows()
    ]))  # fmt: skip


def plant_table(rows: pd.DataFrame) -> str:
    """Area under the curve by explanation and plant."""
    what = rows["anatomy"] + ": " + rows["plant"]
    means = rows.assign(what=what).groupby(["explanation", "what"])["auc"].mean().unstack()
    order = means.mean(axis=1).sort_values(ascending=False).index
    return _table(means.loc[order].round(2).reset_index())


def alarm_table(rows: pd.DataFrame) -> str:
    """Shares of regions that stand out from their null; .05 and less are nominal."""
    found = with_interval(rows, ["explanation"], ["regions", "after_fdr"])
    return _table(pd.DataFrame([
        {"explanation": row["explanation"], "p < .05": _cell(row, "regions"),
         "after FDR": _cell(row, "after_fdr")}
        for _, row in found.iterrows()
    ]))  # fmt: skip


def response_table(people: Sequence[pd.DataFrame]) -> str:
    """Rank correlations with the response to shrinking and thinning, over people: median and range.

    ``sign`` is the share of regions with the sign of the response to shrinking.
    """
    rows = []
    names = [column for column in people[0].columns if column not in NOT_EXPLANATIONS]
    for name in names:
        row: dict[str, object] = {"explanation": f"({name})" if name in TRUTHS else name}
        for truth in ("shrink", "thin"):
            row[truth] = _median([_rank(p[truth], p[name]) for p in people if name in p])
            row[f"{truth}, size"] = _median(
                [_rank(p[truth].abs(), p[name].abs()) for p in people if name in p]
            )
        row["sign"] = _median([_same_sign(p["shrink"], p[name]) for p in people if name in p])
        rows.append(row)
    return _table(pd.DataFrame(rows))


def _cell(row: pd.Series, score: str) -> str:
    value, low, high = row[score], row[f"{score}_low"], row[f"{score}_high"]
    if not np.isfinite(value):
        return ""
    return f"{value:.2f}" + (f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else "")


def _rank(one: pd.Series, other: pd.Series) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    return float(stats.spearmanr(one[known], other[known]).statistic)


def _same_sign(one: pd.Series, other: pd.Series) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    return float((np.sign(one[known]) == np.sign(other[known])).mean())


def _median(values: Sequence[float]) -> str:
    low, middle, high = np.percentile(np.asarray(values), (0, 50, 100))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _table(frame: pd.DataFrame) -> str:
    return markdown(list(frame.columns), frame.to_numpy().tolist())
