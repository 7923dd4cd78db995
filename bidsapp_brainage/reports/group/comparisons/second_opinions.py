"""What the group page shows of other methods than occlusion: maps over people, and regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bidsapp_brainage.bids.names import output_name, parse_name, sidecar_path
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.cards import Output
from bidsapp_brainage.group.population import stored_maps
from bidsapp_brainage.group.regional.attributions import EVERYBODY
from bidsapp_brainage.io import load_nifti, read_json
from bidsapp_brainage.reports.group import curves
from bidsapp_brainage.reports.group.comparisons import figures
from bidsapp_brainage.reports.group.comparisons.figures import Strip
from bidsapp_brainage.reports.group.figures import mean_anatomy
from bidsapp_brainage.reports.group.pictures import Gallery, Picture, anatomies
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import Table, count
from bidsapp_brainage.reports.tables import INTERVAL, PEOPLE, Show, tabulate, with_values

MANY_REGIONS = 20  # of the picture over ages
_OLDER = "Red: makes the brain look older; blue: younger."
_NO_SIGN = "Bright: what the network needs; the method has no sign."
_YEAR = "year"
_PLACES = (Show("hemisphere", "Side", "side"), Show("network", "Network", "name"))
_SPREAD = (
    Show(
        "spread", "SD, members", "number", 3, "over the members of the ensemble, mean over people"
    ),
)
_NULL = (
    Show("mean_z_null", "z (null)", "signed", 2, "against random parcels of the same size",
         ascending=True),
)  # fmt: skip


def population_section(results: StoredResults, gallery: Gallery) -> list[dict[str, object]]:
    """Mean map, its standard error and those of age groups, for each method that has them."""
    paths = stored_maps(results.output_dir, results.label)
    shown = []
    for card in lookup.voxel_maps():
        mean, error = (_of(paths, card, ending, results.label) for ending in ("_mean", "_se"))
        if "" not in mean:
            continue
        shown.append(
            {
                "title": card.title,
                "text": card.reading or card.description,
                "mean": _mean_picture(results, gallery, card, mean[""], error.get("")),
                "ages": _age_picture(results, gallery, card, mean),
            }
        )
    return shown


def _of(paths: list[Path], card: Output, ending: str, label: str) -> dict[str, Path]:
    """Maps of one method by age group; that of everybody has an empty one."""
    wanted = output_name(card.key + ending, label)
    found = {}
    for path in paths:
        name = parse_name(path)
        if (name["suffix"], name["desc"]) == (wanted["suffix"], wanted["desc"]):
            found[name.get("cohort", "")] = path
    return found


def _mean_picture(
    results: StoredResults, gallery: Gallery, card: Output, mean: Path, error: Path | None
) -> Picture:
    """Slices of the mean over everybody, and of its standard error below it."""
    rows = [Strip("mean", load_nifti(mean), card.units == _YEAR)]
    rows += [] if error is None else [Strip("standard error", load_nifti(error), signed=False)]
    return _slices(
        results, gallery, card, rows, parse_name(mean)["tpl"],
        who=f"over {count(_people(mean), 'participant')}",
        more="" if error is None else " Second row: standard error of the mean over people, in "
        "colours of its own.",
    )  # fmt: skip


def _age_picture(
    results: StoredResults, gallery: Gallery, card: Output, means: Mapping[str, Path]
) -> Picture | None:
    """Slices of the mean of each age group, if there are any."""
    ages = {cohort: path for cohort, path in means.items() if cohort}
    rows = [
        Strip(
            f"{cohort.replace('to', '-')} y, n = {_people(path)}",
            load_nifti(path),
            card.units == _YEAR,
        )
        for cohort, path in ages.items()
    ]
    if not rows:
        return None
    space = parse_name(means[""])["tpl"]
    return _slices(results, gallery, card, rows, space, who="by age group", kind="ages")


def _slices(
    results: StoredResults,
    gallery: Gallery,
    card: Output,
    rows: list[Strip],
    space: str,
    *,
    who: str,
    more: str = "",
    kind: str = "",
) -> Picture:
    signed, image = card.units == _YEAR, rows[0].image
    below = anatomies(results, space, image.shape, image.affine)
    figure = figures.strips(
        rows,
        mean_anatomy(below) if below else None,
        unit="years per voxel" if signed else "importance",
        shared=bool(kind),
    )
    return gallery.picture(
        figure,
        card.key.replace("_", "") + kind,
        f"Axial slices of the mean map {who}: {card.title}",
        f"Mean {who}, brought to {space} by each person's nonlinear registration; the anatomy "
        "below is the mean of images aligned affinely. Left of the picture is left of the brain. "
        f"{_OLDER if signed else _NO_SIGN}{more}",
        look="brain",
    )


def _people(path: Path) -> int:
    found = read_json(sidecar_path(path)).get("NumberOfParticipants")
    return found if isinstance(found, int) else 0


def region_sections(
    results: StoredResults, entities: Mapping[str, str], gallery: Gallery, identifier: str
) -> list[dict[str, object]]:
    """Regions of one atlas by each method and baseline, with the picture over age groups."""
    rows = results.rows("attributionstats", entities, needs=("method", "age_group", "baseline"))
    if rows.empty:
        return []
    shown = []
    explanations = rows["method"].str.cat(rows["baseline"].fillna(""), sep="_").str.rstrip("_")
    for number, (name, part) in enumerate(rows.groupby(explanations)):
        title = lookup.explanation_title(str(name))
        everybody = part[part["age_group"] == EVERYBODY]
        signed = bool(everybody["mean_delta_age"].notna().any())
        kind = "".join(filter(str.isalnum, str(name)))
        picture = gallery.picture(
            figures.region_bars(everybody, title, signed=signed),
            f"{kind}regions",
            f"Bar chart of the strongest regions: {title}",
            _OLDER if signed else "What each region needs per volume; the method has no sign.",
            entities=entities,
            data="attributionstats",
        )
        shown.append(
            {
                "title": title,
                "picture": picture,
                "ages": _over_ages(part, title, kind, entities, gallery) if signed else None,
                "table": _table(everybody, title, f"{identifier}-opinion-{number}", signed=signed),
            }
        )
    return shown


def _over_ages(
    part: pd.DataFrame, title: str, kind: str, entities: Mapping[str, str], gallery: Gallery
) -> Picture | None:
    """The strongest regions over age groups, if there are several."""
    everybody = part[part["age_group"] == EVERYBODY].dropna(subset=["mean_delta_age"])
    strongest = everybody.nsmallest(MANY_REGIONS, "rank")["name"]
    rows = part[(part["age_group"] != EVERYBODY) & part["name"].isin(strongest)]
    if rows["age_group"].nunique() < 2:
        return None
    return gallery.picture(
        curves.age_groups(rows.set_index("name").loc[strongest].reset_index(), title),
        f"{kind}ages",
        f"Mean contributions in groups of age: {title}",
        f"The {len(strongest)} strongest regions in the age groups of He et al. (2025), as a "
        f"description. {_OLDER}",
        entities=entities,
        data="attributionstats",
    )


def _table(rows: pd.DataFrame, title: str, identifier: str, *, signed: bool) -> Table:
    value = "mean_delta_age" if signed else "mean_importance_per_ml"
    error = "se_delta_age" if signed else "se_importance_per_ml"
    known = rows.assign(volume=rows["mean_volume_mm3"] / 1000)
    known["spread"] = figures.member_spread(rows, signed=signed)
    known = known.loc[known[value].abs().sort_values(ascending=False).index]
    mean = "Mean (years)" if signed else "Mean importance per mL"
    columns = [
        Show("name", "Region", "name"),
        *with_values(known, _PLACES),
        Show(value, mean, "signed" if signed else "number", 3, most=known[value].abs().max()),
        INTERVAL,
        Show(error, "SE", "number", 3, "standard error over people"),
        *with_values(known, _SPREAD),
        Show("volume", "Volume (mL)", "number", 1),
        *with_values(known, _NULL),
        PEOPLE,
    ]
    return tabulate(identifier, f"{title}: every region.", columns, known, searchable=True)
