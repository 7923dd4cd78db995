"""What lies over the anatomy in a viewer: regions of an atlas with numbers, or a segmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.reports.figures import colours
from bidsapp_brainage.reports.figures.overlays import PAINT
from bidsapp_brainage.reports.figures.regions import SHOWN_REGIONS
from bidsapp_brainage.reports.html import is_missing
from bidsapp_brainage.reports.viewers.grid import Grid
from bidsapp_brainage.reports.viewers.packing import Packed
from bidsapp_brainage.reports.wording import SIGNS, label_title

_DIGITS = 6


@dataclass(frozen=True)
class Measure:
    """A column of the table that can be shown on the brain; a unit may be empty.

    Negative and positive values of signed ones have colours of their own.
    """

    key: str
    title: str
    unit: str = ""
    signed: bool = True


@dataclass(frozen=True)
class Viewer:
    """What the template ``macros.html.jinja`` needs for a viewer.

    Attributes
    ----------
    identifier : str
        Unique within the page.
    facts : str
        JSON: grid, identifiers of the volumes, and what they mean.
    volumes : tuple of Packed
        Those that stand in the page with this viewer; it may show others, too.
    thin : int
        Every so many voxels of the image are in the page along each axis.
    masked : bool
        It can show the edge of the brain mask.
    regional : bool
        It shows numbers of regions.
    striped : bool
        The sign of some regions is not stable.
    """

    identifier: str
    facts: str
    volumes: tuple[Packed, ...]
    thin: int = 1
    masked: bool = False
    regional: bool = False
    striped: bool = False


def viewer(
    identifier: str, grid: Grid, layers: Mapping[str, object], volumes: Sequence[Packed]
) -> Viewer:
    """Put together a viewer of some layers: ``grey``, ``mask``, ``segmentation``, ``regions``."""
    regions = layers.get("regions")
    facts = {
        **grid.facts(),
        **layers,
        "shown": SHOWN_REGIONS,
        "paint": PAINT,
        "stripe": colours.STRIPE_MM,
        "legend_grey": colours.MID_GREY,
        "colours": {"signed": colours.packed(signed=True), "plain": colours.packed(signed=False)},
    }
    return Viewer(
        identifier=identifier,
        facts=json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        volumes=tuple(volumes),
        thin=grid.thin,
        masked="mask" in layers,
        regional=regions is not None,
        striped=isinstance(regions, dict) and any(regions["marks"]),
    )


def region_layer(
    volume: str, labels: np.ndarray, regions: pd.DataFrame, measures: Sequence[Measure]
) -> dict[str, object]:
    """Regions of an atlas with their numbers.

    `labels` are those of the page's volume `volume`, that ``index`` of `regions` counts. Of the
    `measures` those without any number are left out. Regions to be read with care are marked where
    there is a column ``sign`` (:data:`bidsapp_brainage.stats.regional.signs.Sign`).
    """
    known = [
        measure
        for measure in measures
        if measure.key in regions and regions[measure.key].notna().any()
    ]
    return {
        **_named(volume, labels, regions),
        "marks": _marks(regions),
        "measures": [
            {
                "title": measure.title,
                "unit": measure.unit,
                "signed": measure.signed,
                "values": _numbers(regions[measure.key]),
            }
            for measure in known
        ],
    }


def segmentation_layer(volume: str, labels: np.ndarray, table: pd.DataFrame) -> dict[str, object]:
    """Regions of a segmentation (``index``, ``name``, ``color``) with their colours."""
    return {
        **_named(volume, labels, table.assign(name=table["name"].astype(str).map(label_title))),
        "colours": [str(colour) for colour in table["color"]],
    }


def _named(volume: str, labels: np.ndarray, table: pd.DataFrame) -> dict[str, object]:
    indices = [int(index) for index in table["index"]]
    return {
        "volume": volume,
        "indices": indices,
        "names": [str(name) for name in table["name"]],
        "centres": centres(labels, indices),
    }


def _marks(regions: pd.DataFrame) -> list[str]:
    """Why the sign of each region is to be read with care; empty where it is not."""
    found = regions["sign"] if "sign" in regions else [None] * len(regions)
    return [SIGNS[sign].clause if sign in SIGNS else "" for sign in found]


def centres(labels: np.ndarray, indices: Sequence[int]) -> list[list[int] | None]:
    """For each index, its voxel nearest to its centre of mass; None for an empty one."""
    where = np.argwhere(labels > 0)
    which = labels[labels > 0]
    order = np.argsort(which, kind="stable")
    where, which = where[order], which[order]
    wanted = np.asarray(indices, which.dtype)
    starts, ends = (np.searchsorted(which, wanted, side=side) for side in ("left", "right"))
    found: list[list[int] | None] = []
    for start, end in zip(starts, ends, strict=True):
        own = where[start:end]
        if not len(own):
            found.append(None)
            continue
        distance = ((own - own.mean(axis=0)) ** 2).sum(axis=1)
        found.append([int(value) for value in own[distance.argmin()]])
    return found


def _numbers(column: pd.Series) -> list[float | None]:
    """Numbers with six digits; None for missing ones."""
    return [None if is_missing(value) else float(f"{value:.{_DIGITS}g}") for value in column]
