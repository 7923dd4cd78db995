"""Pictures of the targets of a model, each by its type: numbers and classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from bidsapp_brainage.catalogue.quantity import AGE
from bidsapp_brainage.reports.figures.drawing import STYLE
from bidsapp_brainage.reports.group.figures import BLUE, GREY, MOST_LINKED, ORANGE, chart
from bidsapp_brainage.reports.group.pictures import Gallery, Picture
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import count

N_BINS = 5  # of predicted probabilities: a group of people each
_NEEDED = ("target", "class", "value", "unit", "true_value", "scan")


def target_pictures(results: StoredResults, gallery: Gallery) -> list[Picture]:
    """One picture of each target but the age, as far as true values are known."""
    rows = results.rows("group_predictions", needs=_NEEDED)
    if rows.empty:
        return []
    known = rows.dropna(subset=["true_value"])
    pictures = []
    for target, part in known[known["target"] != AGE].groupby("target", sort=False):
        n, kind = count(part["scan"].nunique(), "scan"), f"target{target}"
        if part["class"].isna().all():
            figure, words = number_scatter(part), _NUMBERS
        else:
            figure, words = class_calibration(part), _CLASSES
        pictures.append(
            gallery.picture(
                figure,
                "".join(letter for letter in kind if letter.isalnum()),
                f"Predicted {target} against the true one, {n}",
                f"{target}, {n}. {words}",
                data="group_predictions",
            )
        )
    return pictures


_NUMBERS = (
    "Dashed: perfect prediction. Dotted: answering everybody with the mean. Pale bars: 95 % "
    "intervals, where the model has them."
)
_CLASSES = (
    "Left: probability that the network gives to the class, of scans that are of this class and of "
    f"others. Right: share of scans of the class in {N_BINS} groups of equal size by that "
    "probability; dashed: probabilities that hold what they say."
)


def number_scatter(rows: pd.DataFrame) -> Figure:
    """Predicted against true values of one target."""
    many = len(rows) > MOST_LINKED
    names = ("true_value", "value", "ci95_lower", "ci95_upper")
    true, value, lower, upper = (pd.to_numeric(rows[name], errors="coerce") for name in names)
    unit = str(rows["unit"].iloc[0])
    unit = "" if unit == "1" else f" ({unit})"
    target = str(rows["target"].iloc[0])
    with rc_context(STYLE):
        figure, axes = chart(4.9, 4.6)
        axes.vlines(true, lower, upper, color=BLUE, alpha=0.25, lw=1.6, zorder=1, rasterized=many)
        ends = [min(true.min(), value.min()), max(true.max(), value.max())]
        axes.plot(ends, ends, color=GREY, lw=1, ls="--")
        axes.axhline(true.mean(), color=GREY, lw=1, ls=":")
        axes.scatter(
            true, value, s=24, color=BLUE, edgecolor="white", linewidth=0.5, zorder=3,
            rasterized=many,
        )  # fmt: skip
        axes.set_xlabel(f"true {target}{unit}")
        axes.set_ylabel(f"predicted {target}{unit}")
        return figure


def class_calibration(rows: pd.DataFrame) -> Figure:
    """Probabilities of a class by the true one, and how often they hold.

    The class is the one that is explained, or else the last.
    """
    classes = list(dict.fromkeys(rows["class"].astype(str)))
    explained = rows.loc[rows["explained"].astype(str).str.lower() == "true", "class"]
    label = str(explained.iloc[0]) if len(explained) else classes[-1]
    own = rows[rows["class"].astype(str) == label]
    probability = own["value"].to_numpy(dtype=float)
    truth = own["true_value"].astype(str).str.removesuffix(".0").to_numpy()
    is_class = truth == label
    with rc_context(STYLE):
        figure, axes = chart(7.6, 3.4)
        axes.remove()
        left, right = figure.subplots(1, 2)
        names: list[str] = []
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(own))
        for place, (chosen, words, colour) in enumerate(
            ((~is_class, f"not {label}", ORANGE), (is_class, label, BLUE))
        ):
            left.scatter(
                place + spread[chosen], probability[chosen], s=14, color=colour, alpha=0.7,
                rasterized=len(own) > MOST_LINKED,
            )  # fmt: skip
            if chosen.any():
                middle = float(np.median(probability[chosen]))
                left.hlines(middle, place - 0.25, place + 0.25, color=GREY, lw=2)
            names.append(f"{words} ({chosen.sum()})")
        left.set(xlim=(-0.5, 1.5), ylim=(-0.03, 1.03))
        left.set_xticks([0, 1], names)
        left.set_ylabel(f"probability of {rows['target'].iloc[0]} {label}")
        order = np.argsort(probability, kind="stable")
        groups = [part for part in np.array_split(order, N_BINS) if len(part)]
        right.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        right.plot(
            [probability[part].mean() for part in groups],
            [is_class[part].mean() for part in groups],
            color=BLUE, marker="o",
        )  # fmt: skip
        right.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        right.set_xlabel("mean probability")
        right.set_ylabel("share of scans of the class")
        return figure
