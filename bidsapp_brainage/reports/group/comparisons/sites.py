"""Figure of the group page about sites, before and after they were harmonised."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from bidsapp_brainage.reports.figures.drawing import STYLE
from bidsapp_brainage.reports.group.figures import (
    BLUE,
    GREY,
    MANY_BARS,
    ORANGE,
    chart,
    short_name,
)
from bidsapp_brainage.reports.group.pictures import Gallery, Picture
from bidsapp_brainage.reports.group.stored import StoredResults

_GAPS = ("gap", "gap_harmonised")


def site_picture(results: StoredResults, gallery: Gallery) -> Picture | None:
    """Gaps by site before and after harmonising; None where that was not done."""
    rows = results.rows("group_brainage", needs=("site", *_GAPS))
    people = rows.dropna(subset=["site", *_GAPS]) if len(rows) else rows
    if people.empty:
        return None
    return gallery.picture(
        gaps_by_site(people),
        "harmonisation",
        "Box plots of the gap by site, before and after harmonising",
        "Gaps of all scans by site, as computed (left) and harmonised (right); without any "
        "account of age, sex or group, in which sites may differ. Boxes: quartiles and median; "
        f"at most the {MANY_BARS} sites with most scans.",
        data="group_brainage",
    )


def gaps_by_site(scans: pd.DataFrame) -> Figure:
    """Boxes of ``gap`` and ``gap_harmonised`` (years) by ``site``, side by side."""
    labels = scans["site"].astype(str)
    names = sorted(labels.value_counts().index[:MANY_BARS])
    parts = [scans[labels == name] for name in names]
    with mpl.rc_context(STYLE):
        figure, first = chart(8.8, 1.1 + 0.3 * len(names))
        first.remove()
        before = None
        for place, (column, title) in enumerate(
            zip(_GAPS, ("as computed", "harmonised"), strict=True)
        ):
            axes = figure.add_subplot(
                1, 2, place + 1, facecolor="none", sharex=before, sharey=before
            )
            before = axes
            axes.boxplot(
                [part[column].to_numpy(dtype=float) for part in parts],
                positions=range(len(names)),
                orientation="horizontal",
                widths=0.6,
                showfliers=False,
                boxprops={"color": BLUE},
                medianprops={"color": ORANGE, "linewidth": 1.6},
            )
            axes.axvline(0, color=GREY, lw=1, ls="--")
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("gap (years)")
            counts = [f"{short_name(n)} ({len(p)})" for n, p in zip(names, parts, strict=True)]
            axes.set_yticks(range(len(names)), counts)
            axes.tick_params(axis="y", length=0, labelleft=place == 0)
        axes.invert_yaxis()
        return figure
