"""Findings in plain words: what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bidsapp_brainage.catalogue import flags as catalogue
from bidsapp_brainage.catalogue.lookup import baseline_title, explanation_title
from bidsapp_brainage.reports.html import is_missing, number
from bidsapp_brainage.stats.regional.signs import Verdict


@dataclass(frozen=True)
class Notice:
    """One finding: `level` is ``ok``, ``warn``, ``bad`` or empty for neutral facts."""

    level: str
    title: str
    text: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class SignWords:
    """How the sign of a contribution is told: a badge with its level, and a clause.

    Contributions with a clause are to be read with care, and are marked in maps and bars.
    """

    word: str
    level: str
    clause: str = ""


#: By :data:`bidsapp_brainage.stats.regional.signs.Sign`.
SIGNS: Mapping[object, SignWords] = MappingProxyType(
    {
        "stable": SignWords("stable", "ok"),
        "opposite": SignWords("depends", "bad", "the sign depends on what replaces the region"),
        "uncertain": SignWords("uncertain", "warn", "the sign is uncertain"),
        "negligible": SignWords("negligible", ""),
    }
)
LOW_AGREEMENT = 0.3  # of rank correlations between explanations
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


def contributions(verdict: Verdict, *, of: str = "the sign", beyond: str = "") -> list[Notice]:
    """What holds of contributions whatever replaces a region, and what does not.

    `of` says whose sign was judged, `beyond` against what spread. Nothing where there are no
    contributions.
    """
    if verdict.strongest is None:
        return []
    fills = _listed([baseline_title(name) for name in verdict.baselines])
    if len(verdict.baselines) < 2:
        return [
            Notice(
                "warn",
                "Whether signs depend on what replaces a region is not known",
                f"Regions were replaced in one way only ({fills}).",
                "Run the participant level with two baselines or more (--occlusion-baseline).",
            )
        ]
    doubts = _doubts(verdict, of)
    stable, leading = verdict.counts["stable"], f"{verdict.n_leading} leading regions"
    if doubts:
        title = _sentence("; ".join(doubts))
    elif stable:
        title = f"{_sentence(of)[:-1]} of all {leading} that have one holds whatever replaces them."
    else:
        title = f"The contributions of the {leading} are too small to have a sign."
    text = f"What holds: {of} of {stable} of the {leading} is the same with {fills}{beyond}."
    others = [f"{explanation_title(name)} {number(rho, 2)}" for name, rho in verdict.agreement]
    if others:
        text += f" Rank correlation over all regions with other explanations: {', '.join(others)}."
    remedy = "Report single regions only where the sign is stable, with the name of the baseline."
    return [Notice("warn", title, text, remedy) if doubts else Notice("ok", title, text)]


def _doubts(verdict: Verdict, of: str) -> list[str]:
    """Clauses about what does not hold."""
    counts, leading = verdict.counts, f"of the {verdict.n_leading} leading regions"
    doubts = []
    if counts["opposite"]:
        doubts.append(f"{of} of {counts['opposite']} {leading} depends on what replaces them")
    if counts["uncertain"]:
        whose = "that" if doubts else of
        rest = "" if doubts else f" {leading}"
        doubts.append(f"{whose} of {counts['uncertain']}{rest} is uncertain")
    lowest = min(verdict.agreement, key=lambda pair: pair[1], default=("", 1.0))
    if lowest[1] < LOW_AGREEMENT:
        rho = number(lowest[1], 2)
        doubts.append(f"the order of regions hardly agrees (rank correlation {rho})")
    return doubts


def _listed(parts: Sequence[str]) -> str:
    """Parts with commas and, before the last, "and"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def worst(notices: Sequence[Notice]) -> str:
    """Most severe level among notices, ``ok`` when none is severe."""
    levels = {notice.level for notice in notices}
    return next((level for level in ("bad", "warn") if level in levels), "ok")


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
