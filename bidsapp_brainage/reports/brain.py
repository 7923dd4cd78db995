"""The maps of regions of an individual report, as far as the page has room for them."""

from __future__ import annotations

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.reports.subject import ModelResult, RegionResult, ScanResult
from bidsapp_brainage.reports.views import region_rows, slug
from bidsapp_brainage.reports.volumes import Measure, Viewer, region_viewer

ROOM = 2_400_000  # bytes of all maps of a page: those of about six scans
MEASURES = (
    Measure("delta_age", "contribution", "years"),
    Measure("delta_age_per_ml", "contribution per ml", "years/ml"),
    Measure("delta_age_adj", "contribution, size-adjusted", "years"),
    Measure("z_null", "z against control regions"),
    Measure("js_divergence", "change of the distribution", "nat", signed=False),
)


class Viewers:
    """Makes the maps of a page; those beyond its room are left out, their slices stay."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room

    def get(self, scan: ScanResult, model: ModelResult, regions: RegionResult) -> Viewer | None:
        """Map of one atlas in one scan; None without data, readable images or room."""
        rows = region_rows(regions)
        if rows is None or regions.map_file is None:
            return None
        identifier = slug("brain", scan.label, model.model, regions.atlas)
        try:
            made = region_viewer(identifier, regions.map_file, model.input_image, rows, MEASURES)
        except DataError:
            return None
        if made is None or made.size > self._room:
            return None
        self._room -= made.size
        return made
