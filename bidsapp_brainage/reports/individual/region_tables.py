"""What the page shows of the regions of one atlas: their table, and a few sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES
from bidsapp_brainage.catalogue.lookup import output
from bidsapp_brainage.reports.html import Table, as_float, decimals, largest, number, slug
from bidsapp_brainage.reports.individual.method_tables import Part, method_tables
from bidsapp_brainage.reports.individual.results import RegionResult, ScanResult
from bidsapp_brainage.reports.tables import Show, tabulate, with_values

NEGLIGIBLE_YEARS = 0.1
#: Further columns of the table, with heading and help.
SHOWN = tuple(column for column in output("table").columns if any(column.shown))


@dataclass(frozen=True)
class RegionsView:
    """Tables about the contributions of regions."""

    title: str
    sentence: str
    regions: Table | None
    further: tuple[Part, ...]
    notes: tuple[str, ...]


def regions_view(scan: ScanResult, model: str, result: RegionResult) -> RegionsView:
    """Tables of one atlas; ``regions`` is None when the file is missing or broken."""
    title = result.atlas or "Atlas"
    rows = region_rows(result)
    if rows is None or result.table is None:
        return RegionsView(title, "The table of regions is missing or unreadable.", None, (), ())
    known = rows.dropna(subset=["delta_age"])
    identifier = slug("regions", scan.label, model, result.atlas)
    return RegionsView(
        title=title,
        sentence=_region_sentence(rows, known),
        regions=_region_table(rows, identifier, result.table.path.name),
        further=tuple(method_tables(result.tables, identifier)),
        notes=_region_notes(rows),
    )


def region_rows(result: RegionResult) -> pd.DataFrame | None:
    """Rows of the table of regions with all columns that are looked at; None when unreadable."""
    if result.table is None or result.table.rows is None or result.table.rows.empty:
        return None
    return _with_columns(result.table.rows)


def _with_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the table all columns that are looked at, and words for sides."""
    wanted = (
        "name", "hemisphere", "lobe", "network", "baseline", "n_voxels", "volume_mm3", "delta_age",
        "rank", *(column.name for column in SHOWN),
    )  # fmt: skip
    full = rows.reindex(columns=[*rows.columns, *(name for name in wanted if name not in rows)])
    return full.assign(hemisphere=full["hemisphere"].map(lambda side: SIDES.get(side, side)))


def _region_table(rows: pd.DataFrame, identifier: str, file_name: str) -> Table:
    """One row per region; columns without any value are left out."""
    ordered = rows.sort_values("rank", kind="stable", na_position="last")
    most = largest(ordered["delta_age"])
    digits = decimals(most)
    places = [Show("lobe", "Lobe", "name"), Show("network", "Network", "name")]
    if rows["baseline"].nunique() > 1:
        places.append(Show("baseline", "Filled with", "name"))
    further = [
        Show(
            column.name,
            column.shown[0],
            "signed" if column.minimum is None else "number",
            decimals(largest(ordered[column.name])),
            column.shown[1],
        )
        for column in SHOWN
    ]
    without = "predicted age without minus with it, years"
    columns = [
        Show("name", "Region", "name"),
        Show("rank", "Rank", "rank", sorted="ascending"),
        Show("hemisphere", "Side", "name"),
        *with_values(ordered, places),
        Show("volume", "Volume (ml)", "number", 1),
        Show("delta_age", "Contribution", "signed", digits, without, most),
        *with_values(ordered, further),
    ]
    ordered = ordered.assign(volume=ordered["volume_mm3"] / 1000)
    caption = f"Contributions of all {len(rows)} regions, in years ({file_name})."
    return tabulate(identifier, caption, columns, ordered, searchable=True)


def _region_sentence(rows: pd.DataFrame, known: pd.DataFrame) -> str:
    empty = int((rows["n_voxels"] == 0).sum())
    parts = [f"{len(rows)} regions" + (f", {empty} of them empty in this scan." if empty else ".")]
    if not known.empty:
        strongest = known.iloc[int(np.nanargmax(known["delta_age"].abs()))]
        change = float(strongest["delta_age"])
        effect = "older" if change < 0 else "younger"
        parts.append(
            f"Strongest: {strongest['name']}; without it the predicted age changes by "
            f"{_years(change)} years, so it made this brain look {effect}."
        )
    return " ".join(parts)


def _region_notes(rows: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    most = largest(rows["delta_age"])
    if most is not None and most < NEGLIGIBLE_YEARS:
        notes.append(
            f"No region changes the predicted age by more than {_years(most).lstrip('+')} years: "
            "this model hardly uses single regions of this scan, and the order means little."
        )
    if rows["nosa_importance"].isna().all():
        notes.append("NOSA importance is n/a: its definition needs the chronological age.")
    if rows["z_null"].isna().all():
        notes.append(
            "No size-matched null was computed: large regions tend to have large contributions, "
            "so compare the columns per ml and size-adjusted as well."
        )
    return tuple(notes)


def _years(value: object) -> str:
    """Signed change of age with as many decimals as it needs."""
    return number(value, decimals(as_float(value)), signed=True)
