"""The rating of a scan by a person: what is asked, how the file is called, what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bidsapp_brainage import __version__
from bidsapp_brainage.reports.html import slug
from bidsapp_brainage.reports.individual.results import ScanResult
from bidsapp_brainage.reports.wording import Notice

#: Value, name and meaning, as in MRIQC: the larger, the better.
GRADES = (
    (1, "exclude", "Leave this scan out of every analysis"),
    (2, "poor", "Usable with doubt: report results with and without it"),
    (3, "acceptable", "Small artefacts that hardly matter"),
    (4, "excellent", "Nothing to complain about"),
)
ARTEFACTS = (
    ("head_motion", "head motion"),
    ("ghosting", "ghosting"),
    ("noise", "noise"),
    ("intensity", "uneven intensity"),
    ("field_of_view", "brain cut off"),
    ("defaced_brain", "brain cut by defacing"),
    ("finding", "incidental finding"),
    ("wrong_image", "not a T1w head"),
)
SUFFIX = "desc-rating_qc.json"


@dataclass(frozen=True)
class Rating:
    """What the macro ``rating`` shows of a scan.

    The file that is saved has a name and a folder where it belongs; `facts` is the JSON of what is
    known before anybody answers.
    """

    identifier: str
    label: str
    file_name: str
    folder: str
    facts: str
    grades: tuple[tuple[int, str, str], ...] = GRADES
    artefacts: tuple[tuple[str, str], ...] = ARTEFACTS


def rating_form(scan: ScanResult) -> Rating:
    """Give the form for one scan."""
    entities = dict(scan.entities)
    parts = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    decisions = {
        model.model: str(model.quality.first.get("decision", "n/a"))
        for model in scan.models
        if model.quality is not None
    }
    facts = {
        "scan": scan.label,
        "participant_id": f"sub-{entities.get('sub', '')}",
        "session_id": f"ses-{entities['ses']}" if "ses" in entities else "n/a",
        "run_id": f"run-{entities['run']}" if "run" in entities else "n/a",
        "automatic_decision": decisions,
        "generated_by": f"bidsapp_brainage {__version__}",
    }
    return Rating(
        identifier=slug("rating", scan.label),
        label=scan.label,
        file_name=f"{scan.label}_{SUFFIX}",
        folder="/".join([*parts, "anat"]),
        facts=json.dumps(facts, ensure_ascii=False),
    )


def rating_notice(content: Mapping[str, object]) -> Notice | None:
    """Words for a rating that lies beside the tables; None when it says nothing."""
    names = {value: name for value, name, _ in GRADES}
    grade = content.get("rating")
    if grade not in names:
        return None
    parts = [str(content[key]) for key in ("rater", "rated_at") if content.get(key)]
    said = [f"Rated by {', '.join(parts)}." if parts else ""]
    for key in ("mask", "registration"):
        if content.get(key) not in (None, "n/a"):
            said.append(f"{key.capitalize()}: {content[key]}.")
    titles = dict(ARTEFACTS)
    seen = content.get("artefacts")
    if isinstance(seen, list) and seen:
        said.append("Seen: " + ", ".join(titles.get(str(name), str(name)) for name in seen) + ".")
    if content.get("comment"):
        said.append(f"Comment: {content['comment']}")
    level = {1: "bad", 2: "warn"}.get(grade, "ok")
    return Notice(
        level, f"A person rated this scan {grade}, {names[grade]}", " ".join(said).strip()
    )
