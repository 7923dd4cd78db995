"""The same slices of several scans below each other, with the same greys and the same colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bidsapp_brainage.reports.figures import colours, mosaic
from bidsapp_brainage.reports.figures.regions import age_bar

_PLANES = ((2, 4), (1, 3), (0, 2))  # axis and how many: axial, coronal, sagittal
_HEAD = 30  # pixels above a row, for its name


@dataclass(frozen=True)
class Row:
    """One scan (or a difference): its name, anatomy, and contributions painted over it.

    ``striped`` is not 0 in regions whose sign is not stable.
    """

    title: str
    anatomy: mosaic.Volume
    effect: mosaic.Volume | None = None
    striped: mosaic.Volume | None = None


def side_by_side(rows: Sequence[Row], *, title: str, how: str = "") -> str:
    """SVG with one row of slices per scan, in RAS planes with left on the left.

    All rows are on one grid. Greys of all rows have the same window, colours the same scale, from
    minus to plus the largest contribution. `title` is for people who cannot see the picture, `how`
    says below the bar of colours how regions were hidden.
    """
    inside = np.any([mosaic.not_background(row.anatomy.data) for row in rows], axis=0)
    first = mosaic.row(rows[0].anatomy, inside, _PLANES)
    grey = mosaic.input_window([row.anatomy.data for row in rows], inside)
    effects = [row.effect.data for row in rows if row.effect is not None]
    most = max((float(np.abs(effect).max()) for effect in effects), default=0.0) or 1.0
    step = first.height + _HEAD
    bar = mosaic.BAR_HEIGHT if effects else 0
    place = replace(
        first,
        tiles=tuple(
            replace(tile, top=order * step + _HEAD)
            for order in range(len(rows))
            for tile in first.tiles
        ),
        height=len(rows) * step + bar,
    )
    pictures = (_picture(first, tile, row, grey, most) for row in rows for tile in first.tiles)
    words = [
        mosaic.text(row.title, 6, order * step + 21, size=18) for order, row in enumerate(rows)
    ]
    words += mosaic.words(
        replace(place, tiles=place.tiles[: len(first.tiles)]), rows[0].anatomy, millimetres=True
    )
    if effects:
        words += age_bar(place, most, how)
    return mosaic.svg(place, mosaic.assemble(place, pictures), title=title, extra=words)


def _picture(
    place: mosaic.Layout, tile: mosaic.Tile, row: Row, window: tuple[float, float], most: float
) -> np.ndarray:
    grey = mosaic.window(place.cut(row.anatomy, tile), *window)
    if row.effect is None:
        return np.repeat(grey[..., None], 3, axis=2)
    share = place.cut(row.effect, tile, smooth=False) / most
    if row.striped is not None:
        doubtful = place.cut(row.striped, tile, smooth=False) > 0
        share = np.where(doubtful & place.stripes(row.anatomy, tile), 0.0, share)
    return colours.paint(grey, share)
