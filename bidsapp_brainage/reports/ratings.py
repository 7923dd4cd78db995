"""What pages need so that scans can be rated on them: the form, and what ``rating.js`` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.ratings import (
    ARTEFACTS,
    GRADES,
    STEP_GRADES,
    STEPS,
    Artefact,
    Grade,
)
from bidsapp_brainage.reports.html import slug


@dataclass(frozen=True)
class RatingBar:
    """The bar of a page where scans are rated, for the macro ``rating_bar``; once on a page.

    `facts` is the JSON that the script reads: columns of the table, artefacts with their letters,
    and where the derivatives begin.
    """

    facts: str
    grades: tuple[Grade, ...] = GRADES
    artefacts: tuple[Artefact, ...] = ARTEFACTS


@dataclass(frozen=True)
class RatingForm:
    """The form of one scan, for the macro ``rating_form``."""

    scan: str
    identifier: str
    grades: tuple[Grade, ...] = GRADES
    artefacts: tuple[Artefact, ...] = ARTEFACTS
    steps: tuple[tuple[str, str], ...] = STEPS
    step_grades: tuple[str, ...] = STEP_GRADES[::-1]


def rating_bar(root: str = "") -> RatingBar:
    """The bar; links to the root of the derivatives, whose drafts are one, begin with `root`."""
    facts = {
        "root": root,
        "columns": columns_of("ratings"),
        "grades": {str(grade.value): grade.name for grade in GRADES},
        "artefacts": [[item.key, item.title, item.letter] for item in ARTEFACTS],
        "steps": [key for key, _ in STEPS],
    }
    return RatingBar(json.dumps(facts))


def rating_form(scan: str) -> RatingForm:
    """The form of one scan, by its name."""
    return RatingForm(scan, slug("rating", scan))
