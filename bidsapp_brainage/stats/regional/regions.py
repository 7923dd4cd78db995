"""Mean contribution of regions and of groups of regions over participants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue import levels as words
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.stats.agreement.repeatability import rank_intervals
from bidsapp_brainage.stats.intervals import MIN_FOR_INTERVAL, Floats, means_with_intervals
from bidsapp_brainage.stats.permutation import false_discovery, one_sample_t, sign_flip_max_t
from bidsapp_brainage.stats.regional.matrices import Cells, by_baseline, mean_matrix
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
    return mean_matrix(rows, "participant_id", level_key(level), value)


def contribution_table(
    regions: pd.DataFrame,
    groups: pd.DataFrame | None = None,
    *,
    others: pd.DataFrame | None = None,
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
    others : DataFrame, optional
        Regions with further baselines, with fewer columns.
    seed, n_permutations : int
        Of sign flips and, for intervals of ranks, bootstrap samples.
    """
    if regions.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    tables = []
    for baseline, part in by_baseline(regions, others):
        same = pd.DataFrame() if groups is None else groups[groups["baseline"].eq(baseline)]
        tables += [
            _level(rows, level, seed, n_permutations).assign(baseline=baseline)
            for level, rows in level_rows(part, same).items()
        ]
    table = pd.concat(tables, ignore_index=True).reindex(columns=list(COLUMNS))
    return _over_baselines(table, regions, others)


def _over_baselines(
    table: pd.DataFrame, regions: pd.DataFrame, others: pd.DataFrame | None
) -> pd.DataFrame:
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
            "share_stable": share_stable(regions, others),
            "p_stable": conjunction(means, p),
        }
    )
    together["q_stable"] = false_discovery(together["p_stable"].to_numpy())
    for name in together:
        table[name] = table["index"].map(together[name]).where(single)
    return table


def _mean_over_regions(regions: pd.DataFrame, grouping: str) -> pd.DataFrame:
    """One row per scan and group: means over its regions, weighted by volume."""
    used = (regions["n_voxels"] > 0) & regions[grouping].notna() & regions["delta_age"].notna()
    cells = Cells.of(regions, "scan", grouping)
    place = cells.place[used.to_numpy()[cells.placed]]
    weights = regions["volume_mm3"].to_numpy(dtype=np.float64)[used]
    volume = np.asarray(np.bincount(place, weights, cells.size), dtype=np.float64)
    n_regions = np.bincount(place, minlength=cells.size).astype(np.float64)
    facts: dict[str, Floats] = {"volume_mm3": volume, "n_regions": n_regions}
    for name in _VALUES:
        values = regions[name].to_numpy(dtype=np.float64)[used] if name in regions else np.nan
        # A group with an unknown value in one region has no mean.
        total = np.bincount(place, weights=values * weights, minlength=cells.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            facts[name] = total / volume
    order = np.argsort(cells.names)
    by_scan = {key: cells.frame(flat).to_numpy()[:, order] for key, flat in facts.items()}
    there = by_scan["n_regions"] > 0
    scan, group = np.nonzero(there)
    table = pd.DataFrame({key: values[there] for key, values in by_scan.items()})
    table.insert(0, "name", np.asarray(cells.names)[order][group])
    known = [column for column in _SCAN if column in regions]
    scans = regions[known].drop_duplicates("scan").set_index("scan", drop=False)
    whose = scans.loc[cells.labels[scan]].reset_index(drop=True)
    return pd.concat([whose, table], axis=1)


def _level(rows: pd.DataFrame, level: str, seed: int, n_permutations: int) -> pd.DataFrame:
    """Statistics over participants of each region or group."""
    single = level == words.REGION.key
    names, means = _people(rows, level)
    table = pd.concat([names, _describe(means)], axis=1)
    table["level"] = level
    table["q"] = false_discovery(table["p"].to_numpy())
    strength = table["mean_delta_age"].abs()
    table["rank"] = strength.rank(ascending=False, method="min").astype("Int64")
    delta = means["delta_age"].to_numpy()
    table["rank_ci95_lower"], table["rank_ci95_upper"] = rank_intervals(delta, seed=seed)
    if single:
        excess = delta - means["null_mean"].to_numpy()
        table = table.assign(**_against_null(excess, seed, n_permutations))
    return table


def _people(rows: pd.DataFrame, level: str) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """What names the regions or groups, and matrices of people by these, by value."""
    single = level == words.REGION.key
    key, named = level_key(level), REGION if single else ["name"]
    names = rows.reindex(columns=named).drop_duplicates(ignore_index=True)
    if not names[key].is_unique:  # a region with several names has a row for each
        number = rows.groupby(named, dropna=False, observed=True, sort=False).ngroup()
        key, rows = "number", rows.assign(number=number)
    order = names.get(key, names.index)
    wanted = [*_VALUES, "volume_mm3", *(_NULL if single else ())]
    wanted += [name for name in ("n_regions",) if name in rows]
    means = {
        name: mean_matrix(rows, "participant_id", key, name).reindex(columns=order)
        for name in wanted
        if name in rows
    }
    unknown = means["delta_age"] * np.nan
    texts = [name for name in names if isinstance(names[name].dtype, pd.CategoricalDtype)]
    return names.astype(dict.fromkeys(texts, object)), {
        name: means.get(name, unknown) for name in wanted
    }


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


def _describe(people: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per region or group, from matrices of people by these."""
    delta = means_with_intervals(people["delta_age"].to_numpy())
    names = {name: f"{name}_delta_age" for name in ("mean", "sd")}
    table = delta.rename(columns={"n": "n_participants", **names})
    means = {name: values.mean().to_numpy() for name, values in people.items()}
    table["n_regions"] = people["n_regions"].max().to_numpy() if "n_regions" in people else 1
    for name in ("abs_delta_age", "volume_mm3", "delta_age_per_ml", "nosa_importance"):
        table[f"mean_{name}"] = means[name]
    if "z_null" in people:
        table["mean_null"], table["mean_z_null"] = means["null_mean"], means["z_null"]
        table["null_percentile"] = 100 * stats.norm.cdf(means["z_null"])
    return table


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
