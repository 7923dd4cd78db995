"""Flags in plain words: what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bidsapp_brainage.reports.html import is_missing, number


@dataclass(frozen=True)
class Notice:
    """One finding: `level` is ``ok``, ``warn``, ``bad`` or empty for neutral facts."""

    level: str
    title: str
    text: str = ""
    remedy: str = ""


_DOUBTS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "stripped_source": (
            "The image was skull-stripped before, and the model learned from whole heads only",
            "Such images differ from those in training in ways that the app cannot undo; the age "
            "may be wrong by decades. The model's card has figures for such images.",
            "Run the app on the whole-head images. If there are none, do not use the age or the "
            "gap; at most compare people of this one dataset with each other.",
        ),
        "out_of_range": (
            "The predicted age lies outside the ages that the model was trained on",
            "The network saw no brain of this age while it learned; the number is a guess.",
            "Do not use this prediction. Take a model whose card covers the age of this person, "
            "and check the figures under Model input for a failed normalisation.",
        ),
        "edge_mass": (
            "Much of the age distribution lies at the edge of the model's range",
            "More than 20 % of the probability is in the first or last age bin, so the true age "
            "may lie outside of what the model can say.",
            "Treat the number as a bound (this old or older, this young or younger) and take a "
            "model with a wider range if one is at hand.",
        ),
        "member_disagreement": (
            "The members of the model disagree about this scan",
            "The networks of the ensemble gave ages that differ more than they did in "
            "cross-validation; often the image is unlike the training images.",
            "Look at the mask, the registration and the model input below; leave the scan out of "
            "the analysis if any of them is wrong, or report results with and without it.",
        ),
    }
)
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


def doubt(flag: object) -> list[Notice]:
    """Words for ``ood_flag``; an unknown flag is shown as it is."""
    if is_missing(flag) or flag == "none":
        return []
    title, text, remedy = _DOUBTS.get(str(flag), (f"The model raised the flag {flag}", "", _LOOK))
    return [Notice("bad" if flag == "out_of_range" else "warn", title, text, remedy)]


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


def ages(row: Mapping[str, object], age_range: Sequence[float] | None) -> list[Notice]:
    """Words about the chronological age: unknown, or outside of the model's training ages."""
    age = row.get("chronological_age")
    if is_missing(age):
        return [
            Notice(
                "",
                "The chronological age is not known, so there is no gap",
                "The prediction and the contributions of regions do not need it.",
                "If the age is known, add an age column to participants.tsv or sessions.tsv, or "
                "give a table with --age-file.",
            )
        ]
    if age_range is None or age_range[0] <= float(str(age)) <= age_range[1]:
        return []
    span = f"{age_range[0]:g} to {age_range[1]:g}"
    return [
        Notice(
            "warn",
            "This person is outside the ages that the model was trained on",
            f"Chronological age {number(age)}, training ages {span} years.",
            "Expect a prediction pulled towards the training ages; do not read the gap as a "
            "finding about this person.",
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
