"""Pictures of the group page: embedded, kept as files for a paper, linked to their data."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.catalogue import flags
from bidsapp_brainage.catalogue.lookup import baseline_title
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import load_nifti
from bidsapp_brainage.reports.cohort.links import report_links
from bidsapp_brainage.reports.figures import drawing
from bidsapp_brainage.reports.figures.colours import STRIPE_MM
from bidsapp_brainage.reports.figures.mosaic import Volume, read_volume
from bidsapp_brainage.reports.group import figures as group_figures
from bidsapp_brainage.reports.group.stored import MeanMap, StoredResults
from bidsapp_brainage.reports.html import number, svg_uri
from bidsapp_brainage.reports.viewers import groups
from bidsapp_brainage.reports.viewers.layers import Measure, Viewer

if TYPE_CHECKING:
    import nibabel as nib
    from matplotlib.figure import Figure

MAX_ANATOMIES = 20  # the mean anatomy under the map does not change with more
_MEASURES = (
    Measure("mean_delta_age", "mean contribution", "years"),
    Measure("mean_delta_age_per_ml", "mean contribution per ml", "years/ml"),
    Measure("effect_size", "effect size (mean / SD)"),
    Measure("mean_abs_delta_age", "mean size of the contribution", "years", signed=False),
)


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Either `uri` (``data:``) or `svg` with points to ask. `alt` is for who cannot see it, `kind` is
    ``chart``, or ``brain`` for pictures on black; files have a title and a relative link.
    """

    uri: str
    alt: str
    caption: str
    kind: str = "chart"
    svg: Markup = Markup("")
    files: tuple[tuple[str, str], ...] = ()


class Gallery:
    """Makes the pictures of one model's page and writes their files."""

    def __init__(self, results: StoredResults) -> None:
        self._results = results

    def picture(
        self,
        figure: Figure,
        kind: str,
        alt: str,
        caption: str,
        *,
        entities: Mapping[str, str] | None = None,
        data: str = "",
        look: str = "chart",
        points: Sequence[drawing.Point] = (),
    ) -> Picture:
        """Write a figure's files (suffix `kind`) and embed it.

        Linked with it is the group table of the suffix `data` that holds the numbers. A `look` of
        ``chart`` takes the colours of the page, ``brain`` stays on black. Without points it is a
        plain picture.
        """
        where = dict(entities or {})
        marked = drawing.marked_svg(figure)
        plain = drawing.plain_svg(marked)
        files = drawing.write_figure(
            self._results.output_dir, figure, plain, kind=kind, desc=self._results.label,
            entities=where,
        )  # fmt: skip
        links = list(files.items())
        if data and (table := self._results.path(data, where)).is_file():
            links.append(("data (TSV)", table.name))
        if points:
            svg = drawing.interactive_svg(marked, points, identifier=kind, label=alt)
            return Picture("", alt, caption, look, Markup(svg), tuple(links))
        return Picture(svg_uri(plain), alt, caption, look, files=tuple(links))


def scan_points(output_dir: Path, scans: pd.DataFrame) -> list[drawing.Point]:
    """What the points of the scatter plots tell, in the order of the rows."""
    link = report_links(output_dir)
    return [
        drawing.Point(
            key=str(row["scan"]),
            text=f"{row['scan']}: age {number(row['chronological_age'])}, predicted "
            f"{number(row['predicted_age'])}, gap {number(row['gap'], signed=True)} years"
            + (f", flagged ({words})" if (words := _flags(row)) else ""),
            href=link(str(row["scan"])),
        )
        for row in scans.to_dict("records")
    ]


def _flags(row: Mapping[Hashable, object]) -> str:
    named = {str(row["qc_flag"]), *flags.split(row["flags"])} - {"none", "pass"}
    return ", ".join(sorted(named)).replace("_", " ")


def group_viewer(
    results: StoredResults, entities: Mapping[str, str], regions: pd.DataFrame, identifier: str
) -> Viewer | None:
    """Map of mean contributions to move through; None without the atlas on the network's grid."""
    mean_map = results.mean_map(entities)
    labels = None if mean_map is None else _atlas_labels(results, entities, mean_map)
    if mean_map is None or labels is None or regions["mean_delta_age"].isna().all():
        return None
    rows = regions.reset_index(drop=True)
    rows["sign"] = rows["stable"].map({True: "stable", False: "opposite"})
    fill = baseline_title(str(rows["baseline"].iloc[0]))
    measures = [replace(measure, title=f"{measure.title} ({fill})") for measure in _MEASURES]
    placed = Volume(labels.data.astype(np.int32), labels.affine)
    images = anatomies(results, mean_map.space, placed.data.shape, placed.affine)
    grey = groups.mean_grey([np.asarray(image.dataobj, dtype=np.float32) for image in images])
    return groups.group_viewer(identifier, placed, grey, rows, measures)


def _atlas_labels(
    results: StoredResults, entities: Mapping[str, str], mean_map: MeanMap
) -> Volume | None:
    """The atlas on the grid of the mean map, as the participant level left it."""
    path = output_path(
        results.output_dir, "labels_grid", entities, tpl=mean_map.space, res=mean_map.res
    )
    try:
        return read_volume(path)
    except DataError:
        return None


def anatomies(
    results: StoredResults, space: str, shape: tuple[int, ...], affine: np.ndarray
) -> list[nib.Nifti1Image]:
    """Inputs of the network on one grid, of at most 20 scans."""
    found = Derivatives(results.output_dir, outputs=["brainage", "input"])
    files = found.select("input", model=results.label, space=space)
    images = []
    for file in files[:MAX_ANATOMIES]:
        try:
            image = load_nifti(file.path)
        except DataError:
            continue  # the picture does without; the participant's own report shows the damage
        if image.shape == tuple(shape) and np.allclose(image.affine, affine):
            images.append(image)
    return images


def with_gaps(image: nib.Nifti1Image, where: np.ndarray) -> nib.Nifti1Image:
    """Leave every other oblique stripe (from above) of some voxels empty, as the viewers do."""
    across, along, _ = np.indices(where.shape)
    sizes = image.header.get_zooms()
    stripe = np.floor((across * sizes[0] + along * sizes[1]) / STRIPE_MM) % 2 == 1
    values = np.where(where & stripe, 0, image.get_fdata(dtype=np.float32))
    return type(image)(values, image.affine)


def mean_map_figure(
    results: StoredResults,
    entities: Mapping[str, str],
    mean_map: MeanMap,
    doubtful: Collection[int],
    how: str,
) -> tuple[Figure, bool]:
    """Slices of the mean map over the mean anatomy; `how` it was made stands beside the colours.

    Regions (labels) that are `doubtful` are striped, where the atlas lies on the map's grid; says
    whether any is.
    """
    image = load_nifti(mean_map.path)
    labels = _atlas_labels(results, entities, mean_map)
    striped = np.zeros(image.shape, bool)
    if labels is not None and labels.data.shape == image.shape:
        striped = np.isin(labels.data, list(doubtful))
        image = with_gaps(image, striped)
    below = anatomies(results, mean_map.space, image.shape, image.affine)
    anatomy = group_figures.mean_anatomy(below) if below else None
    return group_figures.map_slices(image, anatomy, how), bool(striped.any())
