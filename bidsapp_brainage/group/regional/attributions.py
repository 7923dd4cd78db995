"""Second opinions over people: mean of every region, spread over people and over members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.group.notes import Findings, findings
from bidsapp_brainage.stats import lifespan
from bidsapp_brainage.stats.intervals import mean_with_interval
from bidsapp_brainage.stats.regional import regions

EVERYBODY = "all"
COLUMNS = tuple(columns_of("attributionstats"))
_VALUES = (
    *("delta_age", "delta_age_sd_members", "importance", "importance_sd_members"),
    *("importance_per_ml", "z_null", "volume_mm3"),
)


def mean_attributions(frames: Mapping[str, pd.DataFrame], ages: pd.Series) -> Findings:
    """Means of all attributions that the participant level wrote, as the columns ``COLUMNS``.

    The unit is the participant: scans of one person are averaged first.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        By the key of the method, one row per scan, baseline and region.
    ages : Series
        Years, by participant.
    """
    groups = lifespan.age_group(ages)
    tables = [
        _means(rows, groups).assign(method=card.key, baseline=baseline)
        for card in lookup.methods("attribution")
        for baseline, rows in _by_baseline(frames.get(card.key))
    ]
    if not tables:
        return Findings({})
    table = pd.concat([part.dropna(axis="columns", how="all") for part in tables])
    return findings("attributionstats", table.reset_index(drop=True).reindex(columns=list(COLUMNS)))


def _by_baseline(rows: pd.DataFrame | None) -> Iterator[tuple[str | None, pd.DataFrame]]:
    if rows is None or rows.empty:
        return
    for baseline, part in rows.groupby("baseline", dropna=False, sort=False, observed=True):
        yield (None if pd.isna(baseline) else str(baseline)), part


def _means(rows: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Rows of one method and baseline: everybody, then the age groups that have people."""
    people = {
        name: regions.person_matrix(rows, "region", name).astype(float)
        for name in _VALUES
        if name in rows
    }
    described = (
        rows.drop_duplicates("index").reindex(columns=regions.REGION).set_index("index", drop=False)
    )
    named = groups.reindex(people["importance"].index)
    parts = [_one_group(people, described, named.index).assign(age_group=EVERYBODY)]
    for name in lifespan.age_group_names():
        members = named.index[named == name]
        if len(members):
            parts.append(_one_group(people, described, members).assign(age_group=name))
    return pd.concat(parts, ignore_index=True)


def _one_group(
    people: Mapping[str, pd.DataFrame], described: pd.DataFrame, members: pd.Index
) -> pd.DataFrame:
    of_group = {
        name: table.reindex(index=members, columns=described.index)
        for name, table in people.items()
    }
    table = described.reset_index(drop=True)
    means = {name: part.mean().to_numpy() for name, part in of_group.items()}
    kinds = ("delta_age", "importance", "importance_per_ml")
    found = {
        kind: [mean_with_interval(of_group[kind][i]) for i in described.index] for kind in kinds
    }
    table["n_participants"] = count = np.array([mean.n for mean in found["importance"]])
    for kind in kinds:
        table[f"sd_{kind}"] = [mean.sd for mean in found[kind]]
        table[f"se_{kind}"] = table[f"sd_{kind}"] / np.sqrt(np.maximum(count, 1))
    signed = bool(np.isfinite(means["delta_age"]).any())
    of_interval = found["delta_age" if signed else "importance_per_ml"]
    table["ci95_lower"] = [mean.lower for mean in of_interval]
    table["ci95_upper"] = [mean.upper for mean in of_interval]
    table = table.assign(**{f"mean_{name}": values for name, values in means.items()})
    rank = table["mean_importance"].rank(ascending=False, method="min")
    return table.assign(rank=rank.astype("Int64"))
