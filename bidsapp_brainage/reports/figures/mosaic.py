"""Slices of a volume side by side as an SVG: one JPEG inside, contours and words as vectors."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from PIL import Image

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import load_nifti
from bidsapp_brainage.reports.figures.colours import STRIPE_MM

WIDTH = 1500  # pixels of the whole picture
BAR_HEIGHT = 52  # pixels for a colour bar below the slices
JPEG_QUALITY = 75
MARGIN_MM = 10.0
_ROWS = ((2, 7), (1, 7), (0, 6))  # axis and slices: axial, coronal, sagittal (wider)
_GAP = 4  # pixels between slices of one row
_ROW_MARGIN = 0.22  # of the object on both sides, where a row has few slices
_SOFT_VOXELS = 0.7
_SIDES = {2: ("L", "R"), 1: ("L", "R"), 0: ("P", "A")}
_AXIS_NAMES = "xyz"
_FONT = "font-family=\"'DejaVu Sans', Arial, Helvetica, sans-serif\""


@dataclass(frozen=True)
class Volume:
    """A 3D image with axes in RAS order: float32 data and the affine from voxels to RAS mm."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Voxel sizes in mm, shape (3,)."""
        return np.asarray(voxel_sizes(self.affine))


@dataclass(frozen=True)
class Tile:
    """One slice and its place in the picture (pixels)."""

    axis: int
    index: int
    left: int
    top: int
    width: int
    height: int
    first_in_row: bool


@dataclass(frozen=True)
class Layout:
    """Which slices, cut to which box (voxels, half open), and where."""

    tiles: tuple[Tile, ...]
    box: tuple[tuple[int, int], ...]
    width: int
    height: int

    def cut(
        self, volume: Volume, tile: Tile, *, smooth: bool = True, shrink: int = 1
    ) -> np.ndarray:
        """Give the slice of a tile as a picture, shape (height, width) // shrink, row 0 on top."""
        size = (max(tile.width // shrink, 1), max(tile.height // shrink, 1))
        return _resized(self._plane(volume, tile), size, smooth=smooth)

    def cut_labels(self, volume: Volume, tile: Tile) -> np.ndarray:
        """Give the slice of an image of labels as a picture of integers, with smooth borders.

        A pixel has the label that weighs most among the voxels around it.
        """
        plane = self._plane(volume, tile)
        size = (max(tile.width, 1), max(tile.height, 1))
        labels = np.zeros(size[::-1], int)
        largest = np.zeros(size[::-1], np.float32)
        for label in np.unique(plane):
            weight = _resized(np.where(plane == label, 1.0, 0.0), size, smooth=True)
            labels[weight > largest] = int(label)
            largest = np.maximum(weight, largest)
        return labels

    def stripes(self, volume: Volume, tile: Tile) -> np.ndarray:
        """Oblique stripes for a slice (bool), as wide as those of the viewers."""
        across, _ = _in_plane(tile.axis)
        low, high = self.box[across]
        step = (high - low) * volume.sizes[across] / tile.width  # mm of a pixel
        row, column = np.indices((max(tile.height, 1), max(tile.width, 1)))
        return np.floor((column + tile.height - row) * step / STRIPE_MM) % 2 == 1

    def _plane(self, volume: Volume, tile: Tile) -> np.ndarray:
        where: list[slice | int] = [slice(low, high) for low, high in self.box]
        where[tile.axis] = tile.index
        return volume.data[tuple(where)].T[::-1]


def _resized(plane: np.ndarray, size: tuple[int, int], *, smooth: bool) -> np.ndarray:
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(picture.resize(size, how))


def read_volume(path: Path, *, like: Volume | None = None) -> Volume:
    """Read an image in RAS order.

    Raises :class:`DataError` if the file cannot be read, is not 3D, or is not on the grid of
    `like`.
    """
    image = nib.as_closest_canonical(load_nifti(Path(path)))
    data = np.asarray(image.dataobj, dtype=np.float32)
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.ndim != 3:
        raise DataError(f"{path} has {data.ndim} dimensions; a figure needs a 3D image.")
    if not np.isfinite(data).all():
        data = np.nan_to_num(data, posinf=0.0, neginf=0.0)
    volume = Volume(data, image.affine)
    if like is not None and not _same_grid(volume, like):
        raise DataError(
            f"{path} (shape {data.shape}) is not on the grid of the image that it is drawn with "
            f"(shape {like.data.shape}): run the participant level again with a new work folder."
        )
    return volume


def layout(volume: Volume, inside: np.ndarray, *, bar: bool = False) -> Layout:
    """Choose slices in three planes through the object, evenly spaced.

    `inside` (bool) is the object on the grid of the volume; if empty, the whole volume. With `bar`
    there is room for a colour bar.
    """
    extent = _extent(inside)
    box, span = _box(extent, volume)
    scale = WIDTH / max(count * span[_in_plane(axis)[0]] for axis, count in _ROWS)
    tiles: list[Tile] = []
    top = 0
    for axis, count in _ROWS:
        width, height = _pixels(axis, span * scale)
        for column, index in enumerate(_indices(extent[axis], count)):
            left = round((column + 0.5) * WIDTH / count - width / 2)
            tiles.append(Tile(axis, index, left, top, width, height, column == 0))
        top += height + 4
    return Layout(tuple(tiles), box, WIDTH, top - 4 + (BAR_HEIGHT if bar else 0))


def row(volume: Volume, inside: np.ndarray, planes: Sequence[tuple[int, int]]) -> Layout:
    """Choose slices as for :func:`layout`, all in one row: of each axis so many."""
    extent = _extent(inside)
    box, span = _box(extent, volume)
    wanted = [
        (axis, index)
        for axis, count in planes
        for index in _indices(extent[axis], count, _ROW_MARGIN)
    ]
    across = [float(span[_in_plane(axis)[0]]) for axis, _ in wanted]
    scale = (WIDTH - _GAP * (len(wanted) - 1)) / sum(across)
    tiles: list[Tile] = []
    left = 0.0
    for (axis, index), wide in zip(wanted, across, strict=True):
        first = not tiles or tiles[-1].axis != axis
        tiles.append(Tile(axis, index, round(left), 0, *_pixels(axis, span * scale), first))
        left += wide * scale + _GAP
    return Layout(tuple(tiles), box, WIDTH, max(tile.height for tile in tiles))


def assemble(place: Layout, pictures: Iterator[np.ndarray]) -> np.ndarray:
    """Put one picture per tile (height, width[, 3]; 0..255) onto black."""
    canvas: np.ndarray | None = None
    for tile, picture in zip(place.tiles, pictures, strict=True):
        if canvas is None:
            canvas = np.zeros((place.height, place.width, *picture.shape[2:]), dtype=np.uint8)
        left, right = max(tile.left, 0), min(tile.left + tile.width, place.width)
        part = picture[:, left - tile.left : right - tile.left]
        canvas[tile.top : tile.top + tile.height, left:right] = np.clip(part, 0, 255)
    assert canvas is not None  # a layout has tiles
    return canvas


def window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low`..`high` to 0..255."""
    span = high - low if high > low else 1.0
    return np.clip((values - low) * (255.0 / span), 0, 255)


def grey_window(values: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Intensities shown as black and white: from air to a little above bright brain."""
    everything = values.ravel(order="K")
    known = values.T[inside.T] if inside.any() else everything  # as they lie in memory
    top = float(np.percentile(known, 99.0))
    bottom = float(min(np.percentile(everything, 2.0), np.percentile(known, 1.0)))
    return bottom, bottom + 1.12 * (top - bottom)


def not_background(values: np.ndarray) -> np.ndarray:
    """Voxels (bool) of a network's input that are not background, as the corner is."""
    return np.abs(values - values[0, 0, 0]) > 1e-6


def input_window(volumes: Sequence[np.ndarray], inside: np.ndarray) -> tuple[float, float]:
    """Values shown as black and white in inputs of a network on one grid."""
    known = np.concatenate(
        [values[inside] if inside.any() else values.ravel() for values in volumes]
    )
    low, high = (float(q) for q in np.percentile(known, [0.5, 99.5]))
    return min(low, *(float(values[0, 0, 0]) for values in volumes)), high


def contours(place: Layout, mask: Volume) -> list[str]:
    """Outlines of a mask as SVG path data, one string per tile that shows any."""
    from contourpy import contour_generator
    from scipy.ndimage import gaussian_filter

    outlines = []
    # curves, not steps; in the order in which the voxels lie in memory
    soft = Volume(gaussian_filter(mask.data.T, _SOFT_VOXELS).T, mask.affine)
    for tile in place.tiles:
        picture = np.pad(place.cut(soft, tile, shrink=2), 1)
        lines = contour_generator(z=picture).lines(0.5)
        parts = [_path(np.asarray(line), tile) for line in lines if len(line) > 3]
        if parts:
            outlines.append("".join(parts))
    return outlines


def words(place: Layout, volume: Volume, *, millimetres: bool) -> list[str]:
    """Sides of the body on the first tile of each row; slice positions if wanted."""
    labels = []
    for tile in place.tiles:
        middle = tile.top + tile.height / 2
        if tile.first_in_row:
            first, second = _SIDES[tile.axis]
            labels += [
                text(first, tile.left + 4, middle),
                text(second, tile.left + tile.width - 4, middle, anchor="end"),
            ]
        if millimetres:
            point = np.zeros(3)
            point[tile.axis] = tile.index
            position = nib.affines.apply_affine(volume.affine, point)[tile.axis]
            label = f"{_AXIS_NAMES[tile.axis]} = {position:.0f}".replace("-", "\N{MINUS SIGN}")
            labels.append(text(label, tile.left + 4, tile.top + tile.height - 5, size=13))
    return labels


def colour_bar(
    place: Layout, colours: Sequence[str], ends: tuple[str, str], title: str, *, middle: str = ""
) -> list[str]:
    """SVG elements of a horizontal colour bar in the room below the slices."""
    top = place.height - BAR_HEIGHT + 10
    left, width, height = place.width / 2 - 180, 360, 14
    step = width / len(colours)
    elements = [
        f'<rect x="{left + i * step:.1f}" y="{top}" width="{step + 0.5:.1f}" height="{height}" '
        f'fill="{colour}" shape-rendering="crispEdges"/>'
        for i, colour in enumerate(colours)
    ]
    elements += [
        text(ends[0], left - 10, top + 13, anchor="end", size=16),
        text(ends[1], left + width + 10, top + 13, size=16),
        text(title, place.width / 2, top + 34, anchor="middle", size=16),
    ]
    if middle:
        elements.append(text(middle, place.width / 2, top - 2, anchor="middle", size=13))
    return elements


def svg(
    place: Layout,
    canvas: np.ndarray,
    *,
    title: str,
    paths: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> str:
    """Text of the SVG: a canvas (height, width[, 3]) of uint8, outlines as path data, SVG elements.

    The title is for people who cannot see it.
    """
    store = io.BytesIO()
    Image.fromarray(canvas).save(store, "JPEG", quality=JPEG_QUALITY, optimize=True)
    code = base64.b64encode(store.getvalue()).decode()
    size = f'width="{place.width}" height="{place.height}"'
    outlines = "".join(f'<path d="{path}"/>' for path in paths)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {place.width} {place.height}" '
        f'{size} role="img"><title>{escape(title)}</title>'
        f'<rect {size} fill="#000"/><image {size} href="data:image/jpeg;base64,{code}"/>'
        f'<g fill="none" stroke="#ff4d4d" stroke-width="3.2" transform="scale(0.5)">{outlines}</g>'
        f"{''.join(extra)}</svg>\n"
    )


def _same_grid(one: Volume, two: Volume) -> bool:
    return one.data.shape == two.data.shape and np.allclose(one.affine, two.affine, atol=1e-2)


def _box(
    extent: Sequence[tuple[int, int]], volume: Volume
) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """The object with a margin, in voxels of the volume (half open), and its size in mm."""
    margin = np.ceil(MARGIN_MM / volume.sizes).astype(int)
    box = tuple(
        (max(low - m, 0), min(high + m, n))
        for (low, high), m, n in zip(extent, margin, volume.data.shape, strict=True)
    )
    return box, np.array([high - low for low, high in box]) * volume.sizes


def _in_plane(axis: int) -> tuple[int, int]:
    """Axes of the volume that run to the right and upwards in a slice across `axis`."""
    return (1 if axis == 0 else 0), (1 if axis == 2 else 2)


def _pixels(axis: int, span: np.ndarray) -> tuple[int, int]:
    """Width and height of a slice across `axis` of what spans so many pixels along each axis."""
    across, up = _in_plane(axis)
    return max(int(span[across]), 1), max(int(span[up]), 1)


def _extent(inside: np.ndarray) -> list[tuple[int, int]]:
    """First and last+1 index of the object along each axis."""
    ranges = []
    for axis in range(3):
        used = np.nonzero(inside.any(axis=tuple(set(range(3)) - {axis})))[0]
        ranges.append((int(used[0]), int(used[-1]) + 1) if len(used) else (0, inside.shape[axis]))
    return ranges


def _indices(extent: tuple[int, int], count: int, margin: float = 0.1) -> list[int]:
    low, high = extent
    inner = np.linspace(margin, 1 - margin, count) * (high - 1 - low) + low
    return [int(value) for value in np.round(inner)]


def _path(line: np.ndarray, tile: Tile) -> str:
    """Path data of one outline found on the padded picture of half size, in half pixels.

    Whole half pixels relative to the point before take a third of the bytes of coordinates.
    """
    corner = np.array([tile.left, tile.top])
    points = np.round(2 * (corner + 2 * (line - 0.5))).astype(int)
    points = np.vstack([points[::2], points[-1:]])
    steps = " ".join(f"{x} {y}" for x, y in np.diff(points, axis=0))
    return f"M{points[0, 0]} {points[0, 1]}l{steps}"


def text(what: str, x: float, y: float, *, anchor: str = "start", size: int = 15) -> str:
    """SVG element of white words with a black outline, at a place in pixels."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#fff" '
        f'stroke="#000" stroke-width="3" paint-order="stroke" {_FONT}>{escape(what)}</text>'
    )
