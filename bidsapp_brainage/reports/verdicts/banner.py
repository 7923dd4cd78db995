"""A verdict as pages show it: a word, what speaks for it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bidsapp_brainage.reports.wording import BADGES, Notice, reasons
from bidsapp_brainage.stats.verdicts import Verdict

_TITLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "scan": {
            "usable": "Usable: nothing speaks against this number",
            "look closer": "Look closer before you use this number",
            "do not use": "Do not use this number",
        },
        "sample": {
            "usable": "Usable: nothing speaks against these results",
            "look closer": "Look closer before you use these results",
            "do not use": "Do not use these results as they are",
        },
    }
)
_OF_REGIONS = "Look closer before you use contributions of regions"


@dataclass(frozen=True)
class Banner:
    """What the macro ``verdict`` shows.

    Attributes
    ----------
    level : str
        ``ok``, ``warn`` or ``bad``.
    word, title : str
        The verdict, and the same as a sentence.
    reasons : tuple of Notice
        The gravest first.
    advice : tuple of str
        What to do.
    aside : tuple of Notice
        What concerns only a part of the results.
    """

    level: str
    word: str
    title: str
    reasons: tuple[Notice, ...]
    advice: tuple[str, ...]
    aside: tuple[Notice, ...] = ()


def banner(verdict: Verdict, regions: Sequence[tuple[str, Verdict]] = ()) -> Banner:
    """The verdict on a scan or a sample, and those on contributions by atlas."""
    aside = [
        Notice(BADGES[own.level], _OF_REGIONS, f"{atlas}. {_sentences(own)}")
        for atlas, own in regions
        if own.doubts
    ]
    return Banner(
        BADGES[verdict.level],
        verdict.level,
        _TITLES[verdict.about][verdict.level],
        tuple(reasons(verdict)),
        verdict.advice,
        tuple(aside),
    )


def _sentences(verdict: Verdict) -> str:
    return " ".join(f"{reason.title}." for reason in verdict.doubts)
