"""Whether a number can be used: facts in; a level, its reasons and what to do out.

How to judge a scan from its derivatives: :func:`scan_verdict` takes the one row of
``*_brainage.tsv``, that of ``*_qc.tsv``, and the contents of the files of ratings as they are; each
may be absent. :func:`region_verdict` takes what
:func:`bidsapp_brainage.stats.regional.signs.verdict` says of one atlas; contributions that
contradict each other say nothing against the predicted age, so theirs is a verdict of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from bidsapp_brainage.catalogue import flags
from bidsapp_brainage.catalogue.flags import NO_AGE, NO_INTERVAL, NO_PREDICTION, Flag
from bidsapp_brainage.catalogue.quantity import AGE
from bidsapp_brainage.catalogue.ratings import GRADES, STEP_GRADES, STEPS
from bidsapp_brainage.stats.regional import signs

Level: TypeAlias = Literal["usable", "look closer", "do not use"]
LEVELS: tuple[Level, ...] = get_args(Level)  # from the best to the worst
_OF_GRADE: tuple[Level, ...] = ("do not use", "look closer")  # the lowest; better ones are good
_GOOD = GRADES[len(_OF_GRADE)].value
LOW_AGREEMENT = 0.3  # of rank correlations between explanations
SIGN_REMEDY = "Report single regions only where the sign is stable, with the name of the baseline."

_OF_FLAG: Mapping[str, Level] = MappingProxyType(
    {"": "usable", "warn": "look closer", "bad": "do not use"}
)
_OF_DECISION: Mapping[object, Level] = MappingProxyType(
    {"warn": "look closer", "fail": "do not use"}
)
#: What to do at each level anyway, by what the verdict is about.
_ADVICE: Mapping[str, Mapping[Level, str]] = MappingProxyType({
    "scan": {
        "usable": "Use the number, with its interval. Look at the figures anyway.",
        "look closer": "Look at the outline of the mask, the registration and the model input. If "
        "all three are right the result may be used; report the analysis with and without this "
        "scan.",
        "do not use": "Leave this scan out, or mend the cause (a wrong file, a failed mask or "
        "registration, movement) and run the participant level again.",
    },
    "sample": {
        "usable": "Report the numbers with their intervals.",
        "do not use": "Do not report these numbers before this is settled.",
    },
    "regions": {},
})  # fmt: skip


@dataclass(frozen=True)
class Reason:
    """Something that speaks against a result, or a remark.

    Attributes
    ----------
    key : str
        A flag of :data:`bidsapp_brainage.catalogue.flags.FLAGS`, or ``no_prediction``,
        ``quality``, ``rating``, ``no_interval``, ``no_age``, ``inside_interval``, ``signs``.
    level : str
        One of :data:`LEVELS`; ``usable`` for a mere remark.
    title : str
        What was found, in a few words.
    text, remedy : str
        What it means, and what to do beside what is done at this level anyway.
    """

    key: str
    level: Level
    title: str
    text: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a result, with its reasons, the gravest first.

    It is about a ``scan``, a ``sample`` or ``regions``.
    """

    reasons: tuple[Reason, ...] = ()
    about: str = "scan"

    @property
    def level(self) -> Level:
        """That of the gravest reason; ``usable`` without any."""
        return worst(reason.level for reason in self.reasons)

    @property
    def doubts(self) -> tuple[Reason, ...]:
        """Reasons that speak against the result, without mere remarks."""
        return tuple(reason for reason in self.reasons if reason.level != "usable")

    @property
    def summary(self) -> str:
        """Titles of the doubts for a cell of a table; empty without any."""
        return "; ".join(reason.title for reason in self.doubts)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do: what is done at this level anyway, then the remedies of the reasons."""
        remedies = [reason.remedy for reason in self.reasons if reason.remedy]
        general = _ADVICE[self.about].get(self.level)
        return tuple(dict.fromkeys([*([general] if general else []), *remedies]))


def worst(levels: Iterable[Level]) -> Level:
    """The worst of levels; ``usable`` where there are none."""
    return max(levels, key=LEVELS.index, default="usable")


def ordered(reasons: Iterable[Reason], about: str = "scan") -> Verdict:
    """The verdict of these reasons, the gravest first."""
    return Verdict(tuple(sorted(reasons, key=lambda reason: -LEVELS.index(reason.level))), about)


def scan_verdict(
    row: Mapping[str, object] | None,
    quality_row: Mapping[str, object] | None = None,
    ratings: Sequence[Mapping[str, object]] = (),
    *,
    failure: str = "",
) -> Verdict:
    """Judge the prediction of one model for one scan.

    Parameters
    ----------
    row : mapping or None
        The row of ``*_brainage.tsv`` (or of the group's table) by column; None or empty where no
        age was predicted. Also rows of earlier versions are understood.
    quality_row : mapping or None
        The row of ``*_qc.tsv``; without it the column ``qc_flag`` of `row` counts.
    ratings : sequence of mappings
        Contents of the files of ratings of this scan, one for each rater.
    failure : str
        Which step failed and why, where there is no prediction.

    Returns
    -------
    Verdict
        ``do not use`` without a prediction, for every flag that is that bad, for scans that failed
        the quality checks or were rated 1; ``look closer`` for every other flag, for a true age
        outside the interval, without an interval, after warnings of the quality checks or rated 2.
        Where everybody who rated the scan gave it 3 or 4, what can be seen in the image (warnings
        of the quality checks, a doubtful mask) is a mere remark.

    Examples
    --------
    >>> row = {"predicted_age": 40.0, "chronological_age": 60.0, "flags": "none"}
    >>> found = scan_verdict({**row, "ci95_lower": 32.0, "ci95_upper": 48.0})
    >>> found.level, found.summary
    ('look closer', 'The chronological age lies outside the 95 % interval')
    >>> scan_verdict(None).level
    'do not use'
    """
    found = dict(row or {})
    checks = dict(quality_row or {})
    decision = checks.get("decision", found.get("qc_flag"))
    reasons = quality_reasons(decision, checks.get("decision_reason"))
    if not _is_predicted(found):
        reasons = [_no_prediction(decision, failure), *reasons]
    else:
        reasons = [*_flags(found), *reasons, *(_remarks(found) if _is_age(found) else ())]
    reasons = _seen(reasons, ratings)
    reasons += [reason for rating in ratings for reason in _rating(rating)]
    return ordered(reasons)


def region_verdict(contributions: signs.Verdict) -> Verdict:
    """Judge the contributions of the regions of one atlas; at worst ``look closer``.

    They are looked at closer where the sign of a leading region depends on what replaces it or is
    uncertain, where regions were replaced in one way only, and where the order of regions hardly
    agrees with another explanation.
    """
    if contributions.strongest is None:
        return Verdict(about="regions")
    if len(contributions.baselines) < 2:
        title = "Whether signs depend on what replaces a region is not known"
        return Verdict((_sign_reason(title),), "regions")
    n, counts = contributions.n_leading, contributions.counts
    titles = []
    if counts["opposite"]:
        depends = f"The sign of {counts['opposite']} of the {n} leading regions depends on"
        titles.append(f"{depends} what replaces them")
    if counts["uncertain"]:
        titles.append(f"The sign of {counts['uncertain']} of the {n} leading regions is uncertain")
    if any(rho < LOW_AGREEMENT for _, rho in contributions.agreement):
        titles.append("Explanations hardly agree about the order of regions")
    return Verdict(tuple(map(_sign_reason, titles)), "regions")


def _sign_reason(title: str) -> Reason:
    return Reason("signs", "look closer", title, remedy=SIGN_REMEDY)


def _is_age(row: Mapping[str, object]) -> bool:
    """Whether the model predicts an age; rows of earlier versions are about ages."""
    return not _is_known(row.get("target")) or row["target"] == AGE


def _is_predicted(row: Mapping[str, object]) -> bool:
    return bool(row) and (not _is_age(row) or _number(row.get("predicted_age")) is not None)


def _no_prediction(decision: object, failure: str) -> Reason:
    if not failure and decision == "fail":
        failure = "An image that fails the quality checks gets no age."
    reason = _of_card(NO_PREDICTION)
    return replace(reason, text=failure or reason.text)


def _of_card(card: Flag, found: str = "") -> Reason:
    """A reason in the words of its card, after what was `found`."""
    text = " ".join(part for part in (sentence(found), card.text) if part)
    return Reason(card.key, _OF_FLAG[card.level], card.title, text, card.remedy)


def _flags(row: Mapping[str, object]) -> list[Reason]:
    """Flags with what each found; a row of an earlier version has ``ood_flag`` only."""
    keys = flags.split(row.get("flags", row.get("ood_flag")))
    told = row.get("flag_reasons")
    found = str(told).split("; ") if keys and _is_known(told) else []
    if len(found) != len(keys):
        found = [""] * len(keys)
    reasons = [_flag(key, text) for key, text in zip(keys, found, strict=True)]
    outside = _outside_interval(row)
    if outside and "age_outside_interval" not in keys:
        reasons.append(_flag("age_outside_interval", outside))
    return reasons


def _flag(key: str, found: str) -> Reason:
    card = flags.flag(key)
    if card is None:
        title = f"The model raised the flag {key}"
        return Reason(key, "look closer", title, sentence(found))
    return _of_card(card, found)


def _outside_interval(row: Mapping[str, object]) -> str:
    age, interval = _number(row.get("chronological_age")), _interval(row)
    if age is None or interval is None or interval[0] <= age <= interval[1]:
        return ""
    return f"chronological age {age:.1f}, interval {interval[0]:.1f} to {interval[1]:.1f}"


def _interval(row: Mapping[str, object]) -> tuple[float, float] | None:
    low, high = (_number(row.get(name)) for name in ("ci95_lower", "ci95_upper"))
    return None if low is None or high is None else (low, high)


def quality_reasons(decision: object, told: object) -> list[Reason]:
    """One reason for all that the quality checks found; none where they pass.

    `decision` and `told` are the columns ``decision`` and ``decision_reason``.
    """
    level = _OF_DECISION.get(decision)
    if level is None:
        return []
    found = [part.strip() for part in str(told).split(";")] if _is_known(told) else []
    remedies = [text for text in dict.fromkeys(map(flags.quality_remedy, found)) if text]
    what = "Quality checks failed" if decision == "fail" else "Quality checks"
    title = f"{what}: {', '.join(found) or 'look at the image'}"
    return [Reason("quality", level, title, remedy=" ".join(remedies))]


def _remarks(row: Mapping[str, object]) -> list[Reason]:
    """What is not known, and so could not be checked, and what speaks for the result."""
    age, interval = _number(row.get("chronological_age")), _interval(row)
    absent = {NO_INTERVAL: interval is None, NO_AGE: age is None}
    told = [_of_card(card) for card, applies in absent.items() if applies]
    if age is not None and interval is not None and not _outside_interval(row):
        title = "The chronological age lies inside the 95 % interval"
        text = f"{age:.1f}, interval {interval[0]:.1f} to {interval[1]:.1f}."
        told.append(Reason("inside_interval", "usable", title, text))
    return told


def _seen(reasons: Sequence[Reason], ratings: Sequence[Mapping[str, object]]) -> list[Reason]:
    """Doubts that a person can settle by a look are remarks where everybody found a good scan."""
    grades = [_number(rating.get("rating")) for rating in ratings]
    good = [grade is not None and grade >= _GOOD for grade in grades]
    if not good or not all(good) or any(map(_wrong_steps, ratings)):
        return list(reasons)
    looked = "A person looked at the image and found it good."
    visible = {"quality", *(card.key for card in flags.FLAGS if card.seen)}
    return [
        replace(reason, level="usable", text=f"{reason.text} {looked}".strip(), remedy="")
        if reason.key in visible and reason.level == "look closer"
        else reason
        for reason in reasons
    ]


def _rating(rating: Mapping[str, object]) -> list[Reason]:
    """What one person said about the image."""
    who = f" by {rating['rater']}" if _is_known(rating.get("rater")) else ""
    grade = _number(rating.get("rating"))
    reasons = [
        Reason("rating", level, f"Rated {card.value}, {card.name}{who}")
        for card, level in zip(GRADES, _OF_GRADE, strict=False)
        if card.value == grade
    ]
    wrong = [f"The {step} was rated wrong{who}" for step in _wrong_steps(rating)]
    return reasons + [Reason("rating", "do not use", title) for title in wrong]


def _wrong_steps(rating: Mapping[str, object]) -> list[str]:
    """Steps that one person found wrong, in words."""
    return [title.lower() for key, title in STEPS if rating.get(key) == STEP_GRADES[0]]


def sentence(text: str) -> str:
    """Text with a capital letter and a full stop; empty text stays empty."""
    text = text.strip()
    if not text:
        return ""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _is_known(value: object) -> bool:
    if isinstance(value, str):
        return value.strip() not in ("", "n/a")
    return isinstance(value, (int, float)) and not math.isnan(value)


def _number(value: object) -> float | None:
    """A cell as a number; None for missing values and words."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return None if math.isnan(number) else number
