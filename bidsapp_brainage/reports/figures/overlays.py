"""Figures of the individual report, written as SVG by nodes of the workflow.

Same data, same bytes: no dates, no random identifiers. Brain pictures hold one JPEG; left of the
picture is left of the brain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bidsapp_brainage.catalogue.quantity import AN_AGE, Quantity
from bidsapp_brainage.io import read_tsv, write_text
from bidsapp_brainage.reports.figures import colours, mosaic
from bidsapp_brainage.reports.figures.regions import BAR_STEPS, age_bar
from bidsapp_brainage.reports.html import number

PAINT = 0.45  # opacity of regions over anatomy


def plot_mask(image_path: Path, mask_path: Path, out: Path, *, modality: str = "T1w") -> None:
    """Draw the outline of a brain mask on an image of a modality (one grid)."""
    image = mosaic.read_volume(image_path)
    mask = mosaic.read_volume(mask_path, like=image)
    inside = mask.data > 0.5
    place = mosaic.layout(image, inside)
    title = f"{modality} image with outline of the brain mask"
    _write_anatomy(place, image, inside, mask, out, title=title)


@dataclass(frozen=True)
class Head:
    """An image and its brain mask, on one grid."""

    t1w: Path
    mask: Path


def plot_registration(template: Head, person: Head, out_before: Path, out_after: Path) -> None:
    """Draw the same slices of the template and of the normalised T1w image (one grid).

    Both show the brain alone, each by its own mask, so that like is compared with like, and carry
    the outline of the template's mask: an eye that switches between them sees what does not fit.
    """
    first = mosaic.read_volume(template.t1w)
    mask = mosaic.read_volume(template.mask, like=first)
    place = mosaic.layout(first, mask.data > 0.5)
    pairs = (
        (template, out_before, "Brain of the template"),
        (person, out_after, "Brain of the participant"),
    )
    for head, out, title in pairs:
        volume = mosaic.read_volume(head.t1w, like=first)
        inside = mosaic.read_volume(head.mask, like=first).data > 0.5
        brain = mosaic.Volume(np.where(inside, volume.data, 0.0), volume.affine)
        extra = mosaic.words(place, volume, millimetres=True)
        _write_anatomy(place, brain, inside, mask, out, title=title, extra=extra)


def plot_model_input(input_path: Path, out: Path, *, modality: str = "T1w") -> None:
    """Draw the volume that the network received, with a bar of its intensities."""
    volume = mosaic.read_volume(input_path)
    inside = mosaic.not_background(volume.data)
    place = mosaic.layout(volume, inside, bar=True)
    low, high = mosaic.input_window([volume.data], inside)
    canvas = mosaic.assemble(
        place, (mosaic.window(place.cut(volume, tile), low, high) for tile in place.tiles)
    )
    greys = [f"#{level:02x}{level:02x}{level:02x}" for level in _levels(255)]
    extra = mosaic.words(place, volume, millimetres=True)
    extra += mosaic.colour_bar(
        place, greys, (number(low, 2), number(high, 2)), "intensity as the network received it"
    )
    write_text(
        out, mosaic.svg(place, canvas, title=f"Input of the network ({modality})", extra=extra)
    )


def plot_occlusion(
    map_path: Path, background_path: Path, out: Path, *, fill: str, about: Quantity = AN_AGE
) -> None:
    """Draw a map of contributions over anatomy (one grid), on three planes.

    The map has the change of predicted age (years) when a place is occluded, 0 where nothing was.
    Red: the age falls without it, so it made the brain look older; blue: younger. Strong colours
    for large changes. What replaces it (`fill`, in words) is told, and what was predicted.
    """
    effect = mosaic.read_volume(map_path)
    anatomy = mosaic.read_volume(background_path, like=effect)
    inside = effect.data != 0
    place = mosaic.layout(effect, inside, bar=True)
    most = float(np.abs(effect.data).max()) or 1.0
    bar = age_bar(place, most, f"replaced by: {fill}", about)
    _write_painted(place, effect, anatomy, out, title="Contributions of regions", bar=bar)


def plot_ages(map_path: Path, background_path: Path, out: Path) -> None:
    """Draw a map of ages over anatomy (one grid), on three planes, beside their mean.

    The map has an age (years) in every voxel, 0 where there is none. Red: older than the mean over
    the map; blue: younger.
    """
    ages = mosaic.read_volume(map_path)
    anatomy = mosaic.read_volume(background_path, like=ages)
    inside = ages.data != 0
    mean = float(ages.data[inside].mean()) if inside.any() else 0.0
    younger = mosaic.Volume(np.where(inside, mean - ages.data, 0.0), ages.affine)
    most = float(np.abs(younger.data).max()) or 1.0
    place = mosaic.layout(ages, inside, bar=True)
    ends = (f"{number(mean + most)} (older)", f"{number(mean - most)} (younger)")
    words = f"age of the patches around the voxel (years); their mean over the map: {number(mean)}"
    bar = mosaic.colour_bar(place, colours.legend(BAR_STEPS), ends, words)
    _write_painted(place, younger, anatomy, out, title="Ages of patches", bar=bar)


def _write_painted(
    place: mosaic.Layout,
    effect: mosaic.Volume,
    anatomy: mosaic.Volume,
    out: Path,
    *,
    title: str,
    bar: Sequence[str],
) -> None:
    """Write effects, which are not 0 inside, in colours over anatomy; the largest is strongest."""
    most = float(np.abs(effect.data).max()) or 1.0
    low, high = mosaic.grey_window(anatomy.data, effect.data != 0)
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
    extra = [*mosaic.words(place, effect, millimetres=True), *bar]
    write_text(out, mosaic.svg(place, canvas, title=title, extra=extra))


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
    low, high = mosaic.grey_window(t1w.data, dseg.data > 0)
    pictures = (
        _painted(
            mosaic.window(place.cut(t1w, tile), low, high),
            own[place.cut_labels(dseg, tile)],
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
    low, high = mosaic.grey_window(volume.data, inside)
    canvas = mosaic.assemble(
        place, (mosaic.window(place.cut(volume, tile), low, high) for tile in place.tiles)
    )
    if extra is None:
        extra = mosaic.words(place, volume, millimetres=False)
    outlines = mosaic.contours(place, mask)
    write_text(out, mosaic.svg(place, canvas, title=title, paths=outlines, extra=extra))


def _levels(top: int) -> list[int]:
    return [int(level) for level in np.linspace(0, top, BAR_STEPS)]
