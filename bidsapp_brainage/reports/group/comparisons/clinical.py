"""Figures of the group page about groups and factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bidsapp_brainage.reports.figures.drawing import STYLE
from bidsapp_brainage.reports.group.figures import (
    BLUE,
    GREEN,
    GREY,
    MANY_BARS,
    MOST_LINKED,
    ORANGE,
    chart,
    short_name,
)
from bidsapp_brainage.reports.group.pictures import Gallery, Picture
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.stats.clinical.separation import BOTH, COVARIATES, CURVE_COLUMNS, GAP

_LOOK = {GAP: (BLUE, "-"), COVARIATES: (GREY, "--"), BOTH: (ORANGE, "-")}
_OF_FACTORS = ("factor", "kind", "effect", "effect_ci95_lower", "effect_ci95_upper", "q")
_MOST_CURVES = 3  # pairs of groups; more cannot be told apart


def clinical_figures(
    results: StoredResults, scans: pd.DataFrame, gallery: Gallery
) -> Mapping[str, Picture | None]:
    """Figure of each table of the section; None where there is nothing to draw."""
    drawn: dict[str, Picture | None] = dict.fromkeys(("grouppairs", "groupseparation", "factors"))
    draw: tuple[tuple[str, str, pd.DataFrame, Callable[[pd.DataFrame], Figure], str], ...] = (
        (
            "grouppairs",
            "group_brainage",
            _of_groups(scans),
            gap_by_group,
            "Gap of every person (mean over their scans) by group, without covariates. Boxes: "
            "quartiles and median.",
        ),
        (
            "groupseparation",
            "grouproc",
            results.rows("grouproc", needs=CURVE_COLUMNS),
            roc_curves,
            "ROC curves of people left out. Dashed grey: age, sex and the other columns without "
            "the gap. Orange: with it. Dotted: chance.",
        ),
        (
            "factors",
            "factors",
            results.rows("factors", needs=_OF_FACTORS),
            factor_effects,
            f"The {MANY_BARS} factors with the smallest p. Dots: partial correlation with 95 % "
            "interval; squares: categories, whose effect has no sign. Filled: q below .05.",
        ),
    )
    for key, data, rows, figure, caption in draw:
        if len(rows) and len(results.rows(key)):
            alt = caption.split(".")[0]
            drawn[key] = gallery.picture(figure(rows), key, alt, caption, data=data)
    return drawn


def _of_groups(scans: pd.DataFrame) -> pd.DataFrame:
    """One gap per person of a known group."""
    if "group" not in scans:
        return scans.iloc[:0]
    return scans.dropna(subset=["group", "gap"]).groupby("participant_id", as_index=False).agg(
        {"group": "first", "gap": "mean"}
    )  # fmt: skip


def gap_by_group(people: pd.DataFrame) -> Figure:
    """Points and boxes of the columns ``gap`` (years) by ``group``."""
    with mpl.rc_context(STYLE):
        names = sorted(people["group"].astype(str).unique())
        figure, axes = chart(6.2, 0.9 + 0.55 * len(names))
        random = np.random.default_rng(0)  # scatter across, for the eye
        many = len(people) > MOST_LINKED
        for place, name in enumerate(names):
            gap = people.loc[people["group"].astype(str) == name, "gap"].to_numpy(dtype=float)
            across = place + random.uniform(-0.18, 0.18, len(gap))
            axes.scatter(gap, across, s=14, color=BLUE, alpha=0.45, linewidth=0, rasterized=many)
        values = [people.loc[people["group"].astype(str) == name, "gap"] for name in names]
        axes.boxplot(
            values,
            positions=range(len(names)),
            orientation="horizontal",
            widths=0.5,
            showfliers=False,
            medianprops={"color": ORANGE, "linewidth": 1.6},
        )
        axes.axvline(0, color=GREY, lw=1, ls="--")
        counts = people["group"].astype(str).value_counts()
        axes.set_yticks(range(len(names)), [f"{short_name(n)} ({counts[n]})" for n in names])
        axes.invert_yaxis()
        axes.set_xlabel("gap (years)")
        return figure


def roc_curves(rows: pd.DataFrame) -> Figure:
    """ROC curves of the first pairs of groups, side by side."""
    pairs = list(rows.groupby(["group_a", "group_b"], sort=False))[:_MOST_CURVES]
    with mpl.rc_context(STYLE):
        figure, first = chart(3.4 * len(pairs), 3.4)
        first.remove()
        for number, ((one, two), part) in enumerate(pairs):
            axes = figure.add_subplot(1, len(pairs), number + 1, facecolor="none")
            axes.plot([0, 1], [0, 1], color=GREEN, lw=1, ls=":")
            for predictors, curve in part.groupby("predictors", sort=False):
                colour, style = _LOOK.get(str(predictors), (GREEN, "-"))
                x, y = curve["false_positive_rate"], curve["true_positive_rate"]
                axes.plot(x, y, color=colour, ls=style, lw=1.6, label=str(predictors))
            axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
            axes.set_title(f"{short_name(two, 16)} among {short_name(one, 16)}", fontsize=9)
            axes.set_xlabel("false positives")
            axes.set_ylabel("true positives" if number == 0 else "")
            if number == 0:
                axes.legend(frameon=False, fontsize=8, loc="lower right")
        return figure


def factor_effects(rows: pd.DataFrame) -> Figure:
    """Effects of the factors with the smallest p."""
    shown = rows.dropna(subset=["effect"]).head(MANY_BARS)[::-1]
    with mpl.rc_context(STYLE):
        figure, axes = chart(6.2, 0.9 + 0.235 * max(len(shown), 2))
        axes.axvline(0, color=GREY, lw=1, ls="--")
        for place, row in enumerate(shown.to_dict("records")):
            number, sure = row["kind"] == "number", row["q"] < 0.05
            if number:
                low, high = row["effect_ci95_lower"], row["effect_ci95_upper"]
                axes.hlines(place, low, high, color=BLUE, lw=1.2)
            axes.scatter(
                row["effect"],
                place,
                s=30,
                marker="o" if number else "s",
                facecolor=(BLUE if number else ORANGE) if sure else "white",
                edgecolor=BLUE if number else ORANGE,
                zorder=3,
            )
        axes.set_yticks(range(len(shown)), [short_name(name) for name in shown["factor"]])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("effect: partial correlation with the gap")
        return figure
