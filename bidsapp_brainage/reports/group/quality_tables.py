"""Tables of the group page about single scans: flags, outliers, what was left out."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.bids.dictionaries import describe_columns
from bidsapp_brainage.catalogue import flags
from bidsapp_brainage.group.sample import UNFLAGGED, doubted
from bidsapp_brainage.reports.cohort.links import ReportLink
from bidsapp_brainage.reports.html import Cell, Table, count
from bidsapp_brainage.reports.tables import Show, tabulate, with_values
from bidsapp_brainage.reports.wording import Notice
from bidsapp_brainage.stats.verdicts import LEVELS


def flag_table(scans: pd.DataFrame, qc: pd.DataFrame, link: ReportLink) -> Table | None:
    """Scans with any flag or doubt; None when there are none."""
    judged = scans["verdict"] if "verdict" in scans else pd.Series(None, index=scans.index)
    flagged = scans.assign(verdict=judged)[doubted(scans) | judged.isin(LEVELS[1:])]
    if flagged.empty:
        return None
    known = "decision_reason" in qc
    reasons = dict(zip(qc["scan"], qc["decision_reason"], strict=True)) if known else {}
    columns = [
        _scan(link),
        *with_values(flagged, [Show("verdict", "Verdict", "verdict")]),
        Show("qc_flag", "Image quality", cell=_flag_cell),
        Show("flags", "Doubt about the prediction", cell=_flags_cell),
        *with_values(flagged, [Show("gap", "Gap (years)", "signed", 1)]),
        Show("reason", "Reason", "long"),
        Show("flag_reasons", "What was found", "long"),
        *with_values(flagged, [Show("predicted_age", "Predicted age (years)", "number", 1)]),
    ]
    caption = (
        "Flagged scans. They are kept in all figures; the accuracy table shows both versions, of "
        "which the second leaves out those whose flag needs no age."
    )
    rows = flagged.assign(reason=flagged["scan"].map(reasons))
    if "flag_reasons" not in rows:
        rows["flag_reasons"] = None
    return tabulate("flag-table", caption, columns, rows)


def _scan(link: ReportLink, title: str = "Scan") -> Show:
    """Name of a scan that leads to the person's page."""
    return Show("scan", title, cell=lambda s: Cell(str(s), href=link(str(s))))


def _flag_cell(flag: object) -> Cell:
    calm = flag in UNFLAGGED
    level = "ok" if calm else "bad" if flag == "fail" else "warn"
    return Cell(str(flag).replace("_", " "), level=level)


def _flags_cell(text: object) -> Cell:
    cards = [(key, flags.flag(key)) for key in flags.split(text)]
    level = "bad" if any(card and card.level == "bad" for _, card in cards) else "warn"
    words = ", ".join(key.replace("_", " ") for key, _ in cards)
    return Cell(words or "none", level=level if cards else "ok")


def flag_notice(scans: pd.DataFrame) -> Notice:
    """How many scans have a flag, and which, most frequent first."""
    found = scans["flags"].map(flags.split).explode().dropna().value_counts()
    doubt = int(doubted(scans).sum())
    if not doubt:
        return Notice("ok", "No scan has a flag")
    named = [f"{str(key).replace('_', ' ')} {n}" for key, n in found.items()]
    quality = int((~scans["qc_flag"].isin(UNFLAGGED)).sum())
    named += [f"image quality {quality}"] if quality else []
    cards = map(flags.flag, found.index)
    level = "bad" if any(card and card.level == "bad" for card in cards) else "warn"
    return Notice(
        level,
        f"{doubt} of {count(len(scans), 'scan')}{_whose(scans)} {'has' if doubt == 1 else 'have'} "
        "a flag",
        f"Scans by flag, of which one may have several: {', '.join(named)}.",
    )


def _whose(scans: pd.DataFrame) -> str:
    """How many people the flagged scans are of, where some have several scans."""
    people = scans["participant_id"]
    if people.is_unique:
        return ""
    return f" ({people[doubted(scans)].nunique()} of {count(people.nunique(), 'person')})"


def outlier_table(outliers: pd.DataFrame, link: ReportLink) -> Table | None:
    """Values far from the rest of the sample; None when there are none."""
    if outliers.empty:
        return None
    columns = [
        _scan(link),
        Show("metric", "Measure", "measure"),
        Show("value", "Value", "number", cell=_short_cell),
        Show("median", "Median", "number", cell=_short_cell),
        Show("robust_z", "Robust z", "signed", 1, "distance from the median in robust SDs"),
    ]
    caption = "More than 3.5 robust standard deviations from the sample's median: worth a look."
    return tabulate("outlier-table", caption, columns, outliers)


def rating_table(ratings: pd.DataFrame, link: ReportLink) -> Table | None:
    """What people said of scans, the lowest ratings first; None when nobody rated."""
    if ratings.empty:
        return None
    columns = [
        _scan(link),
        Show("rating", kind="count", ascending=True, sorted="ascending"),
        Show("lowest", kind="count", ascending=True),
        Show("highest", kind="count", ascending=True),
        Show("raters", kind="name"),
        Show("left_out", cell=_left_out_cell),
        Show("artefacts", kind="long"),
        Show("notes", kind="long"),
    ]
    caption = "Ratings from 1 (exclude) to 4 (excellent); of several the median, of two the lower."
    described = describe_columns("scanratings", [show.name for show in columns])
    shown = with_values(ratings, columns)
    return tabulate("rating-table", caption, shown, ratings, described=described)


def _left_out_cell(value: object) -> Cell:
    return Cell("left out", level="bad") if value is True else Cell("used")


def _short_cell(value: object) -> Cell:
    return Cell(f"{value:.4g}", value=f"{value:.6g}")


def exclusion_table(exclusions: pd.DataFrame, link: ReportLink) -> Table | None:
    """What was left out of what, and why; None when nothing was."""
    if exclusions.empty:
        return None
    columns = [
        _scan(link, "Participant or scan"),
        Show("left_out_of", "Left out of", "name"),
        Show("reason", "Why", "long"),
    ]
    return tabulate("exclusion-table", "Left out, with the reason.", columns, exclusions)
