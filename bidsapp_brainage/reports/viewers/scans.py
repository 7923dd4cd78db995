"""Anatomy, mask and labels of one scan at native resolution, as fine as the page has room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.reports.figures.mosaic import Volume, read_volume
from bidsapp_brainage.reports.viewers.grid import Grid
from bidsapp_brainage.reports.viewers.layers import segmentation_layer
from bidsapp_brainage.reports.viewers.packing import Packed, pack_grey, pack_labels

#: Voxels farther from the brain are left out: they would take half of the bytes, and the face of
#: a person does not belong into a page that may be mailed.
MARGIN_MM = 12.0
#: Which voxels (every n-th along each axis) and how many levels of grey, from the best.
QUALITIES = ((1, 255), (1, 127), (1, 63), (1, 31), (2, 127), (2, 31), (3, 63), (4, 63))
_BRIGHTEST = 99.9  # percentile; brighter voxels have the last level
_WHITE = 1.12  # times the 99 % point of the brain
_DISTANCE_STEP = 2  # the distance from the brain is found on every second voxel


@dataclass(frozen=True)
class ScanImages:
    """Files of one scan on the grid of its T1w image; labels of atlases by their name."""

    t1w: Path
    mask: Path
    dseg: Path | None = None
    dseg_table: Path | None = None
    atlases: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ScanVolumes:
    """What a page holds of one scan.

    Attributes
    ----------
    grid : Grid
    layers : dict
        ``grey``, ``mask`` and, where there is one, ``segmentation``, as the viewer reads them.
    packed : tuple of Packed
        Their volumes.
    labels : dict of ndarray
        Labels on the grid, by atlas.
    packed_labels : dict of Packed
        The same in the page.
    """

    grid: Grid
    layers: Mapping[str, object]
    packed: tuple[Packed, ...]
    labels: Mapping[str, np.ndarray]
    packed_labels: Mapping[str, Packed]


def scan_volumes(identifier: str, images: ScanImages, room: int) -> ScanVolumes | None:
    """Read and pack what the viewers of one scan show.

    Parameters
    ----------
    identifier : str
        Of the scan, unique within the page.
    images : ScanImages
        Where the images lie.
    room : int
        Bytes that they may take.

    Returns
    -------
    ScanVolumes or None
        None where even the coarsest volumes would take more.

    Raises
    ------
    DataError
        An image cannot be read, or is not on the grid of the T1w image.
    """
    t1w = read_volume(images.t1w)
    mask = read_volume(images.mask, like=t1w).data > 0.5
    atlases = {name: _labels(path, t1w) for name, path in images.atlases.items()}
    dseg = None if images.dseg is None else _labels(images.dseg, t1w)
    segments = _segments(images.dseg_table)
    brain = mask if dseg is None else mask | (dseg > 0)
    near = _near(brain, t1w.sizes)
    window = _Window.of(t1w.data, brain, near)
    for thin in dict.fromkeys(step for step, _ in QUALITIES):
        grid = Grid.around(near, t1w.affine, thin=thin)
        cut = {name: grid.cut(labels) for name, labels in atlases.items()}
        parts = [pack_labels(f"{identifier}-mask", grid.cut(mask))]
        layers: dict[str, object] = {"mask": parts[0].identifier}
        if dseg is not None and segments is not None:
            parts.append(pack_labels(f"{identifier}-dseg", grid.cut(dseg)))
            layers["segmentation"] = segmentation_layer(
                parts[1].identifier, grid.cut(dseg), segments
            )
        packed = {
            name: pack_labels(f"{identifier}-labels-{number}", labels)
            for number, (name, labels) in enumerate(cut.items())
        }
        left = room - sum(len(part.data) for part in (*parts, *packed.values()))
        for levels in (levels for step, levels in QUALITIES if step == thin):
            shown = window.levels(grid.cut(t1w.data), grid.cut(near), levels)
            grey = pack_grey(f"{identifier}-t1w", shown)
            if len(grey.data) <= left:
                layers["grey"] = {"volume": grey.identifier, **window.facts(levels)}
                return ScanVolumes(grid, layers, (grey, *parts), cut, packed)
    return None


@dataclass(frozen=True)
class _Window:
    """Intensities of the first and the last level of grey, and of black and white."""

    least: float
    most: float
    black: float
    white: float

    @classmethod
    def of(cls, values: np.ndarray, brain: np.ndarray, near: np.ndarray) -> _Window:
        kept = values[near] if near.any() else values.ravel()
        inside = values[brain] if brain.any() else kept
        least, most = float(kept.min()), float(np.percentile(kept, _BRIGHTEST))
        most = most if most > least else least + 1.0
        white = least + _WHITE * (float(np.percentile(inside, 99.0)) - least)
        return cls(least, most, least, white if white > least else most)

    def levels(self, values: np.ndarray, near: np.ndarray, count: int) -> np.ndarray:
        """Levels 1..count of intensities, 0 where they are not kept."""
        share = np.clip((values - self.least) / (self.most - self.least), 0, 1)
        return np.where(near, 1 + np.round(share * (count - 1)), 0).astype(np.uint8)

    def facts(self, count: int) -> dict[str, float]:
        """For the viewer: intensity of level 1, step between levels, last level, window."""
        step = (self.most - self.least) / (count - 1)
        return {
            "least": round(self.least, 6),
            "step": float(f"{step:.9g}"),
            "last": count,
            "black": round(self.black, 6),
            "white": round(self.white, 6),
        }


def _labels(path: Path, t1w: Volume) -> np.ndarray:
    return read_volume(path, like=t1w).data.astype(np.int32)


def _segments(path: Path | None) -> pd.DataFrame | None:
    """Regions of the segmentation that have a colour; None without a readable table of them."""
    try:
        table = None if path is None else read_tsv(path)
    except DataError:
        return None
    if table is None or not {"index", "name", "color"} <= set(table):
        return None
    return table.dropna(subset=["index", "name", "color"])


def _near(brain: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Voxels up to the margin from the brain (bool); all of them without a brain."""
    from scipy.ndimage import distance_transform_edt

    if not brain.any():
        return np.ones(brain.shape, bool)
    step = _DISTANCE_STEP
    coarse = brain[::step, ::step, ::step]
    near = distance_transform_edt(~coarse, sampling=step * sizes) <= MARGIN_MM
    for axis in range(3):
        near = np.repeat(near, step, axis=axis)
    return near[tuple(slice(size) for size in brain.shape)]
