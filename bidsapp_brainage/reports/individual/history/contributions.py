"""Contributions of regions in several scans of one person: differences, and the same slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.lookup import baseline_title
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.reports.figures.mosaic import Volume, read_volume
from bidsapp_brainage.reports.figures.side_by_side import Row, side_by_side
from bidsapp_brainage.reports.html import Table, decimals, largest, slug, svg_uri
from bidsapp_brainage.reports.individual.history import detectable
from bidsapp_brainage.reports.individual.region_tables import region_rows
from bidsapp_brainage.reports.individual.results import PredictionResult, RegionResult
from bidsapp_brainage.reports.tables import Show, tabulate, with_values
from bidsapp_brainage.stats.agreement.change import Change
from bidsapp_brainage.stats.regional.signs import Sign

_Scan = TypeVar("_Scan")
MOST_ROWS = 6  # scans in a figure; more are too small to see, and too large for a page
SHOWN = 20  # regions with the largest differences

#: From the least to the most doubtful.
_DOUBT: tuple[Sign, ...] = ("stable", "negligible", "uncertain", "opposite")

_STRIPED = " Striped: the sign is not stable; in the last row, in one of both scans."

#: A scan with its label, and the contributions of one atlas with their table.
_Explained = tuple[str, PredictionResult, RegionResult, pd.DataFrame]

#: Scans with their labels, in the order of the ages.
Scans = Sequence[tuple[str, PredictionResult]]


@dataclass(frozen=True)
class Picture:
    """A figure with its words."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class AtlasHistory:
    """Contributions of one atlas: the difference of the last from the first scan."""

    title: str
    sentence: str
    picture: Picture | None
    table: Table


def inputs_picture(scans: Scans) -> Picture | None:
    """What the network saw of each scan, in the same slices; None where an image is missing."""
    rows = _rows(_chosen(scans))
    if rows is None:
        return None
    caption = (
        f"What the network saw, from top to bottom: {_listed(rows)}. Same slices and same greys in "
        "every row, so that a difference between rows is one between images."
    )
    text = side_by_side(rows, title="Inputs of the network, one row per scan")
    return Picture(svg_uri(text), "Inputs of the network, one row of slices per scan", caption)


def atlas_history(output_dir: Path, model: str, atlas: str, scans: Scans) -> AtlasHistory | None:
    """Contributions with one atlas in all scans that have them; None with fewer than two."""
    found = [
        (label, result, regions, rows)
        for label, result in scans
        for regions in result.regions
        if regions.atlas == atlas and (rows := region_rows(regions)) is not None
    ]
    if len(found) < 2:
        return None
    (first, _, regions, before), (last, _, _, after) = found[0], found[-1]
    fills = [set(rows["baseline"].dropna()) for rows in (before, after)]
    if fills[0] != fills[1]:
        return None  # contributions with other replacements are other quantities
    assert regions.table is not None
    limits = detectable.of_regions(output_dir, model, regions.table.path)
    joined = _differences(before, after, limits)
    fill = ", ".join(baseline_title(str(name)) for name in sorted(fills[0]))
    return AtlasHistory(
        title=atlas or "Atlas",
        sentence=_sentence(joined, limits, (first, last)),
        picture=_maps_picture(found, fill),
        table=_table(slug("differences", model, atlas), joined, (first, last)),
    )


def _differences(before: pd.DataFrame, after: pd.DataFrame, limits: pd.Series) -> pd.DataFrame:
    """One row per region, the largest difference first."""
    one, two = (rows.drop_duplicates("index").set_index("index") for rows in (before, after))
    last = two["delta_age"].rename("delta_age_last")
    joined = one[["name", "hemisphere", "delta_age"]].join(last, how="inner")
    joined["difference"] = joined["delta_age_last"] - joined["delta_age"]
    joined["detectable"] = limits.reindex(joined.index)
    signs = pd.concat([one["sign"], two["sign"]], axis=1).reindex(joined.index)
    joined["sign"] = [
        None if set(pair) - set(_DOUBT) else max(pair, key=_DOUBT.index)
        for pair in signs.itertuples(index=False, name=None)
    ]
    joined["reading"] = [
        Change(value, detectable=None if np.isnan(limit) else limit).reading
        for value, limit in zip(joined["difference"], joined["detectable"], strict=True)
    ]
    size = joined["difference"].abs()
    return joined.loc[size.sort_values(ascending=False, kind="stable").index].reset_index()


def _sentence(joined: pd.DataFrame, limits: pd.Series, ends: tuple[str, str]) -> str:
    what = f"Differences of contributions, {ends[1]} minus {ends[0]}."
    if limits.empty:
        return (
            f"{what} How much contributions differ between two scans of the same person when "
            "nothing changed is not known, so none of these differences can be told from error of "
            "measurement."
        )
    beyond = int((joined["reading"] == "beyond").sum())
    known = int(joined["detectable"].notna().sum())
    by_chance = round(0.05 * known)
    return (
        f"{what} {beyond} of {known} regions differ by more than their smallest detectable change; "
        f"about {by_chance} would if nothing changed."
    )


def _table(identifier: str, joined: pd.DataFrame, ends: tuple[str, str]) -> Table:
    shown = joined.head(SHOWN)
    most = largest(shown["difference"])
    digits = decimals(most)
    columns = [
        Show("name", "Region", "name"),
        Show("hemisphere", "Side", "name"),
        Show("delta_age", ends[0], "signed", digits, short=True),
        Show("delta_age_last", ends[1], "signed", digits, short=True),
        Show("difference", "Difference", "signed", digits, "later minus earlier, years", most),
        *with_values(
            shown,
            [
                Show("sign", "Sign", "sign", help="the more doubtful one of both scans"),
                Show("detectable", "Smallest detectable", "number", digits, short=True),
            ],
        ),
        Show("reading", "The difference is", cell=detectable.reading_cell),
    ]
    caption = (
        f"Contributions in years; the {len(shown)} of {len(joined)} regions with the largest "
        "differences."
    )
    return tabulate(identifier, caption, columns, shown)


def _maps_picture(found: Sequence[_Explained], fill: str) -> Picture | None:
    """Contributions over the inputs, one row per scan and one for the difference."""
    chosen = _chosen(found)
    anatomy = _rows([(label, model) for label, model, _, _ in chosen])
    if anatomy is None:
        return None
    rows = []
    try:
        for row, (_, _, own, regions) in zip(anatomy, chosen, strict=True):
            effect = _volume(own.map_file, row.anatomy)
            if effect is None:
                return None
            rows.append(replace(row, effect=effect, striped=_doubtful(effect, regions)))
    except DataError:
        return None
    rows.append(_difference_row(rows[0], rows[-1]))
    striped = any(row.striped is not None and row.striped.data.any() for row in rows)
    caption = (
        f"Contributions of regions, from top to bottom: {_listed(rows)}. Same slices and same "
        "colours in every row. Red: the region made the brain look older (in the last row, "
        f"older than before); blue: younger.{_STRIPED if striped else ''}"
    )
    text = side_by_side(
        rows, title="Contributions of regions, one row per scan", how=f"replaced by: {fill}"
    )
    return Picture(svg_uri(text), "Contributions of regions, one row of slices per scan", caption)


def _difference_row(first: Row, last: Row) -> Row:
    assert first.effect is not None
    assert last.effect is not None
    volumes = [row.striped.data for row in (first, last) if row.striped is not None]
    striped = Volume(np.any([values > 0 for values in volumes], axis=0), last.effect.affine)
    difference = Volume(last.effect.data - first.effect.data, last.effect.affine)
    return Row("difference, last minus first", last.anatomy, difference, striped)


def _doubtful(effect: Volume, rows: pd.DataFrame) -> Volume:
    """Where a map, painted with one value per region, shows regions without a stable sign."""
    known = rows.dropna(subset=["delta_age"]).sort_values("delta_age")
    if known.empty:
        return Volume(np.zeros(effect.data.shape, bool), effect.affine)
    values, flags = known["delta_age"].to_numpy(), known["doubtful"].to_numpy(dtype=bool)
    nearest = np.searchsorted((values[1:] + values[:-1]) / 2, effect.data)
    return Volume(flags[nearest] & (effect.data != 0), effect.affine)


def _rows(chosen: Scans) -> list[Row] | None:
    """Inputs of the network on one grid; None if one is missing, unreadable or on another grid."""
    rows: list[Row] = []
    try:
        for label, model in chosen:
            volume = _volume(model.input_image, rows[0].anatomy if rows else None)
            if volume is None:
                return None
            rows.append(Row(label, volume))
    except DataError:
        return None
    return rows


def _volume(path: Path | None, like: Volume | None) -> Volume | None:
    return None if path is None else read_volume(path, like=like)


def _chosen(scans: Sequence[_Scan]) -> Sequence[_Scan]:
    """All scans, or so many of them, evenly spread with the first and the last."""
    if len(scans) <= MOST_ROWS:
        return scans
    return [scans[place] for place in np.linspace(0, len(scans) - 1, MOST_ROWS).round().astype(int)]


def _listed(rows: Sequence[Row]) -> str:
    return "; ".join(row.title for row in rows)
