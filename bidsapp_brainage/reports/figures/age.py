"""Figure of a predicted age: its distribution, and the people that the model was trained on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bidsapp_brainage.io import read_tsv, write_text
from bidsapp_brainage.model.provenance import TrainingCohort
from bidsapp_brainage.reports.figures.drawing import STYLE
from bidsapp_brainage.reports.html import is_missing, number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

_INK, _MUTED, _ACCENT, _ACTUAL = "#17212b", "#566270", "#0b6b74", "#b45309"
_STYLE: dict[RcKeyType, object] = {
    **STYLE,
    "font.size": 10,
    "axes.spines.left": False,
    "axes.edgecolor": "#9aa4af",
    "axes.labelcolor": _INK,
    "xtick.color": _MUTED,
}
_MARGIN = 6.0  # years beyond what is drawn, without a distribution
_EDGE = 0.22  # of the width: here words go to the inner side
_BESIDE = 1.0  # years beside an age that lies outside of the bins
_WIDE = 1.96
#: Heights of words and arrow above the bars, over that of the highest bar.
_ARROW, _LOW, _HIGH, _GAP_WORDS, _TOP = 1.16, 1.28, 1.40, 1.52, 1.64


def plot_age_distribution(
    brainage_path: Path, agedist_path: Path | None, cohort: TrainingCohort, out: Path
) -> None:
    """Write :func:`draw_age_distribution` as SVG; the same tables give the same bytes."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        text = io.StringIO()
        figure = draw_age_distribution(brainage_path, agedist_path, cohort)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    write_text(out, content[content.index("<svg") :])


def draw_age_distribution(
    brainage_path: Path, agedist_path: Path | None, cohort: TrainingCohort
) -> Figure:
    """Draw the predicted ages, the gap, and how far the training cohort was spread.

    Without a table of the distribution, or without rows in it (models that answer with a number),
    the interval stands alone. Outside of the ages of the cohort is hatched; its ages and its
    predictions are drawn below. Raises :class:`DataError` if a table cannot be read.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    row = read_tsv(brainage_path).iloc[0]
    bins = _bins(agedist_path)
    strips = _strips(row, cohort)
    heights = [3.0 if bins is not None else 1.3, 0.36 * len(strips) + 0.1]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, sum(heights) + 0.75), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
        above.set_xlim(*_span(row, bins, cohort))
        peak = 1.0 if bins is None else float(bins["probability"].max())
        if bins is not None:
            _draw_bins(above, bins, row)
        _draw_range(above, cohort)
        _draw_ages(above, row, peak, floor=0.62 if bins is None else 0.0)
        _draw_strips(below, strips, row)
    return figure


def _bins(path: Path | None) -> pd.DataFrame | None:
    if path is None:
        return None
    bins = read_tsv(path)
    known = "probability" in bins and bins["probability"].notna().any()
    return bins if known else None


def _span(row: pd.Series, bins: pd.DataFrame | None, cohort: TrainingCohort) -> tuple[float, float]:
    """First and last age that is drawn: all ages of this scan, and all bins or the cohort."""
    names = ("predicted_age", "chronological_age", "ci95_lower", "ci95_upper")
    ages = [float(row[name]) for name in names if name in row and not is_missing(row[name])]
    if bins is None:
        ages += list(cohort.age_range or ())
        return min(ages) - _MARGIN, max(ages) + _MARGIN
    first, last = float(bins["age_lower"].iloc[0]), float(bins["age_upper"].iloc[-1])
    low, high = min(ages) - _BESIDE, max(ages) + _BESIDE
    return min(first, low), max(last, high)


#: A strip: title, thin line from-to, thick line from-to, point, colour.
_Strip = tuple[str, tuple[float, float] | None, tuple[float, float] | None, float | None, str]


def _strips(row: pd.Series, cohort: TrainingCohort) -> list[_Strip]:
    """Lines below the distribution: this scan, people of this age, the training cohort."""
    interval = None
    if not is_missing(row["ci95_lower"]) and not is_missing(row["ci95_upper"]):
        interval = (float(row["ci95_lower"]), float(row["ci95_upper"]))
    strips: list[_Strip] = [
        ("this scan, 95 % interval", interval, None, float(row["predicted_age"]), _ACCENT)
    ]
    age = row["chronological_age"]
    expected = None if is_missing(age) else cohort.expected(float(age))
    if expected is not None:
        mean, sd = expected
        wide = (mean - _WIDE * sd, mean + _WIDE * sd)
        title = "reference people of this age, predicted"
        strips.append((title, wide, (mean - sd, mean + sd), mean, _ACTUAL))
    if cohort.age_range is not None:
        centre, spread = cohort.age_mean, cohort.age_sd
        middle = None
        if centre is not None and spread is not None:
            middle = (centre - spread, centre + spread)
        strips.append(("ages of the training cohort", cohort.age_range, middle, centre, _MUTED))
    return strips


def _draw_strips(axes: Axes, strips: list[_Strip], row: pd.Series) -> None:
    axes.set_ylim(len(strips) - 0.45, -0.75)
    axes.set_yticks([])
    axes.set_xlabel("age (years)")
    low, high = axes.get_xlim()
    for height, (title, thin, thick, point, colour) in enumerate(strips):
        if thin is not None:
            axes.hlines(height, max(thin[0], low), min(thin[1], high), color=colour, lw=1.6)
        if thick is not None:
            axes.hlines(
                height, max(thick[0], low), min(thick[1], high), color=colour, lw=6, alpha=0.45
            )
        if point is not None:
            axes.plot([point], [height], "o", color=colour, ms=5)
        known = [low] if thin is None else [thin[0], thin[1]]
        right = (known[0] + known[-1]) / 2 > (low + high) / 2
        place = (low if right else high, height - 0.3)
        axes.text(
            *place,
            title,
            ha="left" if right else "right",
            va="center",
            fontsize=8.5,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.vlines(row["predicted_age"], -0.75, 0, color=_ACCENT, lw=2.2)
    if not is_missing(row["chronological_age"]):
        age = row["chronological_age"]
        axes.vlines(age, -0.75, len(strips) - 0.45, color=_ACTUAL, lw=1, ls=(0, (4, 2)))


def _draw_bins(axes: Axes, bins: pd.DataFrame, row: pd.Series) -> None:
    lower, upper = bins["age_lower"].to_numpy(), bins["age_upper"].to_numpy()
    inside = np.zeros(len(bins), dtype=bool)
    if not is_missing(row["ci95_lower"]):
        inside = (upper > row["ci95_lower"]) & (lower < row["ci95_upper"])
    colours = np.where(inside, "#5aa9b0", "#c3d7da")
    axes.bar(
        lower, bins["probability"], width=upper - lower, align="edge", color=colours,
        edgecolor="white", linewidth=0.8,
    )  # fmt: skip
    axes.set_ylabel("probability")


def _draw_range(axes: Axes, cohort: TrainingCohort) -> None:
    """Hatch the ages that the model was not trained on."""
    if cohort.age_range is None:
        return
    first, last = axes.get_xlim()
    youngest, oldest = cohort.age_range
    for low, high in ((first, max(first, youngest)), (min(last, oldest), last)):
        if high > low:
            axes.axvspan(low, high, facecolor="#eef0f3", edgecolor="#cbd2d9", hatch="///", zorder=0)


def _draw_ages(axes: Axes, row: pd.Series, peak: float, *, floor: float) -> None:
    """Draw predicted age, chronological age and the gap between them above the bars."""
    predicted, actual = row["predicted_age"], row["chronological_age"]
    axes.set_ylim(peak * floor, peak * _TOP)
    axes.set_yticks([])
    label = f"predicted {number(predicted)}"
    if is_missing(actual):
        axes.vlines(predicted, peak * floor, peak * _HIGH, color=_ACCENT, lw=2.2)
        words = label + "  (chronological age not known)"
        _say(axes, predicted, peak * _HIGH, words, _ACCENT)
        return
    marks = [
        (predicted, label, _ACCENT, "solid"),
        (actual, f"chronological {number(actual)}", _ACTUAL, (0, (4, 2))),
    ]
    (first, second), sides = _in_rows(marks, axes.get_xlim())
    for (age, words, colour, dashes), side, top in (
        (first, sides[0], peak * _LOW),
        (second, sides[1], peak * _HIGH),
    ):
        axes.vlines(age, peak * floor, top, color=colour, lw=2.2, ls=dashes)
        _say(axes, age, top, words, colour, align=side)
    if abs(predicted - actual) > 0.5:
        arrow: dict[str, object] = {"arrowstyle": "<->", "color": _INK, "shrinkA": 0, "shrinkB": 0}
        start, end = (predicted, peak * _ARROW), (actual, peak * _ARROW)
        axes.annotate("", xy=start, xytext=end, arrowprops=arrow)
    gap = number(predicted - actual, signed=True)
    _say(axes, (predicted + actual) / 2, peak * _GAP_WORDS, f"gap {gap} years", _INK)


#: An age, what is written beside it, its colour and its dashes.
_Mark = tuple[float, str, str, object]


def _in_rows(
    marks: Sequence[_Mark], span: tuple[float, float]
) -> tuple[tuple[_Mark, _Mark], tuple[str, str]]:
    """Two marks, the one with the lower words first, and the sides of their words.

    Words stand on the outer sides of the two lines; near an edge all stand on the inner side, and
    the line of the lower words ends below those that it would cross.
    """
    young, old = sorted(marks, key=lambda mark: mark[0])
    width = span[1] - span[0]
    at_start = young[0] - span[0] < _EDGE * width
    at_end = span[1] - old[0] < _EDGE * width
    if at_start and at_end:
        return (young, old), ("left", "right")
    if at_end:
        return (young, old), ("right", "right")
    if at_start:
        return (old, young), ("left", "left")
    return (young, old), ("right", "left")


def _say(
    axes: Axes, age: float, height: float, text: str, colour: str, *, align: str = "center"
) -> None:
    """Write beside an age, kept inside of the axes; every text has a height of its own."""
    low, high = axes.get_xlim()
    share = (age - low) / (high - low)
    if align == "center" and not _EDGE / 2 < share < 1 - _EDGE / 2:
        align = "right" if share > 0.5 else "left"
    offset = {"left": 0.3, "right": -0.3, "center": 0.0}[align]
    axes.text(age + offset, height, text, ha=align, va="bottom", color=colour, fontweight="bold")
