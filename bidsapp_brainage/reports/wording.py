"""Flags in plain words: what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bidsapp_brainage.catalogue import flags as catalogue
from bidsapp_brainage.reports.html import is_missing


@dataclass(frozen=True)
class Notice:
    """One finding: `level` is ``ok``, ``warn``, ``bad`` or empty for neutral facts."""

    level: str
    title: str
    text: str = ""
    remedy: str = ""


_LOOK = (
    "Look at the outline of the mask, the registration and the model input in this report. If "
    "all three are right the result may be used; report the analysis with and without this scan."
)
#: Part of a reason of the quality checks, and what to do about it.
_REMEDIES = (
    (
        "resembl",
        "Check that the file is a T1w image of a head, and look at the registration: if the "
        "participant does not sit on the template, the header may hold a wrong orientation.",
    ),
    (
        "brain mask",
        "Look at the outline of the mask; if it is wrong, give one of your own with --derivatives.",
    ),
    (
        "fluid not found",
        "Check that the file is an MR image of a head, and look at mask and registration.",
    ),
    (
        "brain volume",
        "Check the voxel size in the header and the outline of the mask.",
    ),
    (
        "field of view",
        "Part of the brain is not in the image: use another run of this session if there is one, "
        "and do not interpret regions at the cut.",
    ),
    (
        "voxel",
        "Use a 3D T1w image of about 1 mm if there is one; convert the image from DICOM again if "
        "voxels were not finite.",
    ),
)
_LEAVE_OUT = (
    "Leave this scan out, or repair its cause (a wrong file, a failed mask or registration, "
    "movement) and run the participant level again."
)


def flags(row: Mapping[str, object]) -> list[Notice]:
    """Words for the flags of a prediction, with their reasons; unknown ones as they are.

    `row` is that of the table; one of an earlier version has the column ``ood_flag`` only.
    """
    keys = catalogue.split(row.get("flags", row.get("ood_flag")))
    told = row.get("flag_reasons")
    reasons = [] if is_missing(told) else str(told).split("; ")
    if len(reasons) != len(keys):
        reasons = [""] * len(keys)
    notices = []
    for key, reason in zip(keys, reasons, strict=True):
        card = catalogue.flag(key)
        found = _sentence(reason) if reason else ""
        if card is None:
            notices.append(Notice("warn", f"The model raised the flag {key}", found, _LOOK))
        else:
            text = " ".join(part for part in (found, card.text) if part)
            notices.append(Notice(card.level, card.title, text, card.remedy))
    return notices


def quality(decision: object, reason: object) -> list[Notice]:
    """Words for the decision of the quality checks."""
    if is_missing(decision) or decision == "pass":
        return []
    reasons = (
        [] if is_missing(reason) else [part for part in str(reason).split(";") if part.strip()]
    )
    text = " ".join(map(_sentence, reasons))
    special = [advice for part, advice in _REMEDIES if part in text.lower()]
    if decision == "fail":
        advice = " ".join([_LEAVE_OUT, *special])
        return [Notice("bad", "The quality checks failed: do not use this scan", text, advice)]
    advice = " ".join([*special, _LOOK])
    return [Notice("warn", "The quality checks ask for a look at this scan", text, advice)]


def ages(row: Mapping[str, object]) -> list[Notice]:
    """Words about a chronological age that is not known."""
    if not is_missing(row.get("chronological_age")):
        return []
    return [
        Notice(
            "",
            "The chronological age is not known, so there is no gap",
            "The prediction and the contributions of regions do not need it; whether the "
            "prediction is plausible cannot be checked without it.",
            "If the age is known, add an age column to participants.tsv or sessions.tsv, or "
            "give a table with --age-file.",
        )
    ]


def no_interval(row: Mapping[str, object]) -> list[Notice]:
    """Words about an interval that is missing."""
    if not is_missing(row.get("ci95_lower")):
        return []
    return [
        Notice(
            "",
            "There is no interval",
            "The card of this model has no calibration, so nobody knows how large its errors are. "
            "The width of the distribution of ages is no error bar.",
            "Fit intervals on people whom the model did not learn from, best controls of your own "
            "scanner: brainage-model calibrate.",
        )
    ]


def same_age_in_sessions(rows: Sequence[Mapping[str, object]]) -> list[Notice]:
    """Warn when several sessions share one age from ``participants.tsv``."""
    used = [row for row in rows if not is_missing(row.get("chronological_age"))]
    sessions = {row.get("session_id") for row in used}
    values = {row.get("chronological_age") for row in used}
    from_people = all(row.get("age_source") == "participants.tsv" for row in used)
    if len(sessions) < 2 or len(values) > 1 or not from_people:
        return []
    return [
        Notice(
            "warn",
            "All sessions were given the same chronological age",
            "participants.tsv has one age per person, so the gaps of later sessions are too large "
            "by the time between the sessions.",
            f"Put the age at each session into sub-*_sessions.tsv ({len(sessions)} sessions here) "
            "and run again; what is already computed is reused.",
        )
    ]


def worst(notices: Sequence[Notice]) -> str:
    """Most severe level among notices, ``ok`` when none is severe."""
    levels = {notice.level for notice in notices}
    return next((level for level in ("bad", "warn") if level in levels), "ok")


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
