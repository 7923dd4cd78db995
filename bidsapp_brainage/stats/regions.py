"""Mean contribution of regions, networks and hemispheres over participants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

MIN_FOR_INTERVAL = 3  # participants
REGION = ["index", "name", "hemisphere", "lobe", "network"]
GROUPINGS = ("network", "hemisphere", "lobe")
COLUMNS = (
    "level",
    *REGION,
    "baseline",
    "n_regions",
    "n_participants",
    "mean_delta_age",
    "sd_delta_age",
    "ci95_lower",
    "ci95_upper",
    "mean_abs_delta_age",
    "mean_volume_mm3",
    "mean_delta_age_per_ml",
    "mean_nosa_importance",
    "t",
    "p",
    "q",
    "effect_size",
    "null_percentile",
    "rank",
)
_VALUES = ["delta_age", "abs_delta_age", "delta_age_per_ml", "nosa_importance", "z_null"]


def contribution_table(regions: pd.DataFrame) -> pd.DataFrame:
    """Mean signed contribution per region, network, hemisphere and lobe.

    Parameters
    ----------
    regions : DataFrame
        Long table, one row per scan and region: ``participant_id`` and the columns of
        ``*_occlusion.tsv``. Several baselines may be present; each gets its own rows.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``; ``level`` is ``region``, ``network``, ``hemisphere`` or ``lobe``. The
        unit is the participant: scans of one person are averaged first. Networks, hemispheres and
        lobes are means over their regions weighted by volume, made per scan. ``ci95_*`` are
        t intervals of the mean; ``t``, ``p`` test whether the sign is the same across
        participants (mean against zero), ``q`` is ``p`` with Benjamini-Hochberg control within
        a level; ``effect_size`` is mean / SD. Intervals and tests need three participants.
        ``rank`` orders by absolute mean, within level.
    """
    tables = []
    for baseline, part in regions.groupby("baseline", dropna=False, sort=True):
        levels = [_level(part, "region", REGION)]
        levels += [
            _level(_combine(part, grouping), grouping, [grouping])
            for grouping in GROUPINGS
            if part[grouping].notna().any()
        ]
        tables += [level.assign(baseline=baseline) for level in levels]
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True).reindex(columns=list(COLUMNS))


def _combine(regions: pd.DataFrame, grouping: str) -> pd.DataFrame:
    """One row per scan and group: means over its regions, weighted by volume."""
    scan = [name for name in ("participant_id", "session_id", "run_id", "scan") if name in regions]
    used = regions[regions["n_voxels"] > 0].dropna(subset=[grouping, "delta_age"])
    rows: list[dict[str, Any]] = []
    for keys, part in used.groupby([*scan, grouping], dropna=False, sort=True):
        weights = part["volume_mm3"].to_numpy(dtype=float)
        row = dict(zip([*scan, grouping], keys, strict=True))
        for name in _VALUES:
            values = part[name].to_numpy(dtype=float)
            row[name] = np.average(values, weights=weights) if np.isfinite(values).all() else np.nan
        rows.append(row | {"volume_mm3": weights.sum(), "n_regions": len(part)})
    columns = [*scan, grouping, *_VALUES, "volume_mm3", "n_regions"]
    return pd.DataFrame(rows, columns=columns)


def _level(rows: pd.DataFrame, level: str, keys: list[str]) -> pd.DataFrame:
    """Statistics over participants of each region or group."""
    values = [name for name in (*_VALUES, "volume_mm3", "n_regions") if name in rows]
    person = rows.groupby([*keys, "participant_id"], dropna=False, sort=False)[values].mean()
    groups = person.groupby(level=keys, dropna=False, sort=False)
    table = pd.DataFrame([_describe(part) for _, part in groups])
    names = pd.DataFrame([_as_tuple(key) for key, _ in groups], columns=keys)
    table = pd.concat([names, table], axis=1)
    table["level"] = level
    tested = table["p"].notna()
    table["q"] = np.nan
    if tested.any():
        table.loc[tested, "q"] = stats.false_discovery_control(table.loc[tested, "p"])
    strength = table["mean_delta_age"].abs()
    table["rank"] = strength.rank(ascending=False, method="min").astype("Int64")
    return table


def _as_tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _describe(person: pd.DataFrame) -> dict[str, Any]:
    delta = person["delta_age"].dropna().to_numpy(dtype=float)
    facts: dict[str, Any] = {
        "n_regions": person["n_regions"].max() if "n_regions" in person else 1,
        "n_participants": len(delta),
        "mean_delta_age": delta.mean() if len(delta) else np.nan,
        "sd_delta_age": delta.std(ddof=1) if len(delta) > 1 else np.nan,
        "mean_abs_delta_age": person["abs_delta_age"].mean(),
        "mean_volume_mm3": person["volume_mm3"].mean(),
        "mean_delta_age_per_ml": person["delta_age_per_ml"].mean(),
        "mean_nosa_importance": person["nosa_importance"].mean(),
        "null_percentile": 100 * stats.norm.cdf(person["z_null"].mean()),
    }
    return facts | _test_sign(delta)


def _test_sign(delta: np.ndarray) -> dict[str, float]:
    if len(delta) < MIN_FOR_INTERVAL or np.ptp(delta) == 0:
        return dict.fromkeys(("ci95_lower", "ci95_upper", "t", "p", "effect_size"), np.nan)
    found = stats.ttest_1samp(delta, 0.0)
    interval = found.confidence_interval(0.95)
    return {
        "ci95_lower": float(interval.low),
        "ci95_upper": float(interval.high),
        "t": float(found.statistic),
        "p": float(found.pvalue),
        "effect_size": float(delta.mean() / delta.std(ddof=1)),
    }


def notes(table: pd.DataFrame) -> list[str]:
    """Sentences about what the sample does not support."""
    if table.empty:
        return ["No region contributions were found."]
    most = int(table["n_participants"].max())
    found = []
    if most < MIN_FOR_INTERVAL:
        found.append(
            f"Contributions of {most} participant{'s' if most != 1 else ''} only: intervals and "
            f"tests need at least {MIN_FOR_INTERVAL}."
        )
    regions = table[table["level"] == "region"]
    n_empty = int((regions["n_participants"] == 0).sum())
    if n_empty:
        found.append(
            f"{n_empty} atlas region{'s are' if n_empty > 1 else ' is'} empty in every scan."
        )
    return found
