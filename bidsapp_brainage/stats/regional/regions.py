"""Mean contribution of regions and of groups of regions over participants."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue import levels as words
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.stats.agreement.repeatability import rank_intervals
from bidsapp_brainage.stats.intervals import MIN_FOR_INTERVAL, mean_with_interval
from bidsapp_brainage.stats.permutation import false_discovery, one_sample_t, sign_flip_max_t
from bidsapp_brainage.stats.regional.signs import conjunction, is_stable, share_stable, signs

REGION = ["index", "name", "hemisphere", "lobe", "network"]
COLUMNS = tuple(columns_of("occlusionstats"))
_VALUES = ["delta_age", "abs_delta_age", "delta_age_per_ml", "nosa_importance"]
_NULL = ["z_null", "null_mean"]
_SCAN = ["participant_id", "session_id", "run_id", "scan"]


def level_key(level: str) -> str:
    """Column that names the rows of a level: ``index`` for regions."""
    return "index" if level == words.REGION.key else "name"


def level_rows(regions: pd.DataFrame, groups: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """One row per scan and region or group, by level.

    `regions` has a row per scan and region of one baseline; `groups`, occluded as one with the same
    baseline, has ``level``, ``name`` and the values of regions, or is empty. There is ``region``,
    the levels of `groups`, and, under a name of their own
    (:func:`bidsapp_brainage.catalogue.levels.mean_level`), means over the regions of a group
    weighted by volume. The latter are no effect of the group: regions share what the network sees
    around them.
    """
    rows = {words.REGION.key: regions}
    keys = [level.key for level in words.GROUPINGS]
    occluded = groups["level"] if "level" in groups else pd.Series(dtype=object)
    rows |= {key: groups[occluded == key] for key in keys if (occluded == key).any()}
    known = [key for key in keys if key in regions and regions[key].notna().any()]
    return rows | {words.mean_level(key): _mean_over_regions(regions, key) for key in known}


def person_matrix(rows: pd.DataFrame, level: str, value: str = "delta_age") -> pd.DataFrame:
    """Participants by regions (or groups) of a level: mean over the scans of each participant."""
    means = rows.groupby(["participant_id", level_key(level)], sort=False)[value].mean()
    return means.unstack().sort_index()


def contribution_table(
    regions: pd.DataFrame,
    groups: pd.DataFrame | None = None,
    *,
    seed: int = 0,
    n_permutations: int = 999,
) -> pd.DataFrame:
    """Mean signed contribution per region and group of regions: the columns ``COLUMNS``.

    The unit is the participant: scans of one person are averaged first. ``ci95_*`` are t intervals
    of the mean; ``t``, ``p`` test whether the sign is the same across participants (mean against
    zero), ``q`` is ``p`` with Benjamini-Hochberg control within a level (:func:`level_rows`);
    ``effect_size`` is mean / SD. Columns with ``null`` compare regions with random parcels of the
    same size. Intervals and tests need three participants, intervals of ranks six. ``rank`` orders
    by absolute mean, within level. ``stable``, ``share_stable``, ``p_stable`` and ``q_stable`` say
    of a region whether its sign is the same with every baseline (:mod:`.signs`).

    Parameters
    ----------
    regions : DataFrame
        Long table, one row per scan and region: ``participant_id`` and the columns of
        ``*_occlusion.tsv``. Several baselines may be present; each gets its own rows, the first
        one first.
    groups : DataFrame, optional
        The same for groups occluded as one, with ``baseline`` and ``level``.
    seed, n_permutations : int
        Of sign flips and, for intervals of ranks, bootstrap samples.
    """
    if regions.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    tables = []
    for baseline, part in regions.groupby("baseline", dropna=False, sort=False):
        same = pd.DataFrame() if groups is None else groups[groups["baseline"].eq(baseline)]
        tables += [
            _level(rows, level, seed, n_permutations).assign(baseline=baseline)
            for level, rows in level_rows(part, same).items()
        ]
    table = pd.concat(tables, ignore_index=True).reindex(columns=list(COLUMNS))
    return _over_baselines(table, regions)


def _over_baselines(table: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """Fill in what all baselines together say of each region."""
    single = table["level"] == words.REGION.key
    rows = table[single]
    if rows["baseline"].nunique() < 2:
        return table
    means, p = (
        rows.pivot(index="index", columns="baseline", values=name)
        for name in ("mean_delta_age", "p")
    )
    together = pd.DataFrame(
        {
            "stable": is_stable(signs(rows, value="mean_delta_age")),
            "share_stable": share_stable(regions),
            "p_stable": conjunction(means, p),
        }
    )
    together["q_stable"] = false_discovery(together["p_stable"].to_numpy())
    for name in together:
        table[name] = table["index"].map(together[name]).where(single)
    return table


def _mean_over_regions(regions: pd.DataFrame, grouping: str) -> pd.DataFrame:
    """One row per scan and group: means over its regions, weighted by volume."""
    keys = [*(name for name in _SCAN if name in regions), grouping]
    used = regions[regions["n_voxels"] > 0].dropna(subset=[grouping, "delta_age"])
    weights = used["volume_mm3"].astype(float)
    values = used.reindex(columns=_VALUES).astype(float)
    table = values.mul(weights, axis=0).assign(volume_mm3=weights, n_regions=1)
    groups = table.groupby([used[name] for name in keys], dropna=False, sort=True)
    # A group with an unknown value in one region has no mean: min_count makes it missing.
    sums = groups.sum(min_count=1)
    complete = values.notna().groupby([used[name] for name in keys], dropna=False).all()
    sums[_VALUES] = sums[_VALUES].div(sums["volume_mm3"], axis=0).where(complete[_VALUES])
    return sums.reset_index().rename(columns={grouping: "name"})


def _level(rows: pd.DataFrame, level: str, seed: int, n_permutations: int) -> pd.DataFrame:
    """Statistics over participants of each region or group."""
    single = level == words.REGION.key
    keys, null = (REGION, _NULL) if single else (["name"], [])
    rows = rows.reindex(columns=[*rows.columns, *(name for name in null if name not in rows)])
    values = [name for name in (*_VALUES, *null, "volume_mm3", "n_regions") if name in rows]
    person = rows.groupby([*keys, "participant_id"], dropna=False, sort=False)[values].mean()
    groups = person.groupby(level=keys if single else keys[0], dropna=False, sort=False)
    table = pd.DataFrame([_describe(part) for _, part in groups])
    names = pd.DataFrame([_as_tuple(key) for key, _ in groups], columns=keys)
    table = pd.concat([names, table], axis=1)
    table["level"] = level
    table["q"] = false_discovery(table["p"].to_numpy())
    strength = table["mean_delta_age"].abs()
    table["rank"] = strength.rank(ascending=False, method="min").astype("Int64")
    order = table[level_key(level)]
    wide = person_matrix(rows, level).reindex(columns=order)
    table["rank_ci95_lower"], table["rank_ci95_upper"] = rank_intervals(
        wide.to_numpy(dtype=np.float64), seed=seed
    )
    if single:
        excess = wide - person_matrix(rows, level, "null_mean").reindex(columns=order)
        table = table.assign(**_against_null(excess.to_numpy(float), seed, n_permutations))
    return table


def _against_null(excess: np.ndarray, seed: int, n_permutations: int) -> dict[str, np.ndarray]:
    """One-sample tests of the contribution beyond that of parcels of the same size."""
    count = np.isfinite(excess).sum(axis=0)
    t = np.where(count >= MIN_FOR_INTERVAL, one_sample_t(excess), np.nan)
    p = 2 * stats.t.sf(np.abs(t), np.maximum(count - 1, 1))
    maxt = sign_flip_max_t(excess, n_permutations=n_permutations, seed=seed)
    return {
        "t_null": t,
        "p_null": p,
        "q_null": false_discovery(p),
        "p_null_maxt": np.where(np.isfinite(t), maxt, np.nan),
        "effect_size_null": t / np.sqrt(np.maximum(count, 1)),
    }


def _as_tuple(key: object) -> tuple[object, ...]:
    return key if isinstance(key, tuple) else (key,)


def _describe(person: pd.DataFrame) -> dict[str, float]:
    delta = mean_with_interval(person["delta_age"])
    facts: dict[str, float] = {
        "n_regions": person["n_regions"].max() if "n_regions" in person else 1,
        "n_participants": delta.n,
        "mean_delta_age": delta.mean,
        "sd_delta_age": delta.sd,
        "mean_abs_delta_age": person["abs_delta_age"].mean(),
        "mean_volume_mm3": person["volume_mm3"].mean(),
        "mean_delta_age_per_ml": person["delta_age_per_ml"].mean(),
        "mean_nosa_importance": person["nosa_importance"].mean(),
    }
    if "z_null" in person:
        facts["mean_null"] = person["null_mean"].mean()
        facts["mean_z_null"] = person["z_null"].mean()
        facts["null_percentile"] = 100 * stats.norm.cdf(facts["mean_z_null"])
    return facts | delta.tested


def notes(table: pd.DataFrame) -> list[str]:
    """Sentences about what the sample does not support."""
    if table.empty:
        return ["No region contributions were found."]
    most = int(table["n_participants"].max())
    sentences = []
    if most < MIN_FOR_INTERVAL:
        sentences.append(
            f"Contributions of {most} participant{'s' if most != 1 else ''} only: intervals and "
            f"tests need at least {MIN_FOR_INTERVAL}."
        )
    regions = table[table["level"] == "region"]
    n_empty = int((regions["n_participants"] == 0).sum())
    if n_empty:
        sentences.append(
            f"{n_empty} atlas region{'s are' if n_empty > 1 else ' is'} empty in every scan."
        )
    return sentences
