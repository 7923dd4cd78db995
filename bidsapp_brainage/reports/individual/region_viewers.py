"""The maps of regions of an individual report, as far as the page has room for them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bidsapp_brainage.catalogue.lookup import baseline_title, explanation_title
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.reports.html import slug
from bidsapp_brainage.reports.individual.method_tables import by_explanation
from bidsapp_brainage.reports.individual.region_tables import region_rows
from bidsapp_brainage.reports.individual.region_volumes import Measure, Viewer, region_viewer
from bidsapp_brainage.reports.individual.results import PredictionResult, RegionResult, ScanResult

ROOM = 2_400_000  # bytes of all maps of a page: those of about six scans
MEASURES = (
    Measure("delta_age", "contribution", "years"),
    Measure("delta_age_per_ml", "contribution per ml", "years/ml"),
    Measure("delta_age_adj", "contribution, size-adjusted", "years"),
    Measure("z_null", "z against control regions"),
    Measure("js_divergence", "change of the distribution", "nat", signed=False),
)


class RegionViewers:
    """Makes the maps of a page; those beyond its room are left out, their slices stay."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room

    def get(
        self, scan: ScanResult, model: PredictionResult, regions: RegionResult
    ) -> Viewer | None:
        """Map of one atlas in one scan; None without data, readable images or room."""
        rows = region_rows(regions)
        if rows is None or regions.map_file is None:
            return None
        rows, measures = _with_explanations(rows, regions)
        identifier = slug("brain", scan.label, model.model, regions.atlas)
        try:
            made = region_viewer(identifier, regions.map_file, model.input_image, rows, measures)
        except DataError:
            return None
        if made is None or made.size > self._room:
            return None
        self._room -= made.size
        return made


def _with_explanations(
    rows: pd.DataFrame, regions: RegionResult
) -> tuple[pd.DataFrame, tuple[Measure, ...]]:
    """Add the values of other baselines and methods as columns, and say how to show them."""
    own = set(rows["baseline"].dropna().astype(str))
    fill = ", ".join(baseline_title(name) for name in sorted(own))
    measures = [
        replace(measure, title=f"{measure.title} ({fill})") if own else measure
        for measure in MEASURES
    ]
    for number, (title, table) in enumerate(by_explanation(regions.tables).items()):
        if title in {explanation_title(f"occlusion_{baseline}") for baseline in own}:
            continue  # the table of regions has it
        signed = table["delta_age"].notna().any()
        key = f"explanation {number}"
        values = table.set_index("index")["delta_age" if signed else "importance_per_ml"]
        rows = rows.assign(**{key: rows["index"].map(values)})
        measures.append(Measure(key, title, "years" if signed else "", signed=bool(signed)))
    return rows, tuple(measures)
