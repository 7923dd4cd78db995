"""Tables of the group page about single scans: flags, outliers, what was left out."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bidsapp_brainage.group.sample import UNFLAGGED
from bidsapp_brainage.reports.html import Cell, Table
from bidsapp_brainage.reports.tables import Show, tabulate

#: From a participant (``sub-01``) to a relative link, empty if there is no page.
Link = Callable[[str], str]


def flag_table(scans: pd.DataFrame, qc: pd.DataFrame, link: Link) -> Table | None:
    """Scans with a quality or doubt flag; None when there are none."""
    flagged = scans[scans["flagged"]]
    if flagged.empty:
        return None
    known = "decision_reason" in qc
    reasons = dict(zip(qc["scan"], qc["decision_reason"], strict=True)) if known else {}
    columns = [
        _scan(link),
        Show("qc_flag", "Image quality", cell=_flag_cell),
        Show("reason", "Reason", "long"),
        Show("ood_flag", "Doubt about the prediction", cell=_flag_cell),
        Show("predicted_age", "Predicted age (years)", "number", 1),
        Show("gap", "Gap (years)", "signed", 1),
    ]
    caption = "Flagged scans. They are kept in all figures; the accuracy table shows both versions."
    rows = flagged.assign(reason=flagged["scan"].map(reasons))
    return tabulate("flag-table", caption, columns, rows)


def _scan(link: Link, title: str = "Scan") -> Show:
    """Name of a scan that leads to the person's page."""
    return Show("scan", title, cell=lambda s: Cell(str(s), href=link(str(s).split("_")[0])))


def _flag_cell(flag: object) -> Cell:
    calm = flag in UNFLAGGED
    level = "ok" if calm else "bad" if flag == "fail" else "warn"
    return Cell(str(flag).replace("_", " "), level=level)


def outlier_table(outliers: pd.DataFrame, link: Link) -> Table | None:
    """Values far from the rest of the sample; None when there are none."""
    if outliers.empty:
        return None
    columns = [
        _scan(link),
        Show("metric", "Measure"),
        Show("value", "Value", "number", cell=_short_cell),
        Show("median", "Median", "number", cell=_short_cell),
        Show("robust_z", "Robust z", "signed", 1, "distance from the median in robust SDs"),
    ]
    caption = "More than 3.5 robust standard deviations from the sample's median: worth a look."
    return tabulate("outlier-table", caption, columns, outliers)


def _short_cell(value: object) -> Cell:
    return Cell(f"{value:.4g}", value=f"{value:.6g}")


def exclusion_table(exclusions: pd.DataFrame, link: Link) -> Table | None:
    """What was left out of what, and why; None when nothing was."""
    if exclusions.empty:
        return None
    columns = [
        _scan(link, "Participant or scan"),
        Show("left_out_of", "Left out of", "name"),
        Show("reason", "Why", "long"),
    ]
    return tabulate("exclusion-table", "Left out, with the reason.", columns, exclusions)
