"""Figures of the individual report, written as SVG by nodes of the workflow.

Same data, same bytes: no dates, no random identifiers. Brain pictures hold one JPEG; left of the
picture is left of the brain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bidsapp_brainage.io import read_tsv, write_text
from bidsapp_brainage.reports.figures import colours, mosaic
from bidsapp_brainage.reports.html import decimals, number

PAINT = 0.45  # opacity of regions over anatomy
SHOWN_REGIONS = 20  # the strongest; the viewers begin with as many
_BAR_STEPS = 41


def plot_mask(t1w_path: Path, mask_path: Path, out: Path) -> None:
    """Draw the outline of a brain mask on the T1w image that it belongs to (one grid)."""
    t1w = mosaic.read_volume(t1w_path)
    mask = mosaic.read_volume(mask_path, like=t1w)
    inside = mask.data > 0.5
    place = mosaic.layout(t1w, inside)
    _write_anatomy(place, t1w, inside, mask, out, title="T1w image with outline of the brain mask")


def plot_registration(
    t1w_path: Path, template_path: Path, mask_path: Path, out_before: Path, out_after: Path
) -> None:
    """Draw the same slices of the template and of the normalised T1w image (one grid).

    Both carry the outline of the template's brain mask, so that an eye that switches between
    them sees what does not fit.
    """
    template = mosaic.read_volume(template_path)
    t1w = mosaic.read_volume(t1w_path, like=template)
    mask = mosaic.read_volume(mask_path, like=template)
    inside = mask.data > 0.5
    place = mosaic.layout(template, inside)
    pairs = ((template, out_before, "Template"), (t1w, out_after, "Participant's T1w image"))
    for volume, out, title in pairs:
        extra = mosaic.words(place, volume, millimetres=True)
        _write_anatomy(place, volume, inside, mask, out, title=title, extra=extra)


def plot_model_input(input_path: Path, out: Path) -> None:
    """Draw the volume that the network received, with a bar of its intensities."""
    volume = mosaic.read_volume(input_path)
    values = volume.data
    background = values[0, 0, 0]
    inside = np.abs(values - background) > 1e-6
    place = mosaic.layout(volume, inside, bar=True)
    known = values[inside] if inside.any() else values.ravel()
    low, high = (float(q) for q in np.percentile(known, [0.5, 99.5]))
    low = min(low, float(background))
    canvas = mosaic.assemble(
        place, (mosaic.window(place.cut(volume, tile), low, high) for tile in place.tiles)
    )
    greys = [f"#{level:02x}{level:02x}{level:02x}" for level in _levels(255)]
    extra = mosaic.words(place, volume, millimetres=True)
    extra += mosaic.colour_bar(
        place, greys, (number(low, 2), number(high, 2)), "intensity as the network received it"
    )
    write_text(out, mosaic.svg(place, canvas, title="Input of the network", extra=extra))


def plot_occlusion(map_path: Path, background_path: Path, out: Path, *, fill: str) -> None:
    """Draw the contributions of regions over anatomy (one grid), on three planes.

    The map has the change of predicted age (years) when a region is occluded, 0 outside of regions.
    Red: the age falls without the region, so the region made the brain look older; blue: younger.
    Strong colours for large changes. What replaces regions (`fill`, in words) is told.
    """
    effect = mosaic.read_volume(map_path)
    anatomy = mosaic.read_volume(background_path, like=effect)
    inside = effect.data != 0
    place = mosaic.layout(effect, inside, bar=True)
    most = float(np.abs(effect.data).max()) or 1.0
    low, high = _grey_window(anatomy.data, inside)
    canvas = mosaic.assemble(
        place,
        (
            colours.paint(
                mosaic.window(place.cut(anatomy, tile), low, high),
                place.cut(effect, tile, smooth=False) / most,
            )
            for tile in place.tiles
        ),
    )
    extra = mosaic.words(place, effect, millimetres=True)
    digits = decimals(most)
    ends = (
        f"{number(-most, digits)} (made it look older)",
        f"{number(most, digits, signed=True)} (made it look younger)",
    )
    title = f"change of predicted age (years) when the region is replaced by: {fill}"
    extra += mosaic.colour_bar(place, colours.legend(_BAR_STEPS), ends, title)
    write_text(out, mosaic.svg(place, canvas, title="Contributions of regions", extra=extra))


def plot_segmentation(t1w_path: Path, dseg_path: Path, table_path: Path, out: Path) -> None:
    """Draw the regions of a segmentation in their colours over the T1w image (one grid).

    The table has ``index`` and ``color`` (#rrggbb) of the regions; others are not coloured.
    """
    t1w = mosaic.read_volume(t1w_path)
    dseg = mosaic.read_volume(dseg_path, like=t1w)
    table = read_tsv(table_path)
    own = np.full((int(max(table["index"].max(), dseg.data.max())) + 1, 3), np.nan)
    own[table["index"]] = [[*bytes.fromhex(color[1:])] for color in table["color"]]
    place = mosaic.layout(t1w, dseg.data > 0)
    low, high = _grey_window(t1w.data, dseg.data > 0)
    pictures = (
        _painted(
            mosaic.window(place.cut(t1w, tile), low, high),
            own[place.cut(dseg, tile, smooth=False).astype(int)],
        )
        for tile in place.tiles
    )
    canvas = mosaic.assemble(place, pictures)
    extra = mosaic.words(place, t1w, millimetres=False)
    write_text(out, mosaic.svg(place, canvas, title="Regions of the segmentation", extra=extra))


def _painted(grey: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Blend colours (H, W, 3), NaN where there is none, over grey (H, W) of 0..255."""
    shown = np.nan_to_num(colour, nan=0.0)
    strength = np.where(np.isnan(colour), 0.0, PAINT)
    return grey[..., None] * (1 - strength) + shown * strength


def _write_anatomy(
    place: mosaic.Layout,
    volume: mosaic.Volume,
    inside: np.ndarray,
    mask: mosaic.Volume,
    out: Path,
    *,
    title: str,
    extra: Sequence[str] | None = None,
) -> None:
    low, high = _grey_window(volume.data, inside)
    canvas = mosaic.assemble(
        place, (mosaic.window(place.cut(volume, tile), low, high) for tile in place.tiles)
    )
    if extra is None:
        extra = mosaic.words(place, volume, millimetres=False)
    outlines = mosaic.contours(place, mask)
    write_text(out, mosaic.svg(place, canvas, title=title, paths=outlines, extra=extra))


def _grey_window(values: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Intensities shown as black and white: from air to a little above bright brain."""
    known = values[inside] if inside.any() else values.ravel()
    top = float(np.percentile(known, 99.0))
    bottom = float(min(np.percentile(values, 2.0), np.percentile(known, 1.0)))
    return bottom, bottom + 1.12 * (top - bottom)


def _levels(top: int) -> list[int]:
    return [int(level) for level in np.linspace(0, top, _BAR_STEPS)]
