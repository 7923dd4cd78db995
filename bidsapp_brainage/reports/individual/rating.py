"""Words for what people said about a scan."""

from __future__ import annotations

from bidsapp_brainage.catalogue.ratings import ARTEFACTS, EXCLUDE, GRADES, STEPS
from bidsapp_brainage.reports.html import is_missing
from bidsapp_brainage.reports.individual.results import Rating
from bidsapp_brainage.reports.wording import Notice


def rating_notice(rating: Rating) -> Notice:
    """One row of a table of ratings in words."""
    names = {grade.value: grade.name for grade in GRADES}
    grade = int(str(rating["rating"]))
    when = str(rating.get("rated_at")).removesuffix("Z").replace("T", " ")
    said = [f"On {when} UTC."] if not is_missing(rating.get("rated_at")) else []
    said += [f"{title}: {rating[key]}." for key, title in STEPS if not is_missing(rating.get(key))]
    seen = [item.title for item in ARTEFACTS if rating.get(item.key) is True]
    said += [f"Seen: {', '.join(seen)}."] if seen else []
    said += [f"Notes: {rating['notes']}"] if not is_missing(rating.get("notes")) else []
    level = {EXCLUDE: "bad", EXCLUDE + 1: "warn"}.get(grade, "ok")
    title = f"{rating['rater']} rated this scan {grade}, {names[grade]}"
    return Notice(level, title, " ".join(said).strip())
