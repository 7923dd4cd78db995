"""Contributions of one atlas, level by level: regions, and groups of regions occluded as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bidsapp_brainage.catalogue import levels as words
from bidsapp_brainage.explain.scores import nosa_importance
from bidsapp_brainage.group.collect import AtlasResult
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.stats.regional import regions
from bidsapp_brainage.stats.regional.matrices import first_matrix
from bidsapp_brainage.stats.regional.signs import same_sign


@dataclass(frozen=True)
class Level:
    """Contributions of one level with the main baseline.

    Attributes
    ----------
    name : str
        ``region``, a level of groups, or that of means over the regions of groups.
    rows, matrix : DataFrame
        A row per scan and region or group; participants by regions (label) or groups (name), years.
    labels : DataFrame
        What describes a column of the matrix: ``index``, ``name`` and so on, in its order.
    others : tuple of DataFrame
        The matrix with every other baseline; groups of regions have none.
    """

    name: str
    rows: pd.DataFrame
    matrix: pd.DataFrame
    labels: pd.DataFrame
    others: tuple[pd.DataFrame, ...] = ()

    def stable(self, estimate: Callable[[pd.DataFrame], pd.Series]) -> pd.Series:
        """Whether what is estimated from a matrix has the same sign with every baseline.

        True, False, or None where fewer than two baselines give an estimate.
        """
        estimates = [estimate(matrix) for matrix in (self.matrix, *self.others)]
        return same_sign(pd.concat(estimates, axis=1).reindex(estimates[0].index))

    @property
    def titles(self) -> list[str]:
        """Names for people, in the order of the matrix."""
        return [str(name) for name in self.labels["name"]]

    @property
    def by_scan(self) -> pd.DataFrame:
        """Scans by regions or groups, years."""
        return first_matrix(self.rows, "scan", regions.level_key(self.name), "delta_age")


def occluded_groups(atlas: AtlasResult, scans: pd.DataFrame) -> pd.DataFrame:
    """Groups of regions that were occluded as one, with the columns of the regions' table.

    ``baseline`` is that of the scan's regions; `scans` has ``predicted_age`` and
    ``chronological_age`` (years), for the published importance. Empty where the derivatives have no
    such table.
    """
    groups = atlas.groups
    if groups.empty or atlas.table.empty:
        return pd.DataFrame(columns=["participant_id", "scan", "baseline", "level", "name"])
    millilitres = groups["volume_mm3"].astype(float) / 1000
    delta = groups["delta_age"].astype(float)
    baselines = atlas.table.drop_duplicates("scan").set_index("scan")["baseline"]
    return groups.assign(
        baseline=groups["scan"].map(baselines),
        delta_age=delta,
        abs_delta_age=delta.abs(),
        delta_age_per_ml=delta / millilitres.where(millilitres > 0),
        nosa_importance=_importance(groups["scan"], delta, scans),
    )


def _importance(scan_of_row: pd.Series, delta: pd.Series, scans: pd.DataFrame) -> pd.Series:
    """Published importance of every row, from the predicted and the chronological age."""
    ages = scans.drop_duplicates("scan").set_index("scan")[["predicted_age", "chronological_age"]]
    known = ages.reindex(scan_of_row.astype(object)).set_index(delta.index)
    predicted, age = known["predicted_age"].to_numpy(), known["chronological_age"].to_numpy()
    importance = nosa_importance(predicted + delta.to_numpy(), predicted, age)
    return pd.Series(importance, index=delta.index)


def atlas_levels(atlas: AtlasResult, groups: pd.DataFrame) -> tuple[list[Level], list[Note]]:
    """Levels of the main baseline, the first one of the table: regions, then groups.

    A level of groups that nobody occluded as one (:func:`occluded_groups`) is the mean over their
    regions, under a name of its own; the notes say where and why.
    """
    if atlas.table.empty:
        return [], []
    baseline = atlas.table["baseline"].iloc[0]
    of_main = atlas.table["baseline"].isin([baseline])
    main = atlas.table if of_main.all() else atlas.table[of_main]
    rows = regions.level_rows(main, groups[groups["baseline"].isin([baseline])])
    replaced = {words.mean_level(name) for name in rows}
    levels = [_level(main, name, rows[name]) for name in rows if name not in replaced]
    levels[0] = replace(levels[0], others=_other_baselines(atlas.baselines, levels[0], baseline))
    return levels, _missing_groups(levels, main, groups)


def _other_baselines(
    baselines: pd.DataFrame, regions_level: Level, main: str
) -> tuple[pd.DataFrame, ...]:
    """Participants by regions with every baseline but the main one."""
    if baselines.empty:
        return ()
    matrices = [
        regions.person_matrix(rows, regions_level.name)
        for name, rows in baselines.groupby("baseline", sort=False, observed=True)
        if name != main
    ]
    return tuple(matrix.reindex(columns=regions_level.matrix.columns) for matrix in matrices)


def _level(main: pd.DataFrame, name: str, rows: pd.DataFrame) -> Level:
    matrix = regions.person_matrix(rows, name)
    if name == words.REGION.key:
        matrix = matrix.dropna(axis="columns", how="all")
        labels = main.drop_duplicates("index").set_index("index")[regions.REGION[1:]]
        return Level(name, rows, matrix, labels.loc[matrix.columns].reset_index())
    return Level(name, rows, matrix, pd.DataFrame({"name": matrix.columns.astype(str)}))


def scaled_importance(level: Level) -> pd.DataFrame:
    """Published importance scaled from 0 to 1 over the regions or groups of each participant.

    As He et al. 2025 scale it over the regions of a person; scans of one person are averaged
    first. Participants by regions or groups; NaN for people of unknown age.
    """
    importance = regions.person_matrix(level.rows, level.name, "nosa_importance")
    importance = importance.reindex(columns=level.matrix.columns).astype(float)
    low, high = importance.min(axis="columns"), importance.max(axis="columns")
    span = (high - low).where(high > low)
    return importance.sub(low, axis="index").div(span, axis="index")


def _missing_groups(
    levels: Sequence[Level], main: pd.DataFrame, groups: pd.DataFrame
) -> list[Note]:
    means = [level.name for level in levels if words.is_mean_level(level.name)]
    n_without = len(set(main["scan"].unique()) - set(groups["scan"].unique()))
    remedy = "run the participant level again to have them occluded as one"
    if means:
        sentence = (
            f"Nobody's derivatives hold these groups occluded as one: {', '.join(means)} are means "
            "over their regions, each occluded by itself, weighted by volume. That is no effect "
            f"of the group; {remedy}."
        )
        return [Note("occlusionstats", sentence)]
    if n_without and not groups.empty:
        who = "1 scan has" if n_without == 1 else f"{n_without} scans have"
        sentence = (
            f"{who} no table of groups occluded as one: not in the levels of groups; {remedy}."
        )
        return [Note("occlusionstats", sentence)]
    return []
