"""Tables of the group page about single scans: flags, outliers, what was left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from bidsapp_brainage.group.sample import UNFLAGGED
from bidsapp_brainage.reports.html import Cell, Column, Table, number_cell, text_cell

#: From a participant (``sub-01``) to a relative link, empty if there is no page.
Link = Callable[[str], str]


def flag_table(scans: pd.DataFrame, qc: pd.DataFrame, link: Link) -> Table | None:
    """Scans with a quality or doubt flag; None when there are none."""
    flagged = scans[scans["flagged"]]
    if flagged.empty:
        return None
    reasons = (
        dict(zip(qc["scan"], qc["decision_reason"], strict=True)) if "decision_reason" in qc else {}
    )
    rows = [
        [
            _scan_cell(row["scan"], link),
            _flag_cell(row["qc_flag"]),
            text_cell(reasons.get(row["scan"])),
            _flag_cell(row["ood_flag"]),
            number_cell(row["predicted_age"], 1),
            number_cell(row["gap"], 1, signed=True),
        ]
        for _, row in flagged.iterrows()
    ]
    columns = [
        Column("Scan"),
        Column("Image quality"),
        Column("Reason", wrap=True),
        Column("Doubt about the prediction"),
        Column("Predicted age (years)", numeric=True),
        Column("Gap (years)", numeric=True),
    ]
    caption = "Flagged scans. They are kept in all figures; the accuracy table shows both versions."
    return Table("flag-table", caption, columns, rows)


def _scan_cell(scan: Any, link: Link) -> Cell:
    """Name of a scan that leads to the person's page."""
    return Cell(str(scan), href=link(str(scan).split("_")[0]))


def _flag_cell(flag: Any) -> Cell:
    calm = flag in UNFLAGGED
    level = "ok" if calm else "bad" if flag == "fail" else "warn"
    return Cell(str(flag).replace("_", " "), level=level)


def outlier_table(outliers: pd.DataFrame, link: Link) -> Table | None:
    """Values far from the rest of the sample; None when there are none."""
    if outliers.empty:
        return None
    rows = [
        [
            _scan_cell(row["scan"], link),
            Cell(str(row["metric"]).replace("_", " ")),
            Cell(f"{row['value']:.4g}", value=f"{row['value']:.6g}"),
            Cell(f"{row['median']:.4g}", value=f"{row['median']:.6g}"),
            number_cell(row["robust_z"], 1, signed=True),
        ]
        for _, row in outliers.iterrows()
    ]
    columns = [
        Column("Scan"),
        Column("Measure"),
        Column("Value", numeric=True),
        Column("Median", numeric=True),
        Column("Robust z", numeric=True, help="distance from the median in robust SDs"),
    ]
    caption = "More than 3.5 robust standard deviations from the sample's median: worth a look."
    return Table("outlier-table", caption, columns, rows)


def exclusion_table(exclusions: pd.DataFrame, link: Link) -> Table | None:
    """What was left out of what, and why; None when nothing was."""
    if exclusions.empty:
        return None
    rows = [
        [_scan_cell(name, link), *(Cell(str(value)) for value in rest)]
        for name, *rest in exclusions.itertuples(index=False)
    ]
    columns = [Column("Participant or scan"), Column("Left out of"), Column("Why", wrap=True)]
    return Table("exclusion-table", "Left out, with the reason.", columns, rows)
