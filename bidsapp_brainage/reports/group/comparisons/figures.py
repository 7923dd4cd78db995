"""Figures of second opinions: regions with their spread, and maps of every voxel over people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from bidsapp_brainage.reports.figures.colours import colour_map
from bidsapp_brainage.reports.figures.drawing import STYLE
from bidsapp_brainage.reports.group.figures import (
    GREEN,
    GREY,
    MANY_BARS,
    OLDER,
    ORANGE,
    YOUNGER,
    chart,
    colour_scale,
    short_name,
)

SLICES = 6
_ENDS = 99.5  # percentile of the sizes at which colours end: single voxels are far beyond the rest
_MARGINS = {"wspace": 0.02, "hspace": 0.04, "left": 0.05, "right": 0.9, "top": 0.98, "bottom": 0.02}


@dataclass(frozen=True)
class Strip:
    """A row of slices.

    The axes of the image are in RAS order, nothing is drawn where it is 0. Where the map is
    `signed`, 0 is in the middle of the colours.
    """

    title: str
    image: nib.Nifti1Image
    signed: bool


def region_bars(rows: pd.DataFrame, how: str = "", *, signed: bool) -> Figure:
    """The 24 strongest regions with the interval over people and the spread over members.

    Rows of one method, baseline and age group of ``attributionstats``. Where there is a sign,
    contributions (years), else importance per mL, from 0 to 1. `how` they were made stands on the
    axis.
    """
    value = "mean_delta_age" if signed else "mean_importance_per_ml"
    known = rows.dropna(subset=[value])
    shown = known.loc[known[value].abs().sort_values(ascending=False).index].head(MANY_BARS)[::-1]
    place, mean = np.arange(len(shown)), shown[value].to_numpy(dtype=float)
    spread = member_spread(shown, signed=signed).to_numpy(dtype=float)
    colours = np.where(mean < 0, OLDER, YOUNGER) if signed else np.full(len(shown), GREEN)
    with mpl.rc_context(STYLE):
        figure, axes = chart(8.8, 0.95 + 0.235 * max(len(shown), 2))
        axes.axvline(0, color=GREY, lw=1)
        axes.barh(place, mean, height=0.62, color=colours, alpha=0.6)
        some = np.isfinite(spread)
        if some.any():
            axes.hlines(
                place[some] + 0.17, (mean - spread)[some], (mean + spread)[some],
                color=ORANGE, lw=2.4, label="mean and SD over the members of the ensemble",
            )  # fmt: skip
        bounds = shown[["ci95_lower", "ci95_upper"]].to_numpy(dtype=float)
        some = np.isfinite(bounds).all(axis=1)
        if some.any():
            axes.hlines(
                place[some] - 0.17, *bounds[some].T,
                color="#111827", lw=1.4, label="95 % interval over people",
            )  # fmt: skip
        axes.set_yticks(place, [short_name(name) for name in shown["name"]])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        unit = "contribution (years of first order)" if signed else "importance per mL, 0 to 1"
        axes.set_xlabel(f"mean {unit}" + (f"\n{how}" if how else ""))
        if axes.get_legend_handles_labels()[0]:
            figure.legend(frameon=False, fontsize=8.5, loc="outside upper right", ncols=2)
        return figure


def member_spread(rows: pd.DataFrame, *, signed: bool) -> pd.Series:
    """Spread over members in the unit of the bars."""
    if signed:
        return rows["mean_delta_age_sd_members"].astype(float)
    millilitres = rows["mean_volume_mm3"].astype(float) / 1000
    spread = rows["mean_importance_sd_members"].astype(float)
    return spread / millilitres.where(millilitres > 0)


def strips(
    rows: Sequence[Strip], background: nib.Nifti1Image | None, *, unit: str, shared: bool
) -> Figure:
    """Axial slices of several maps on one grid, one row for each.

    The first map decides which slices are shown. Rows have the same colours where `shared`, else
    each its own. Left of the picture is left of the brain.
    """
    maps = [row.image.get_fdata(dtype=np.float32) for row in rows]
    under = None if background is None else background.get_fdata(dtype=np.float32)
    window, levels = _window(maps[0]), _levels(maps[0])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.3 + 1.85 * len(rows)), facecolor="black")
        FigureCanvasSVG(figure)
        ratios = [*[1] * len(levels), 0.06]
        grid = figure.add_gridspec(len(rows), len(levels) + 1, width_ratios=ratios, **_MARGINS)
        for line, (row, values) in enumerate(zip(rows, maps, strict=True)):
            colours = _colours(maps if shared else [values], signed=row.signed)
            for place, level in enumerate(levels):
                axes = figure.add_subplot(grid[line, place])
                below = None if under is None else under[(*window, level)]
                _slice(axes, values[(*window, level)], below, colours)
                if place == 0:
                    axes.text(
                        -0.06, 0.5, row.title, transform=axes.transAxes, color="white",
                        fontsize=8.5, rotation=90, va="center", ha="right",
                    )  # fmt: skip
            if line == 0 or not shared:
                bar = grid[:, len(levels)] if shared else grid[line, len(levels)]
                colour_scale(figure, figure.add_subplot(bar), colours, unit)
        return figure


def _slice(
    axes: Axes,
    values: np.ndarray,
    under: np.ndarray | None,
    colours: tuple[Normalize, str | Colormap],
) -> None:
    axes.set_axis_off()
    if under is not None:
        axes.imshow(under.T, origin="lower", cmap="gray", interpolation="nearest")
    axes.imshow(
        np.ma.masked_equal(values.T, 0),
        origin="lower",
        norm=colours[0],
        cmap=colours[1],
        alpha=0.75 if under is not None and isinstance(colours[1], str) else None,
        interpolation="nearest",
    )


def _colours(maps: Sequence[np.ndarray], *, signed: bool) -> tuple[Normalize, str | Colormap]:
    """Scale from numbers to colours, and the colours or their name."""
    sizes = np.concatenate([np.abs(values[values != 0]) for values in maps])
    most = float(np.percentile(sizes, _ENDS)) if len(sizes) else 1.0
    most = most or 1.0
    if signed:
        return TwoSlopeNorm(0, -most, most), colour_map()
    return Normalize(0, most), "inferno"


def _levels(values: np.ndarray) -> list[int]:
    """Axial slices spread over what is not zero."""
    used = np.nonzero(values.any(axis=(0, 1)))[0]
    if not len(used):
        return [values.shape[2] // 2]
    spread = np.linspace(used[0], used[-1], SLICES + 2)[1:-1].round()
    return list(dict.fromkeys(int(level) for level in spread))


def _window(values: np.ndarray) -> tuple[slice, slice]:
    """Rectangle around what is not zero, seen from above, with a margin of two voxels."""
    used = [np.nonzero(values.any(axis=axes))[0] for axes in ((1, 2), (0, 2))]
    first, second = (slice(max(u[0] - 2, 0), u[-1] + 3) if len(u) else slice(None) for u in used)
    return first, second
