"""What a person can say about a scan: grades, steps, artefacts, and the table that holds them."""

from __future__ import annotations

from dataclasses import dataclass

from . import columns as c
from .cards import Column, Output


@dataclass(frozen=True)
class Grade:
    """A grade of a whole scan; larger is better, as in MRIQC."""

    value: int
    name: str
    meaning: str


@dataclass(frozen=True)
class Artefact:
    """Something wrong with an image; its key is a column, its letter a key of the keyboard."""

    key: str
    title: str
    letter: str
    meaning: str


GRADES: tuple[Grade, ...] = (
    Grade(1, "exclude", "leave this scan out of every analysis"),
    Grade(2, "poor", "usable with doubt: report results with and without it"),
    Grade(3, "acceptable", "small artefacts that hardly matter"),
    Grade(4, "excellent", "nothing to complain about"),
)
EXCLUDE, BEST = GRADES[0].value, GRADES[-1].value

#: Steps that are judged by themselves, and what can be said of them, from bad to good.
STEPS = (("mask", "Brain mask"), ("registration", "Registration"))
STEP_GRADES = ("wrong", "usable", "good")

ARTEFACTS: tuple[Artefact, ...] = (
    Artefact("head_motion", "head motion", "m", "rings or blur by movement of the head"),
    Artefact("ghosting", "ghosting", "g", "the head again, shifted"),
    Artefact("noise", "noise", "o", "grain that hides the border of grey and white matter"),
    Artefact("intensity", "uneven intensity", "u", "shading that bias correction left"),
    Artefact("field_of_view", "brain cut off", "b", "part of the brain is outside of the image"),
    Artefact("defaced_brain", "brain cut by defacing", "d", "defacing took part of the brain"),
    Artefact("finding", "incidental finding", "f", "a lesion, cyst or the like"),
    Artefact("wrong_image", "not a T1w head", "w", "another contrast, body part or species"),
)

RATER = Column("rater", "Rater", "Who rated: any name or initials, always written alike.")
RATING = Column("rating", "Rating", "Quality of the scan for this analysis; larger is better.",
    levels={str(grade.value): f"{grade.name}: {grade.meaning}" for grade in GRADES})  # fmt: skip
_STEPS = tuple(
    Column(key, title, f"How the {title.lower()} came out; n/a if the rater did not look.",
        levels=dict(zip(STEP_GRADES, ("unusable here", "small faults", "right"), strict=True)))
    for key, title in STEPS
)  # fmt: skip
_ARTEFACTS = tuple(
    Column(item.key, item.title.capitalize(), f"Seen in the image: {item.meaning}.",
        levels={"true": "seen", "false": "not seen"})
    for item in ARTEFACTS
)  # fmt: skip
_RATINGS = (
    *c.IDENTITY,
    RATER,
    RATING,
    *_STEPS,
    *_ARTEFACTS,
    Column("notes", "Notes", "Free text; n/a if there is none."),
    Column("rated_at", "Time of the rating", "Last change, UTC, for example 2026-01-31T12:00:00Z. "
        "Of two ratings of a scan by one rater the later counts."),
)  # fmt: skip

RATINGS = Output(
    "ratings", "ratings", ".tsv", "what one person said about scans: one row per scan, exported "
    "from the reports and kept by `--ratings`", level="ratings", entities=("rater",),
    required=("rater",), columns=_RATINGS, always=False,
)  # fmt: skip
