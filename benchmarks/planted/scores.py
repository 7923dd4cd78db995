"""How well explanations find what was planted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from .plants import Plant, strength_of

ID_COLUMNS = ("person", "age", "index", "n_voxels")
ALARM = 0.05
#: What is scored, with its meaning; all but the last are better the larger.
SCORES = {
    "auc": "area under the curve of planted against other regions, by size of contribution",
    "top": "share of planted regions among as many of the largest contributions",
    "mass": "share of the sum of all sizes that lies in planted regions",
    "sign": "share of planted regions that have the sign of a lost region",
    "side": "share of people whose planted side is larger than the other (one-sided plants)",
    "tracks": "correlation, over people, of the contribution of planted regions with age, turned "
    "so that 1 means: the older the region looks, the more it makes the brain look older",
    "size": "rank correlation of size of contribution and volume over regions not planted",
}


def explanations_in(table: pd.DataFrame) -> list[str]:
    """Names of the explanations."""
    return [c for c in table.columns if c not in ID_COLUMNS]


def cell_scores(table: pd.DataFrame, plant: Plant, regions: pd.DataFrame) -> pd.DataFrame:
    """One row per explanation and person, columns of ``SCORES``.

    Parameters
    ----------
    table : DataFrame
        From :func:`.explaining.explain`.
    plant : Plant
    regions : DataFrame
        Of the anatomy, with ``hemisphere`` and ``name``.
    """
    rows = []
    for name in explanations_in(table):
        tracks = _tracks(table, name, plant)
        for person, own in table.groupby("person"):
            row = _person_scores(own, name, plant, regions)
            rows.append({"explanation": name, "person": person, **row, "tracks": tracks})
    return pd.DataFrame(rows)


def _person_scores(
    own: pd.DataFrame, name: str, plant: Plant, regions: pd.DataFrame
) -> dict[str, float]:
    known = own[np.isfinite(own[name]) & ~own["index"].isin(list(plant.companions))]
    planted = known["index"].isin(list(plant.regions)).to_numpy()
    size = known[name].abs().to_numpy()
    if not planted.any() or not size.any():
        return {}
    ranks = stats.rankdata(size)
    n, rest = planted.sum(), (~planted).sum()
    best = np.argsort(-size, kind="stable")[:n]
    found = {
        "auc": (ranks[planted].sum() - n * (n + 1) / 2) / (n * rest),
        "top": planted[best].mean(),
        "mass": size[planted].sum() / size.sum(),
        "size": stats.spearmanr(size[~planted], known["n_voxels"][~planted]).statistic,
        "side": _side(known, name, plant, regions),
    }
    if (known[name] < 0).any():
        wanted = known["index"][planted].map(lambda i: plant.regions[i].sign_when_lost)
        found["sign"] = float((np.sign(known[name][planted]) == wanted).mean())
    return found


def _side(known: pd.DataFrame, name: str, plant: Plant, regions: pd.DataFrame) -> float:
    """Planted regions against those across, where only one side is planted."""
    across = partners(regions)
    pairs = [(k, across[k]) for k in plant.regions if across.get(k) not in (None, *plant.regions)]
    if not pairs or len(pairs) < len(plant.regions):
        return float("nan")
    size = known.set_index("index")[name].abs()
    own, other = (size.reindex([pair[side] for pair in pairs]).sum() for side in (0, 1))
    return float(own > other)


def partners(regions: pd.DataFrame) -> dict[int, int]:
    """The region across the midline, by label, for those that have one."""
    bare = regions["name"].str.replace(r"^(Left|Right) |^[LR](?=\d)|_[LR]$", "", regex=True)
    found: dict[int, int] = {}
    for _, rows in regions.groupby(bare):
        if len(rows) == 2 and set(rows["hemisphere"]) == {"L", "R"}:
            one, two = (int(index) for index in rows["index"])
            found |= {one: two, two: one}
    return found


def _tracks(table: pd.DataFrame, name: str, plant: Plant) -> float:
    values = []
    for index in plant.regions:
        rows = table[(table["index"] == index) & np.isfinite(table[name])]
        if len(rows) > 2 and rows[name].std() > 0:
            values.append(-np.corrcoef(rows[name], strength_of(rows["age"].to_numpy()))[0, 1])
    return float(np.mean(values)) if values else float("nan")


def false_alarms(table: pd.DataFrame, n_parcels: int) -> pd.DataFrame:
    """Regions that stand out from their null though nothing was planted.

    One row per explanation and person: ``regions``, the share with p < .05, and ``after_fdr``, the
    share that is left after Benjamini and Hochberg's correction over regions. p is two-sided, from
    Student's distribution of the z against `n_parcels` parcels, which have an error of their own.
    """
    rows = []
    for name in (c for c in table.columns if c.endswith(", z")):
        for person, own in table.groupby("person"):
            z = own[name].dropna().to_numpy() / np.sqrt(1 + 1 / n_parcels)
            p = 2 * stats.t.sf(np.abs(z), n_parcels - 1)
            rows.append({
                "explanation": name, "person": person, "regions": float((p < ALARM).mean()),
                "after_fdr": float((stats.false_discovery_control(p) < ALARM).mean()),
            })  # fmt: skip
    return pd.DataFrame(rows)


def with_interval(
    rows: pd.DataFrame, by: Sequence[str], columns: Sequence[str], n_boot: int = 1000
) -> pd.DataFrame:
    """Means over cells, with 95 % intervals by drawing cells again; ``cell`` is a column."""
    rng = np.random.default_rng(0)
    found = []
    for key, group in rows.groupby(list(by), sort=False):
        means = group.groupby("cell")[list(columns)].mean()
        row: dict[str, object] = dict(
            zip(by, key if isinstance(key, tuple) else (key,), strict=True)
        )
        for column in columns:
            values = means[column].dropna().to_numpy()
            row[column] = values.mean() if len(values) else np.nan
            row[f"{column}_low"], row[f"{column}_high"] = _interval(values, rng, n_boot)
        found.append(row)
    return pd.DataFrame(found)


def _interval(values: NDArray[np.float64], rng: np.random.Generator, n: int) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    drawn = rng.choice(values, (n, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)
