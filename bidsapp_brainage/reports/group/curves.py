"""Figures of contributions over the lifespan, in age groups, and of left against right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from bidsapp_brainage.catalogue.levels import mean_level
from bidsapp_brainage.reports.figures.drawing import STYLE
from bidsapp_brainage.reports.group.figures import BLUE, GREY, ORANGE, chart, short_name
from bidsapp_brainage.reports.html import as_float, is_missing

MANY_PAIRS = 24
TURNING = " \N{DAGGER}"
_COLUMNS = 4
_LEVELS = ("network", "lobe", "hemisphere")


def best_level(rows: pd.DataFrame) -> str:
    """Coarsest useful level of a table: networks, else lobes, else hemispheres; or none."""
    there = set(rows["level"].astype(str))
    wanted = (key for level in _LEVELS for key in (level, mean_level(level)))
    return next((level for level in wanted if level in there), "")


def lifespan_curves(rows: pd.DataFrame, how: str = "") -> Figure:
    """Contribution (years) over age, one small panel per name of one level, all on one scale.

    `how` contributions were made stands on the axis, here and in the other figures.
    """
    names = list(dict.fromkeys(rows["name"].astype(str)))
    columns = min(_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.6 + 1.75 * lines), layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, name in zip(grid.flat, names, strict=False):
            part = rows[rows["name"].astype(str) == name].sort_values("age")
            axes.set_facecolor("none")
            axes.axhline(0, color=GREY, lw=0.8, ls="--")
            bounds = (part["ci95_lower"].astype(float), part["ci95_upper"].astype(float))
            axes.fill_between(part["age"].astype(float), *bounds, color=BLUE, alpha=0.2, lw=0)
            axes.plot(part["age"], part["fitted_delta_age"], color=BLUE, lw=1.6)
            axes.set_title(short_name(name, 26), fontsize=9)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        figure.supxlabel(_label("chronological age (years)", how), fontsize=9.5)
        figure.supylabel("contribution (years)", fontsize=9.5)
        return figure


def age_groups(rows: pd.DataFrame, how: str = "") -> Figure:
    """Mean contribution (years) by name of one level and age group, as a table of colours."""
    groups = list(dict.fromkeys(rows["age_group"].astype(str)))
    wide = rows.assign(age_group=rows["age_group"].astype(str)).pivot_table(
        index="name", columns="age_group", values="mean_delta_age", sort=False, dropna=False
    )
    wide = wide.reindex(columns=groups)
    counts = rows.groupby(rows["age_group"].astype(str))["n_participants"].max()
    with mpl.rc_context(STYLE):
        figure, axes = chart(9.2, 0.9 + 0.32 * len(wide))
        values = np.ma.masked_invalid(wide.to_numpy(dtype=float))
        most = float(np.abs(values).max()) if values.count() else 1.0
        image = axes.imshow(
            values, cmap="RdBu", norm=TwoSlopeNorm(0, -(most or 1.0), most or 1.0), aspect="auto"
        )
        titles = [f"{group}\nn = {counts.get(group, 0):.0f}" for group in groups]
        axes.set_xticks(range(len(groups)), titles)
        axes.set_yticks(range(len(wide)), [short_name(name) for name in wide.index])
        axes.tick_params(length=0)
        axes.set_xlabel(how)
        for side in axes.spines.values():
            side.set_visible(False)
        bar = figure.colorbar(image, ax=axes, shrink=0.9)
        bar.set_label("years", fontsize=9)
        bar.outline.set_visible(False)
        return figure


def asymmetry_pairs(rows: pd.DataFrame, how: str = "") -> Figure:
    """Left and right contributions of homologous regions, largest differences first."""
    size = rows["mean_difference"].abs()
    shown = rows.loc[size.sort_values(ascending=False).index].dropna(subset=["mean_difference"])
    shown = shown.head(MANY_PAIRS)[::-1]
    with mpl.rc_context(STYLE):
        figure, axes = chart(8.8, 0.8 + 0.235 * max(len(shown), 2))
        place = np.arange(len(shown))
        sides = (("mean_left", "left", BLUE, "o"), ("mean_right", "right", ORANGE, "s"))
        axes.axvline(0, color=GREY, lw=1)
        axes.hlines(place, shown["mean_left"], shown["mean_right"], color=GREY, lw=1.4)
        for column, label, colour, marker in sides:
            axes.scatter(
                shown[column], place, color=colour, marker=marker, s=26, label=label, zorder=3
            )
        axes.set_yticks(place, [_starred(row) for row in shown.to_dict("records")])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.set_xlabel(_label("mean contribution (years)", how))
        axes.legend(frameon=False, fontsize=8.5, loc="best")
        return figure


def _starred(row: Mapping[Hashable, object]) -> str:
    significant = not is_missing(row.get("q")) and as_float(row["q"]) < 0.05
    turning = row.get("stable") is False
    return short_name(row["pair"]) + (" *" if significant else "") + (TURNING if turning else "")


def _label(text: str, how: str) -> str:
    return f"{text}\n{how}" if how else text
