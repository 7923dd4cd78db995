"""A map of regions to look through in the page: anatomy and labels of every voxel, packed.

The page holds the labels of the regions, not a painted map, so that any column of the table can be
shown with any threshold. Volumes are stored as base64 of zlib streams, which browsers can unpack
by themselves; they lie on the grid of the network's input, which is coarse enough.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.reports.figures.mosaic import Volume, read_volume
from bidsapp_brainage.reports.html import is_missing
from bidsapp_brainage.reports.wording import SIGNS

GREYS = 63  # levels of anatomy; more are not seen under colours and take a third more bytes
MARGIN_VOXELS = 2
_SAME = 1e-4  # relative; tables keep six digits
_LARGEST = 900_000  # voxels of the box around the brain; finer grids are thinned out
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
        JSON: shape, origin and step (mm) of the grid, names of the regions, measures.
    grey, labels : str
        base64 of zlib streams, first axis fastest: uint8 anatomy 0..63 and uint16 positions in
        the list of regions, from 1.
    striped : bool
        The sign of some regions is not stable.
    """

    identifier: str
    facts: str
    grey: str
    labels: str
    striped: bool = False

    @property
    def size(self) -> int:
        """Bytes that it adds to the page."""
        return len(self.facts) + len(self.grey) + len(self.labels)


def labels_from_map(values: np.ndarray, effects: np.ndarray) -> np.ndarray | None:
    """Find the region of every voxel from a map that was painted with one value per region.

    `values` are 0 outside of regions; `effects`, shape (n,), are NaN where there is none. Gives
    uint16 positions in `effects` counted from 1, 0 outside, the first of regions that share a
    value; None when the map was not painted with these values.
    """
    known = np.flatnonzero(np.isfinite(effects) & (effects != 0))
    painted = np.unique(values[values != 0])
    if not len(known) or not len(painted):
        return None
    order = known[np.argsort(effects[known], kind="stable")]
    sorted_effects = effects[order]
    right = np.clip(np.searchsorted(sorted_effects, painted), 1, max(len(order) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(order) - 1)
    nearer_left = np.abs(sorted_effects[left] - painted) <= np.abs(sorted_effects[right] - painted)
    nearest = np.where(nearer_left, left, right)
    if (np.abs(sorted_effects[nearest] - painted) > _SAME * np.abs(painted)).any():
        return None
    nearest = np.searchsorted(sorted_effects, sorted_effects[nearest])  # the first of equal ones
    table = (order[nearest] + 1).astype(np.uint16)
    position = np.clip(np.searchsorted(painted, values), 0, len(painted) - 1)
    return np.where(values != 0, table[position], 0).astype(np.uint16)


def region_viewer(
    identifier: str,
    map_path: Path,
    background_path: Path | None,
    regions: pd.DataFrame,
    measures: Sequence[Measure],
) -> Viewer | None:
    """Pack a map, painted with the first of `measures`, with the anatomy under it.

    Without anatomy (on the same grid) the regions stand on black. Regions have a row each with the
    columns of `measures`, of which those without any number are left out. None when the map does
    not belong to the table. Raises :class:`DataError` if an image cannot be read, or the grids
    differ.
    """
    painted = read_volume(map_path)
    effects = pd.to_numeric(regions[measures[0].key], errors="coerce").to_numpy(dtype=float)
    labels = labels_from_map(painted.data, effects)
    if labels is None:
        return None
    grey = None
    if background_path is not None:
        grey = _greys(read_volume(background_path, like=painted).data)
    return pack(identifier, Volume(labels, painted.affine), grey, regions, measures)


def pack(
    identifier: str,
    labels: Volume,
    grey: np.ndarray | None,
    regions: pd.DataFrame,
    measures: Sequence[Measure],
) -> Viewer:
    """Pack labels (row of `regions` from 1, 0 outside) and anatomy (uint8, 0..63) of one grid.

    Regions to be read with care are marked where there is a column ``sign``
    (:data:`bidsapp_brainage.stats.regional.signs.Sign`).
    """
    under = np.zeros(labels.data.shape, np.uint8) if grey is None else grey
    box = _box((labels.data > 0) | (under > 0))
    count = np.prod([part.stop - part.start for part in box])
    step = max(1, int(np.ceil((count / _LARGEST) ** (1 / 3))))
    box = tuple(slice(part.start, part.stop, step) for part in box)
    cut = labels.data[box]
    sizes = np.diag(labels.affine)[:3]
    start = labels.affine[:3, 3] + sizes * [part.start for part in box]
    marks = _marks(regions)
    facts = {
        "shape": list(cut.shape),
        "origin": [round(float(value), 2) for value in start],
        "step": [round(float(value) * step, 3) for value in sizes],
        "regions": [str(name) for name in regions["name"]],
        "marks": marks,
        "centres": _centres(cut, len(regions)),
        "measures": [
            {
                "title": measure.title,
                "unit": measure.unit,
                "signed": measure.signed,
                "values": _numbers(regions[measure.key]),
            }
            for measure in measures
            if measure.key in regions and regions[measure.key].notna().any()
        ],
    }
    return Viewer(
        identifier=identifier,
        facts=json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        grey=_stream(under[box].astype(np.uint8)),
        labels=_stream(cut.astype("<u2")),
        striped=any(marks),
    )


def _marks(regions: pd.DataFrame) -> list[str]:
    """Why the sign of each region is to be read with care; empty where it is not."""
    found = regions["sign"] if "sign" in regions else [None] * len(regions)
    return [SIGNS[sign].clause if sign in SIGNS else "" for sign in found]


def mean_grey(images: Sequence[np.ndarray]) -> np.ndarray | None:
    """Mean anatomy of several images on one grid as levels of grey; None without any."""
    if not len(images):
        return None
    levels = np.stack([_greys(image) for image in images]).astype(float)
    return np.round(levels.mean(axis=0)).astype(np.uint8)


def _greys(values: np.ndarray) -> np.ndarray:
    """Map what differs from the background (the first voxel) to 1..63, the background to 0."""
    inside = values != values[0, 0, 0]
    if not inside.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[inside], (0.5, 99.5))
    scaled = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    return np.where(inside, np.maximum(np.round(scaled * GREYS), 1), 0).astype(np.uint8)


def _box(used: np.ndarray) -> tuple[slice, ...]:
    """Box around what is used, with a margin."""
    slices = []
    for axis, size in enumerate(used.shape):
        there = np.flatnonzero(used.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = (there[0], there[-1] + 1) if len(there) else (0, size)
        slices.append(slice(max(int(low) - MARGIN_VOXELS, 0), min(int(high) + MARGIN_VOXELS, size)))
    return tuple(slices)


def _centres(labels: np.ndarray, count: int) -> list[list[int] | None]:
    """For each region, its voxel nearest to its centre of mass; None for an empty one."""
    centres: list[list[int] | None] = []
    where = np.argwhere(labels > 0)
    which = labels[labels > 0]
    for position in range(1, count + 1):
        own = where[which == position]
        if not len(own):
            centres.append(None)
            continue
        distance = ((own - own.mean(axis=0)) ** 2).sum(axis=1)
        centres.append([int(value) for value in own[distance.argmin()]])
    return centres


def _numbers(column: pd.Series) -> list[float | None]:
    """Numbers with six digits; None for missing ones."""
    return [None if is_missing(value) else float(f"{value:.{_DIGITS}g}") for value in column]


def _stream(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(order="F"), 9)).decode()
