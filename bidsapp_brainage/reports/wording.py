"""Findings in plain words: what was found, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bidsapp_brainage.catalogue.levels import SIDES
from bidsapp_brainage.catalogue.lookup import baseline_title, explanation_title
from bidsapp_brainage.reports.html import is_missing, number
from bidsapp_brainage.stats import verdicts
from bidsapp_brainage.stats.regional.signs import Verdict
from bidsapp_brainage.stats.verdicts import LOW_AGREEMENT, SIGN_REMEDY, sentence

# Where words begin in "ThalamusProper", "Cerebellum_WM" and "VentralDC".
_WORDS = re.compile(r"_|(?<=[a-z])(?=[A-Z])")


def label_title(name: str) -> str:
    """Name of a label of a segmentation in words; one with spaces or hyphens stays as it is.

    Examples
    --------
    >>> label_title("ThalamusProper_R"), label_title("Cerebellum_WM_L"), label_title("3rdVentricle")
    ('Right thalamus proper', 'Left cerebellum WM', '3rd ventricle')
    """
    if " " in name or "-" in name:
        return name
    *words, last = [word for word in _WORDS.split(name) if word] or [name]
    side = SIDES.get(last, "") if words else ""
    plain = " ".join(
        word if word.isupper() else word.lower()
        for word in ([side, *words] if side else [*words, last])
    )
    return plain[:1].upper() + plain[1:]


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
#: Level of a badge for each level of a verdict.
BADGES: Mapping[object, str] = MappingProxyType(
    {"usable": "ok", "look closer": "warn", "do not use": "bad"}
)


def reasons(verdict: verdicts.Verdict) -> list[Notice]:
    """Words for everything that speaks for or against a result."""
    return list(map(_notice, verdict.reasons))


def quality(row: Mapping[str, object]) -> list[Notice]:
    """Words for what the quality checks found; `row` is that of ``*_qc.tsv``."""
    found = verdicts.quality_reasons(
        row.get("decision", row.get("qc_flag")), row.get("decision_reason")
    )
    return list(map(_notice, found))


def _notice(reason: verdicts.Reason) -> Notice:
    level = "" if reason.level == "usable" else BADGES[reason.level]
    return Notice(level, reason.title, reason.text, reason.remedy)


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
        title = sentence("; ".join(doubts))
    elif stable:
        title = f"{sentence(of)[:-1]} of all {leading} that have one holds whatever replaces them."
    else:
        title = f"The contributions of the {leading} are too small to have a sign."
    text = f"What holds: {of} of {stable} of the {leading} is the same with {fills}{beyond}."
    others = [f"{explanation_title(name)} {number(rho, 2)}" for name, rho in verdict.agreement]
    if others:
        text += f" Rank correlation over all regions with other explanations: {', '.join(others)}."
    return [Notice("warn", title, text, SIGN_REMEDY) if doubts else Notice("ok", title, text)]


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
