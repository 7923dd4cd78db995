"""Gaps, contributions and volumes without what sites do to them, fitted on reference people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group.calibration import UNUSABLE
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.group.regional.levels import Level
from bidsapp_brainage.settings import Harmonise
from bidsapp_brainage.stats.correction.combat import (
    MIN_REFERENCE,
    SiteEffects,
    share_of_sites,
    site_effects,
)
from bidsapp_brainage.stats.design import MOST_MISSING, SMALL_SITE
from bidsapp_brainage.stats.intervals import Floats

TOPIC = "harmonisation"
GAP = "gap"
HARMONISED = "gap_harmonised"
WHOLE = "all"


@dataclass(frozen=True)
class Harmonised:
    """What harmonising the sites gave.

    Attributes
    ----------
    gap : Series
        On the index of the scans; missing at sites that were refused.
    contributions : tuple of DataFrame
        Of each atlas, scans by regions (years).
    volumes : DataFrame
        Scans by regions and their sums (mL); empty without volumes.
    table : DataFrame
        What was estimated, one row per measure and site, and one of each measure for all sites.
    notes : tuple of Note
    """

    gap: pd.Series
    contributions: tuple[pd.DataFrame, ...]
    volumes: pd.DataFrame
    table: pd.DataFrame
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class _Scans:
    """Sites and covariates of scans, whom the effects are fitted on, and why sites are refused.

    `sites` is empty where nothing is known, and `covariates` has no missing values in reference
    people. Both, and `people` and `is_reference`, are in the order of the scans, `names`.
    """

    names: pd.Index
    people: pd.Series
    sites: pd.Series
    covariates: pd.DataFrame
    is_reference: pd.Series
    refused: Mapping[str, str]


def harmonise(
    scans: pd.DataFrame,
    is_reference: pd.Series,
    levels: Sequence[tuple[str, Level]],
    method: Harmonise,
    volumes: pd.DataFrame | None = None,
) -> Harmonised:
    """Remove the effects of sites on gaps, contributions and volumes, those of age and sex kept.

    Parameters
    ----------
    scans : DataFrame
        From :func:`bidsapp_brainage.group.sample.scan_table`.
    is_reference : Series of bool
        Scans of the reference people, same index. Those of unusable quality are not fitted on.
    levels : sequence of (str, Level)
        Title of an atlas, and the contributions of its regions.
    method : str
        Of the option ``harmonise``, not ``none``. A gap is one measure, with nothing to shrink its
        level and spread towards.
    volumes : DataFrame, optional
        ``scan``, ``name`` of a region or of a sum of regions, and ``volume_ml``.

    Raises
    ------
    DataError
        There are no two sites with reference people, or they differ in sex or age so that nothing
        can be told about the sites.
    """
    known = _described(scans, is_reference)
    gap, rows = _removed(scans[[GAP]].set_axis(known.names), known, GAP, method)
    contributions = []
    for title, level in levels:
        matrix = level.by_scan.reindex(index=known.names, columns=level.matrix.columns)
        of_regions, more = _removed(matrix, known, f"contributions ({title})", method)
        contributions.append(of_regions.dropna(how="all"))
        rows += more
    of_brain = pd.DataFrame()
    if volumes is not None and len(volumes):
        matrix = volumes.pivot_table("volume_ml", "scan", "name", sort=False, observed=True)
        of_brain, more = _removed(matrix.reindex(index=known.names), known, "volumes", method)
        of_brain = of_brain.dropna(how="all")
        rows += more
    table = pd.DataFrame(rows).reindex(columns=columns_of(TOPIC))
    of_gap = pd.Series(gap[GAP].to_numpy(), index=scans.index, name=HARMONISED)
    notes = tuple(_notes(table, known))
    return Harmonised(of_gap, tuple(contributions), of_brain, table, notes)


def harmonised_table(level: Level, values: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """One row per scan and region: contribution as computed, and harmonised."""
    people = scans.drop_duplicates("scan").set_index("scan")["participant_id"]
    before = level.by_scan.reindex(index=values.index, columns=values.columns)
    n_regions = values.shape[1]
    return pd.DataFrame(
        {
            "participant_id": np.repeat(people.loc[values.index].to_numpy(), n_regions),
            "scan": np.repeat(values.index.to_numpy(), n_regions),
            "index": np.tile(values.columns.to_numpy(), len(values)),
            "name": np.tile(np.asarray(level.titles, dtype=object), len(values)),
            "delta_age": before.to_numpy().ravel(),
            "delta_age_harmonised": values.to_numpy().ravel(),
        }
    )


def volume_table(volumes: pd.DataFrame, values: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """One row per scan and region, or sum of regions: volume as computed, and harmonised.

    `volumes` are rows of ``*_volumes.tsv`` with their ``scan``, `values` scans by names (mL).
    """
    people = scans.drop_duplicates("scan").set_index("scan")["participant_id"]
    rows = volumes[volumes["scan"].isin(values.index)]
    row, column = (
        axis.get_indexer(pd.Index(rows[name].astype(object)))
        for axis, name in ((values.index, "scan"), (values.columns, "name"))
    )
    return rows.assign(
        participant_id=rows["scan"].astype(object).map(people),
        volume_ml_harmonised=values.to_numpy()[row, column],
    ).reindex(columns=columns_of("harmonisedvolumes"))


def _described(scans: pd.DataFrame, is_reference: pd.Series) -> _Scans:
    index = pd.Index(scans["scan"])
    sites = scans["site"].astype(object).map(str, na_action="ignore").set_axis(index)
    covariates = pd.DataFrame({"age": scans["chronological_age"].set_axis(index)})
    sex = scans["sex"].astype(object).set_axis(index)
    if sex.nunique() > 1 and sex.isna().mean() <= MOST_MISSING:
        codes = pd.get_dummies(sex, prefix="sex", dtype=float).iloc[:, 1:]
        covariates = covariates.join(codes.where(sex.notna(), np.nan))
    usable = is_reference.astype(bool) & (scans["qc_flag"] != UNUSABLE) & scans[GAP].notna()
    fitted = usable.set_axis(index) & covariates.notna().all(axis=1) & sites.notna()
    people = scans["participant_id"].set_axis(index)
    counts = people[fitted].groupby(sites[fitted]).nunique()
    refused = {
        site: f"{n} reference people of known age, and at least {MIN_REFERENCE} are needed"
        for site in sorted(sites.dropna().unique())
        if (n := int(counts.get(site, 0))) < MIN_REFERENCE
    }
    if len(counts) - len(set(counts.index) & set(refused)) < 2:
        told = "; ".join(f"site {site}: {why}" for site, why in refused.items())
        raise DataError(
            f"`harmonise`: fewer than two sites have reference people ({told or 'one site'}). Name "
            "the column of the sites (`site_column`) and the controls (`group_column`, "
            "`reference_group`), put small sites together, or run without this option."
        )
    fitted &= ~sites.isin(list(refused))
    same = [
        name for name in map(str, covariates.columns[1:]) if covariates[name][fitted].nunique() < 2
    ]
    covariates = covariates.drop(columns=same)  # controls of one sex tell nothing about it
    return _Scans(index, people, sites.mask(sites.isin(list(refused))), covariates, fitted, refused)


def _removed(
    values: pd.DataFrame, known: _Scans, measure: str, method: Harmonise
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Values of scans by measures without the effects of sites, and rows of the table."""
    used = known.is_reference & values.notna().any(axis=1)
    together = pd.concat([values, known.covariates], axis=1)[used]
    keys = [known.people[used], known.sites[used]]
    means = together.groupby(keys).mean()
    counts = means.groupby(level=1).size()
    few = {
        str(site): f"{n} reference people with values, and at least {MIN_REFERENCE} are needed"
        for site, n in counts.reindex(known.sites.dropna().unique(), fill_value=0).items()
        if n < MIN_REFERENCE
    }
    means = means[~means.index.get_level_values(1).isin(list(few))]
    known = replace(known, refused={**known.refused, **few})
    people, terms = means.iloc[:, : values.shape[1]], means.iloc[:, values.shape[1] :]
    whole = people.notna().all() & (people.std() > 0)
    sites = means.index.get_level_values(1).to_numpy().astype(str)
    reference, x = people.loc[:, whole].to_numpy(float), terms.to_numpy(float)
    combat = method == "combat"
    result = pd.DataFrame(np.nan, index=values.index, columns=values.columns)
    if len(set(sites)) < 2 or not reference.size:
        remark = "fewer than two sites have values of reference people"
        return result, [
            {"measure": measure, "site": WHOLE, "harmonised": "false", "remark": remark}
        ]
    try:
        effects = site_effects(reference, sites, x, scales=combat, pooled=combat)
    except ValueError as error:
        raise DataError(
            f"`harmonise`: in the reference people the sites cannot be told from their age or sex "
            f"({error}): every site needs people of both, as the others have. Add controls, put "
            "sites together (`site_column`), or run without this option."
        ) from error
    of_scans = known.sites.fillna("").to_numpy().astype(str)
    result.loc[:, whole.to_numpy()] = effects.removed(
        values.loc[:, whole.to_numpy()].to_numpy(float), of_scans, known.covariates.to_numpy(float)
    )
    after = effects.removed(reference, sites, x)
    return result, _rows(known, measure, (reference, after), effects, sites, x)


def _rows(
    known: _Scans,
    measure: str,
    values: tuple[Floats, Floats],
    effects: SiteEffects,
    sites: np.ndarray,
    covariates: Floats,
) -> list[dict[str, Any]]:
    """What the effects are, for all sites together and each."""
    ends = ("before", "after")
    rests = [effects.standardised(part, covariates) for part in values]
    slopes = [_slopes(part, sites, covariates) for part in values]
    whole: dict[str, Any] = {
        "measure": measure,
        "site": WHOLE,
        "n_measures": values[0].shape[1],
        "n_participants": known.people[known.sites.notna()].nunique(),
        "n_reference": len(sites),
        "site_share_chance": (len(effects.sites) - 1) / (len(sites) - covariates.shape[1] - 1),
    }
    for end, part, slope in zip(ends, values, slopes, strict=True):
        whole[f"site_share_{end}"] = share_of_sites(part, sites, covariates).mean()
        whole[f"age_slope_{end}"] = np.sqrt(np.mean((10 * slope) ** 2))
    rows = [whole]
    for site in [*effects.sites, *known.refused]:
        own, at = sites == site, known.sites == site
        row: dict[str, Any] = {"measure": measure, "site": site, "n_reference": int(own.sum())}
        if site in known.refused:
            rows.append(row | {"harmonised": "false", "remark": known.refused[site]})
            continue
        ages = covariates[own, 0]
        row |= {
            "harmonised": "true",
            "n_participants": known.people[at].nunique(),
            "reference_age_min": ages.min(),
            "reference_age_max": ages.max(),
            "remark": _remark(own, covariates[:, 0]),
        }
        for end, rest in zip(ends, rests, strict=True):
            row[f"offset_{end}"] = np.sqrt(np.mean(rest[own].mean(axis=0) ** 2))
            row[f"sd_ratio_{end}"] = np.median(rest[own].std(axis=0, ddof=1))
        rows.append(row)
    numbers = [f"{name}_{end}" for name in ("offset", "site_share") for end in ends]
    for row in rows:
        row |= {name: round(float(row[name]), 9) for name in numbers if name in row}  # no 1e-17
    return rows


def _slopes(values: Floats, sites: np.ndarray, covariates: Floats) -> Floats:
    """Slope of each measure on age, given sex and site."""
    is_there = (sites[:, None] == np.unique(sites)).astype(np.float64)
    return np.asarray(np.linalg.lstsq(np.hstack([covariates, is_there]), values)[0][0])


def _remark(own: np.ndarray, age: Floats) -> str | None:
    sentences = []
    if own.sum() < SMALL_SITE:
        sentences.append(f"few reference people ({own.sum()})")
    if age[own].max() < age[~own].min() or age[own].min() > age[~own].max():
        sentences.append("nobody at another site is of the age of its reference people: what is "
            "removed may be age")  # fmt: skip
    return "; ".join(sentences) or None


def _notes(table: pd.DataFrame, known: _Scans) -> list[Note]:
    """How it was made, then what to be wary of."""
    names = " and ".join(name.split("_")[0] for name in known.covariates.columns[:2])
    notes = [
        Note(
            TOPIC,
            f"Effects of {table['site'].nunique() - 1 - len(known.refused)} sites on gaps and on "
            "contributions and volumes of regions were fitted on "
            f"{int(table['n_reference'].max())} reference people, with those of {names} kept. "
            "Harmonised values are further columns; all other tables and figures are of values as "
            "computed. Reference people took part in the fit, so that their harmonised values "
            "differ less than those of others.",
        )
    ]
    for site, why in known.refused.items():
        sentence = f"Site {site} is not harmonised: {why}. Its people have no harmonised values."
        notes.append(Note(TOPIC, sentence, "warning"))
    told = table[table["remark"].notna() & ~table["site"].isin(list(known.refused))]
    notes += [
        Note(TOPIC, f"Site {row['site']}, {row['measure']}: {row['remark']}.", "warning")
        for row in told.to_dict("records")
    ]
    return notes
