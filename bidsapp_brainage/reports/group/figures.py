"""Figures of the group page and of a paper, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from bidsapp_brainage.reports.figures.colours import MID_GREY, colour_map
from bidsapp_brainage.reports.figures.drawing import STYLE, mark

# Okabe & Ito's colours: told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#6b7280"
OLDER, YOUNGER = "#b2182b", "#2166ac"
MANY_SCANS = 80  # intervals of more scans than this would hide the points
MOST_LINKED = 3000  # points of a figure
MANY_BARS = 24
ZOOM = 1.15
FAINT = 0.1  # of the brightest tissue: background
HATCH = "/////"
HATCHED = "hatched: the mean has another sign with another baseline"
_MAP_MARGINS = {
    "wspace": 0.02,
    "hspace": 0.1,
    "left": 0.01,
    "right": 0.92,
    "top": 0.94,
    "bottom": 0.03,
}


def age_scatter(scans: pd.DataFrame, how: str = "") -> Figure:
    """Predicted against chronological age of scans of known age, with the identity line.

    `how` the predictions were calibrated stands on the axis.
    """
    with mpl.rc_context(STYLE):
        figure, axes = chart(4.9, 4.6)
        age, predicted = scans["chronological_age"], scans["predicted_age"]
        shown = [age, predicted]
        if intervals_drawn(scans):
            lower, upper = scans["ci95_lower"], scans["ci95_upper"]
            axes.vlines(age, lower, upper, color=BLUE, alpha=0.25, lw=1.6, zorder=1)
            shown += [lower, upper]
        low, high = _span(pd.concat(shown))
        axes.plot([low, high], [low, high], color=GREY, lw=1, ls="--", label="identity")
        axes.axhline(age.mean(), color=GREEN, lw=1, ls=":", label="mean age of the sample")
        _join_sessions(axes, scans, "predicted_age")
        _points(axes, scans, "predicted_age")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_xlabel("chronological age (years)")
        axes.set_ylabel(f"predicted age{how} (years)")
        _legend_above(figure)
        return figure


def intervals_drawn(scans: pd.DataFrame) -> bool:
    """Whether the scatter plot shows the interval of each of these scans."""
    return len(scans) <= MANY_SCANS and bool(scans["ci95_lower"].notna().any())


def gap_scatter(scans: pd.DataFrame, how: str = "") -> Figure:
    """Gap against chronological age of scans of known age, with its least-squares line.

    `how` gaps were calibrated stands on the axis.
    """
    with mpl.rc_context(STYLE):
        figure, axes = chart(4.9, 4.6)
        axes.axhline(0, color=GREY, lw=1, ls="--")
        age, gap = scans["chronological_age"].to_numpy(), scans["gap"].to_numpy()
        if len(np.unique(age)) > 2:
            line = np.polynomial.Polynomial.fit(age, gap, 1)
            ends = np.array([age.min(), age.max()])
            slope = line.convert().coef[1]
            axes.plot(
                ends,
                line(ends),
                color=ORANGE,
                lw=1.6,
                label=f"slope {slope:+.2f}".replace("-", "\N{MINUS SIGN}"),
            )
        _join_sessions(axes, scans, "gap")
        _points(axes, scans, "gap")
        most = float(np.abs(gap).max()) * ZOOM or 1.0
        axes.set(xlim=_span(scans["chronological_age"]), ylim=(-most, most))
        axes.set_xlabel("chronological age (years)")
        axes.set_ylabel(f"gap{how or ': predicted minus chronological'} (years)")
        if axes.get_legend_handles_labels()[0]:
            _legend_above(figure)
        return figure


def age_histogram(ages: pd.Series, sex: pd.Series) -> Figure:
    """Ages of the sample in steps of five years, stacked by sex where it is known."""
    with mpl.rc_context(STYLE):
        figure, axes = chart(4.9, 2.2)
        start = 5 * np.floor(ages.min() / 5)
        edges = np.arange(start, ages.max() + 5.01, 5)
        named = sex.reindex(ages.index).astype(object).fillna("not known").astype(str)
        kinds = sorted(named.unique())
        colours = [BLUE, ORANGE, GREEN, GREY]
        axes.hist(
            [ages[named == kind] for kind in kinds],
            bins=edges.tolist(),
            stacked=True,
            color=[colours[i % len(colours)] for i in range(len(kinds))],
            label=kinds,
            edgecolor="white",
            linewidth=0.6,
        )
        axes.set_xlabel("chronological age (years)")
        axes.set_ylabel("scans")
        axes.locator_params(axis="y", integer=True)
        axes.legend(frameon=False, fontsize=8.5, title="sex", title_fontsize=8.5)
        return figure


def contribution_bars(table: pd.DataFrame, how: str = "") -> Figure:
    """Mean signed contribution of one level with intervals (years), the 24 strongest first.

    `how` the values were made stands below the axis. Bars are hatched where the column ``stable``
    is False.
    """
    shown = table.dropna(subset=["mean_delta_age"]).sort_values("rank", kind="stable")
    shown = shown.head(MANY_BARS)[::-1]
    with mpl.rc_context(STYLE):
        figure, axes = chart(8.8, 0.75 + 0.235 * max(len(shown), 2))
        place = np.arange(len(shown))
        mean = shown["mean_delta_age"].to_numpy(dtype=float)
        colours = np.where(mean < 0, OLDER, YOUNGER)
        axes.axvline(0, color=GREY, lw=1)
        bars = axes.barh(place, mean, height=0.62, color=colours, alpha=0.75)
        turning = shown["stable"].eq(False).to_numpy() if "stable" in shown else place < 0
        for bar in np.array(bars, dtype=object)[turning]:
            bar.set(fill=False, edgecolor=bar.get_facecolor(), hatch=HATCH, linewidth=0)
        notes = [how, HATCHED if turning.any() else ""]
        bounds = shown[["ci95_lower", "ci95_upper"]].to_numpy(dtype=float)
        known = np.isfinite(bounds).all(axis=1)
        axes.hlines(place[known], *bounds[known].T, color="#111827", lw=1.2)
        axes.set_yticks(place, [short_name(name) for name in shown["name"]])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        most = np.nanmax(np.abs(np.column_stack([mean, bounds]))) if len(shown) else 1.0
        axes.set_xlim(-ZOOM * most, ZOOM * most)
        axes.set_xlabel(
            "change of predicted age when occluded (years), mean and 95 % interval"
            + "".join(f"\n{note}" for note in notes if note)
        )
        return figure


def map_slices(image: nib.Nifti1Image, background: nib.Nifti1Image | None, how: str = "") -> Figure:
    """Slices through a mean occlusion map in template space, over the mean anatomy on its grid.

    Years, 0 outside of the regions; axes in RAS order. Left of the picture is left of the brain.
    `how` it was made stands beside the colours.
    """
    values = image.get_fdata(dtype=np.float32)
    under = None if background is None else background.get_fdata(dtype=np.float32)
    window = _window(values if under is None else np.where(under > FAINT, under, values))
    norm = TwoSlopeNorm(0, *np.array([-1, 1]) * (float(np.abs(values).max()) or 1.0))
    levels = _levels(values)
    n_rows = 1 + (len(levels) > 4)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.4 + 2.4 * n_rows), facecolor="black")
        FigureCanvasSVG(figure)
        grid = figure.add_gridspec(n_rows, 5, width_ratios=[1, 1, 1, 1, 0.06], **_MAP_MARGINS)
        for number, level in enumerate(levels):
            axes = figure.add_subplot(grid[number // 4, number % 4])
            below = None if under is None else under[(*window, level)]
            _slice(axes, values[(*window, level)], below, norm)
            height = nib.affines.apply_affine(image.affine, [0, 0, level])[2]
            title = f"z = {height:.0f} mm".replace("-", "\N{MINUS SIGN}")
            axes.set_title(title, fontsize=8.5, pad=2, color="white")
            if number == 0:
                for place, side in ((0.03, "L"), (0.92, "R")):
                    axes.text(place, 0.5, side, transform=axes.transAxes, color="white")
        unit = "; ".join(filter(None, ("years", how)))
        colour_scale(figure, figure.add_subplot(grid[:, 4]), (norm, colour_map()), unit)
        return figure


def colour_scale(
    figure: Figure, axes: Axes, colours: tuple[Normalize, str | Colormap], unit: str
) -> None:
    """Bar of colours on black, over the grey of anatomy where they are not opaque."""
    bar = figure.colorbar(ScalarMappable(*colours), cax=axes)
    bar.ax.set_facecolor(str(MID_GREY / 255))
    bar.set_label(unit, fontsize=8.5, color="white")
    bar.ax.tick_params(colors="white", labelsize=8)
    bar.outline.set_visible(False)


def _levels(values: np.ndarray) -> list[int]:
    """Eight axial slices (fewer for a thin image) spread over what is not zero."""
    used = np.nonzero(values.any(axis=(0, 1)))[0]
    if not len(used):
        return [values.shape[2] // 2]
    spread = np.linspace(used[0], used[-1], 10)[1:-1].round()
    return list(dict.fromkeys(int(level) for level in spread))


def _window(values: np.ndarray) -> tuple[slice, slice]:
    """Rectangle around what is not zero, seen from above, with a margin of two voxels."""
    sides = []
    for axis in (0, 1):
        used = np.nonzero(values.any(axis=tuple({0, 1, 2} - {axis})))[0]
        sides.append(slice(max(used[0] - 2, 0), used[-1] + 3) if len(used) else slice(None))
    return sides[0], sides[1]


def _slice(axes: Axes, values: np.ndarray, under: np.ndarray | None, norm: TwoSlopeNorm) -> None:
    axes.set_axis_off()
    if under is not None:
        axes.imshow(under.T, origin="lower", cmap="gray", vmin=0, interpolation="nearest")
    shown = np.ma.masked_equal(values.T, 0)
    axes.imshow(shown, origin="lower", cmap=colour_map(), norm=norm, interpolation="nearest")


def chart(width: float, height: float) -> tuple[Figure, Axes]:
    """Transparent figure of this size (inches) with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot(facecolor="none")


def _points(axes: Axes, scans: pd.DataFrame, column: str) -> None:
    """One point per scan, linked; more than a page can hold become one picture."""
    size = 36 if len(scans) <= MANY_SCANS else 16
    linked = len(scans) <= MOST_LINKED
    positions = pd.Series(np.arange(len(scans)), index=scans.index)
    for flagged, part in scans.groupby("flagged"):
        drawn = axes.scatter(
            part["chronological_age"],
            part[column],
            s=size,
            facecolor="white" if flagged else BLUE,
            edgecolor=ORANGE if flagged else "white",
            linewidth=1.4 if flagged else 0.5,
            label=f"flagged ({len(part)})" if flagged else None,
            zorder=3,
            rasterized=not linked,
        )
        if linked:
            drawn.set_urls([mark(position) for position in positions[part.index]])


def _legend_above(figure: Figure) -> None:
    """A legend that covers no point and no interval."""
    figure.legend(frameon=False, fontsize=8.5, loc="outside upper left", ncols=3)


def _join_sessions(axes: Axes, scans: pd.DataFrame, column: str) -> None:
    """A thin line through the scans of one person."""
    several = scans[scans["participant_id"].duplicated(keep=False)]
    for _, person in several.groupby("participant_id"):
        ordered = person.sort_values("chronological_age")
        axes.plot(
            ordered["chronological_age"],
            ordered[column],
            color=BLUE,
            lw=0.8,
            alpha=0.5,
            rasterized=len(scans) > MOST_LINKED,
        )


def _span(values: pd.Series) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 5.0
    return low - margin, high + margin


def short_name(name: object, length: int = 34) -> str:
    """Name that fits beside a figure."""
    text = str(name)
    return text if len(text) <= length else text[: length - 1] + "…"


def mean_anatomy(images: Sequence[nib.Nifti1Image]) -> nib.Nifti1Image:
    """Mean of images on one RAS grid for the eye: background 0, bright tissue about 1.

    Any scaling: what equals the first voxel is background, and the rest is stretched from its 1st
    to its 98th percentile.
    """
    total = np.zeros(images[0].shape, dtype=np.float64)
    for image in images:
        values = image.get_fdata(dtype=np.float32)
        brain = values != values[0, 0, 0]
        if brain.any():
            low, high = np.percentile(values[brain], (1, 98))
            stretched = np.clip((values - low) / (high - low or 1.0), 0, 1.2)
            total += np.where(brain, stretched, 0)
    return nib.Nifti1Image((total / len(images)).astype(np.float32), images[0].affine)
