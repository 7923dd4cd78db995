"""What the page shows of the regions of one atlas: their table, and a few sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES
from bidsapp_brainage.reports.html import (
    Column,
    Table,
    decimals,
    largest,
    number,
    number_cell,
    slug,
    text_cell,
)
from bidsapp_brainage.reports.individual.method_tables import Part, method_tables
from bidsapp_brainage.reports.individual.results import RegionResult, ScanResult

NEGLIGIBLE_YEARS = 0.1


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
        "delta_age_per_ml", "delta_age_adj", "nosa_importance", "z_null", "rank",
    )  # fmt: skip
    full = rows.reindex(columns=[*rows.columns, *(name for name in wanted if name not in rows)])
    return full.assign(hemisphere=full["hemisphere"].map(lambda side: SIDES.get(side, side)))


def _region_table(rows: pd.DataFrame, identifier: str, file_name: str) -> Table:
    """One row per region; columns without any value are left out."""
    ordered = rows.sort_values("rank", kind="stable", na_position="last")
    most = largest(ordered["delta_age"])
    digits = decimals(most)
    texts = {"lobe": "Lobe", "network": "Network"}
    if rows["baseline"].nunique() > 1:
        texts["baseline"] = "Filled with"
    numbers = {
        "delta_age_per_ml": (
            "Per ml",
            digits + 1,
            True,
            "contribution divided by volume, years per ml",
        ),
        "delta_age_adj": ("Size-adjusted", digits, True, "residual on the logarithm of the volume"),
        "nosa_importance": (
            "NOSA",
            digits,
            False,
            "published definition; needs the true age",
        ),
        "z_null": ("z (null)", 1, True, "against control regions of the same size"),
    }
    texts = {key: title for key, title in texts.items() if ordered[key].notna().any()}
    numbers = {key: facts for key, facts in numbers.items() if ordered[key].notna().any()}
    columns = [
        Column("Region"),
        Column("Rank", numeric=True, ascending=True, sorted="ascending"),
        Column("Side"),
        *(Column(title) for title in texts.values()),
        Column("Volume (ml)", numeric=True),
        Column("Contribution", numeric=True, help="predicted age without minus with it, years"),
        *(Column(title, numeric=True, help=help) for title, _, _, help in numbers.values()),
    ]
    cells = [
        [
            text_cell(row["name"]),
            number_cell(row["rank"], 0),
            text_cell(row["hemisphere"]),
            *(text_cell(row[key]) for key in texts),
            number_cell(row["volume_mm3"] / 1000, 1),
            number_cell(row["delta_age"], digits, signed=True, most=most),
            *(
                number_cell(row[key], places, signed=signed)
                for key, (_, places, signed, _) in numbers.items()
            ),
        ]
        for row in ordered.to_dict("records")
    ]
    caption = f"Contributions of all {len(rows)} regions, in years ({file_name})."
    return Table(identifier, caption, columns, cells, searchable=True)


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


def _years(value: Any) -> str:
    """Signed change of age with as many decimals as it needs."""
    return number(value, decimals(float(value)), signed=True)
