"""Regions of an atlas over the mean anatomy of a group, on the grid of a network's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bidsapp_brainage.reports.figures.mosaic import Volume
from bidsapp_brainage.reports.viewers.grid import Grid
from bidsapp_brainage.reports.viewers.layers import Measure, Viewer, region_layer, viewer
from bidsapp_brainage.reports.viewers.packing import pack_grey, pack_labels

GREYS = 63  # levels of anatomy
_WHITE = 75  # level that would be white: anatomy stays a little darker than the colours
_LARGEST = 900_000  # voxels of the box around the brain; finer grids are thinned out


def group_viewer(
    identifier: str,
    labels: Volume,
    grey: np.ndarray | None,
    regions: pd.DataFrame,
    measures: Sequence[Measure],
) -> Viewer:
    """Make a viewer of labels (``index`` of `regions`) and of anatomy (levels 0..63), on one grid.

    Without anatomy the regions stand on black.
    """
    under = np.zeros(labels.data.shape, np.uint8) if grey is None else grey
    used = (labels.data > 0) | (under > 0)
    count = int(np.prod(Grid.around(used, labels.affine).shape))
    thin = max(1, int(np.ceil((count / _LARGEST) ** (1 / 3))))
    grid = Grid.around(used, labels.affine, thin=thin)
    cut = grid.cut(labels.data)
    volumes = (
        pack_grey(f"{identifier}-grey", grid.cut(under)),
        pack_labels(f"{identifier}-labels", cut),
    )
    layers = {
        "grey": {"volume": volumes[0].identifier, "black": 0, "white": _WHITE},
        "regions": region_layer(volumes[1].identifier, cut, regions, measures),
    }
    return viewer(identifier, grid, layers, volumes)


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
