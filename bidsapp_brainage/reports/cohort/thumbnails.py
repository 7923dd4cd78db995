"""Small pictures of a scan for the page of all scans: one JPEG with a strip for every figure.

They are cut from the figures that lie there already, so that neither the workflow nor an image is
needed. There is one file per scan and not one sheet for all: jobs that run side by side write their
own, nobody rewrites those of others, and a browser loads only what it shows.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bidsapp_brainage.io import write_bytes

#: Strips from top to bottom; one per model follows, with what its network saw.
KINDS = ("mask_figure", "segmentation_figure", "after_figure")
HEIGHT = 84  # pixels of a strip
#: Slices of a strip from left to right: row and column in the figure, width in pixels.
SLICES = ((0, 4, 74), (1, 2, 84), (2, 2, 100), (0, 2, 74), (1, 4, 84))
WIDTH = sum(width for _, _, width in SLICES)
JPEG_QUALITY = 62
_COLUMNS = (7, 7, 6)  # slices in the rows of a figure
_GAP = 4  # pixels between its rows
_OUTLINE = (255, 77, 77)
_PICTURE = re.compile(r'href="data:image/jpeg;base64,([^"]+)"')
_MIDDLE = re.compile(r'<text x="[\d.-]+" y="([\d.]+)" text-anchor="start"[^>]*>[LP]</text>')
_OUTLINE_PATH = re.compile(r"M(-?\d+) (-?\d+)l([-\d ]*)")


def write_thumbnails(figures: Sequence[Path | None], path: Path) -> bool:
    """Write the strips of a scan, unless as many are newer than its figures.

    Parameters
    ----------
    figures : sequence of Path or None
        SVG files of :mod:`bidsapp_brainage.reports.figures`, one per strip; None, and one that
        cannot be read, leave a black strip.
    path : Path
        The JPEG.

    Returns
    -------
    bool
        Whether there are such pictures; nothing is written where there is no figure.
    """
    known = [figure for figure in figures if figure is not None]
    if not known:
        return False
    size = (WIDTH, HEIGHT * len(figures))
    newest = max(figure.stat().st_mtime for figure in known)
    if path.is_file() and path.stat().st_mtime >= newest and _size(path) == size:
        return True
    sheet = Image.new("RGB", size)
    for place, figure in enumerate(figures):
        picture = None if figure is None else _read(figure)
        for left, part in () if picture is None else _cut(*picture):
            sheet.paste(part, (left, HEIGHT * place))
    store = io.BytesIO()
    sheet.save(store, "JPEG", quality=JPEG_QUALITY, optimize=True)
    write_bytes(path, store.getvalue())
    return True


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height, which follow from the number of strips; None if it is broken."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError):
        return None


def _read(figure: Path) -> tuple[Image.Image, list[tuple[int, int]]] | None:
    """Picture of a figure; None if it is broken or has none."""
    try:
        return _drawn(figure.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _drawn(svg: str) -> tuple[Image.Image, list[tuple[int, int]]] | None:
    """Picture of a figure with its outlines, and top and height of its rows (pixels).

    The words for the sides of the body stand at half the height of each row, which tells where the
    rows are.
    """
    code = _PICTURE.search(svg)
    middles = [float(middle) for middle in _MIDDLE.findall(svg)]
    if code is None or len(middles) != len(_COLUMNS):
        return None
    picture = Image.open(io.BytesIO(base64.b64decode(code[1])))
    full = picture.width
    picture.draft("RGB", (full // 2, picture.height // 2))  # decodes half the size in half the time
    drawn = picture.convert("RGB")
    scale = drawn.width / full
    pencil = ImageDraw.Draw(drawn)
    for points in _outlines(svg):
        pencil.line([tuple(point) for point in points * scale], fill=_OUTLINE, width=2)
    rows, top = [], 0.0
    for middle in middles:
        height = 2 * (middle - top)
        rows.append((round(top * scale), round(height * scale)))
        top += height + _GAP
    return drawn, rows


def _outlines(svg: str) -> Iterator[np.ndarray]:
    """Points of each outline, shape (n, 2), in pixels of the figure (it is drawn in halves)."""
    for x, y, steps in _OUTLINE_PATH.findall(svg):
        moves = np.array(steps.split(), dtype=float).reshape(-1, 2)
        start = np.array([[float(x), float(y)]])
        yield np.vstack([start, start + np.cumsum(moves, axis=0)]) / 2


def _cut(
    picture: Image.Image, rows: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, Image.Image]]:
    """Slices of a strip, each with its distance from the left edge (pixels)."""
    begin = 0
    for row, column, width in SLICES:
        top, height = rows[row]
        across = picture.width / _COLUMNS[row]
        box = (round(column * across), top, round((column + 1) * across), top + height)
        part = picture.crop(box)
        part.thumbnail((width, HEIGHT), Image.Resampling.BILINEAR)
        yield begin + (width - part.width) // 2, part
        begin += width
