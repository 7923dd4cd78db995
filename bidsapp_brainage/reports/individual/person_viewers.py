"""The viewers of a person's page, as far as it has room for them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bidsapp_brainage.catalogue.lookup import baseline_title, explanation_title
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.reports.html import slug
from bidsapp_brainage.reports.individual.method_tables import by_explanation
from bidsapp_brainage.reports.individual.region_tables import region_rows
from bidsapp_brainage.reports.individual.results import RegionResult, ScanResult
from bidsapp_brainage.reports.viewers.layers import Measure, Viewer, region_layer, viewer
from bidsapp_brainage.reports.viewers.scans import ScanVolumes, scan_volumes

VIEWER_ROOM = 3_500_000  # bytes of all viewers of a page
MEASURES = (
    Measure("delta_age", "contribution", "years"),
    Measure("delta_age_per_ml", "contribution per ml", "years/ml"),
    Measure("delta_age_adj", "contribution, size-adjusted", "years"),
    Measure("z_null", "z against control regions"),
    Measure("js_divergence", "change of the distribution", "nat", signed=False),
)


class PersonViewers:
    """Makes the viewers of a page; each scan may take its part of the room.

    Where images are missing or unreadable, or the room is not enough, there is no viewer: the
    pictures of slices stay.
    """

    def __init__(self, n_scans: int, room: int = VIEWER_ROOM) -> None:
        self._room = room // max(n_scans, 1)
        self._volumes: dict[str, ScanVolumes | None] = {}
        self._placed: set[str] = set()

    def anatomy(self, scan: ScanResult) -> Viewer | None:
        """Viewer of the image, the mask and the segmentation of a scan."""
        volumes = self._of(scan)
        if volumes is None:
            return None
        return viewer(slug("image", scan.label), volumes.grid, volumes.layers, volumes.packed)

    def regions(self, scan: ScanResult, model: str, regions: RegionResult) -> Viewer | None:
        """Viewer of the contributions of the regions of one atlas in a scan.

        Its anatomy stands in the page with :meth:`anatomy`.
        """
        rows = region_rows(regions)
        volumes = self._of(scan)
        if rows is None or volumes is None or regions.atlas not in volumes.labels:
            return None
        packed = volumes.packed_labels[regions.atlas]
        rows, measures = _with_explanations(rows, regions)
        layer = region_layer(packed.identifier, volumes.labels[regions.atlas], rows, measures)
        if not layer["measures"]:
            return None
        new = [packed] if packed.identifier not in self._placed else []
        self._placed.add(packed.identifier)
        identifier = slug("brain", scan.label, model, regions.atlas)
        return viewer(identifier, volumes.grid, {**volumes.layers, "regions": layer}, new)

    def _of(self, scan: ScanResult) -> ScanVolumes | None:
        if scan.label not in self._volumes:
            self._volumes[scan.label] = self._read(scan)
        return self._volumes[scan.label]

    def _read(self, scan: ScanResult) -> ScanVolumes | None:
        if scan.images is None or not self._room:
            return None
        try:
            return scan_volumes(slug("volume", scan.label), scan.images, self._room)
        except DataError:
            return None


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
