"""What lies in the output folder about every scan, one row each, also of those that failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bidsapp_brainage.bids.derivatives import Derivative, Derivatives, Entities, scan_name
from bidsapp_brainage.bids.names import input_figure_key, output_path
from bidsapp_brainage.bids.ratings import by_scan, stored_ratings
from bidsapp_brainage.bids.run_records import ScanRun, logged_subjects, read_runs, scan_runs
from bidsapp_brainage.catalogue.participant import SCANNED
from bidsapp_brainage.catalogue.quantity import AGE
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.reports.codes import targets_text
from bidsapp_brainage.reports.cohort.cells import finite, read_rows
from bidsapp_brainage.reports.cohort.columns import columns
from bidsapp_brainage.reports.cohort.links import report_links
from bidsapp_brainage.reports.cohort.thumbnails import KINDS, write_thumbnails
from bidsapp_brainage.reports.html import moment
from bidsapp_brainage.stats.agreement.raters import consensus
from bidsapp_brainage.stats.verdicts import Verdict, scan_verdict

Value = str | float | None
Rating = Mapping[str, object]
_BROKE_OFF = "The run broke off, or is not done yet."
_NUMBERS = frozenset(column.key for column in columns() if column.kind == "number")


@dataclass(frozen=True)
class CohortScan:
    """One scan and model.

    Attributes
    ----------
    scan : str
        Name of the scan.
    subject : str
        Label without ``sub-``.
    values : mapping
        By the keys of :func:`.columns.columns`; None where nothing is known.
    page, thumbnails : str
        Relative links; empty where there is no such file.
    strip : int
        Which strip of the thumbnails shows what the network of this model saw.
    """

    scan: str
    subject: str
    values: Mapping[str, Value] = field(default_factory=dict)
    page: str = ""
    thumbnails: str = ""
    strip: int = len(KINDS)


@dataclass(frozen=True)
class Cohort:
    """All scans in the order of their names, and sentences about ratings that cannot be read."""

    scans: tuple[CohortScan, ...]
    problems: tuple[str, ...] = ()


def read_cohort(output_dir: Path) -> Cohort:
    """Every scan that left derivatives or a record of a run.

    A file that is missing or cannot be read leaves a gap, never an error.
    """
    output_dir = Path(output_dir)
    files: dict[str, list[Derivative]] = defaultdict(list)
    for file in Derivatives(output_dir).files:
        files[scan_name(file.scan)].append(file)
    subjects = {_subject(scan) for scan in files} | set(logged_subjects(output_dir))
    runs: dict[str, Mapping[str, Value]] = {}
    for subject in subjects:
        newest = scan_runs(read_runs(output_dir, subject))
        runs |= {scan: _processing(run) for scan, run in newest.items()}
    people = {row.get("participant_id"): row for row in read_rows(output_dir / "participants.tsv")}
    ratings, problems = _ratings(output_dir)
    link = report_links(output_dir)
    found = []
    for scan in sorted({*files, *runs}):
        own, subject = files.get(scan, []), _subject(scan)
        person = people.get(f"sub-{subject}", {})
        known = {**{key: person.get(key) for key in ("sex", "site")}, **runs.get(scan, {})}
        rated = ratings.get(scan, [])
        for place, model in enumerate(_models(own)):
            found.append(
                CohortScan(
                    scan=scan,
                    subject=subject,
                    values={**known, **_results(own, model, known, rated)},
                    page=link(scan),
                    thumbnails=_thumbnails(output_dir, own),
                    strip=len(KINDS) + place,
                )
            )
    return Cohort(tuple(found), problems)


def write_subject_thumbnails(output_dir: Path, subject: str) -> None:
    """Write the small pictures of all scans of a participant (label without ``sub-``)."""
    files: dict[Entities, list[Derivative]] = defaultdict(list)
    for file in Derivatives(output_dir, participants=[subject]).files:
        files[file.scan].append(file)
    for scan, own in files.items():
        write_thumbnails(_figures(own), output_path(output_dir, "thumbnails", scan))


def _figures(files: Sequence[Derivative]) -> list[Path | None]:
    """Figures of a scan in the order of its strips; None for those that are not there."""
    paths = {(file.output.key, file.model): file.path for file in files}
    found = [paths.get((kind, "")) for kind in KINDS]
    for model in filter(None, _models(files)):
        seen = (paths.get((input_figure_key(name), model)) for name in SCANNED)
        found.append(next(filter(None, seen), None))
    return found


def _models(files: Iterable[Derivative]) -> list[str]:
    """Models that were asked about a scan; an empty one where none was."""
    return sorted({file.model for file in files} - {""}) or [""]


def _thumbnails(output_dir: Path, files: Iterable[Derivative]) -> str:
    paths = [file.path for file in files if file.output.key == "thumbnails"]
    return paths[0].relative_to(output_dir).as_posix() if paths else ""


def _processing(run: ScanRun) -> dict[str, Value]:
    """What the newest run tells of a scan: where it stopped and why, and what it cost."""
    steps, reasons = _unique(f.step for f in run.failures), _unique(f.reason for f in run.failures)
    if run.run.facts and not run.run.ended:
        steps, reasons = steps or "not done", reasons or _BROKE_OFF
    return {
        "step": steps or None,
        "reason": reasons or None,
        "minutes": None if run.wall_s is None else round(run.wall_s / 60, 2),
        "memory_gb": None if run.peak_rss_mb is None else round(run.peak_rss_mb / 1000, 3),
        "started": moment(run.run.started) if run.run.started else None,
    }


def _unique(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _ratings(output_dir: Path) -> tuple[Mapping[str, Sequence[Rating]], tuple[str, ...]]:
    """Rows of ratings by scan, and why they cannot be read."""
    try:
        return by_scan(stored_ratings(output_dir)), ()
    except DataError as error:
        return {}, (str(error),)


def _results(
    files: Iterable[Derivative],
    model: str,
    known: Mapping[str, Value],
    ratings: Sequence[Rating],
) -> dict[str, Value]:
    """Everything that tables and people say about a scan and model, and what follows from it."""
    tables = {
        file.output.key: file.path
        for file in files
        if file.model == model and file.output.key in ("brainage", "qc", "predictions")
    }
    targets = read_rows(tables.pop("predictions")) if "predictions" in tables else []
    rows = {key: next(iter(read_rows(path)), {}) for key, path in tables.items()}
    quality, prediction = rows.get("qc", {}), rows.get("brainage", {})
    failure = str(known.get("reason") or "")
    verdict = scan_verdict(prediction, quality or None, ratings, failure=failure)
    # Where a step failed this says why there is no prediction.
    others = [each for each in verdict.doubts if not (failure and each.key == "no_prediction")]
    doubts = [*_failure(known), Verdict(tuple(others)).summary]
    told: dict[str, Value] = {
        key: finite(text) if key in _NUMBERS else text
        for key, text in {**quality, **prediction}.items()
    }
    return {
        **told,
        "targets": targets_text(targets, besides=AGE) or None,
        "model": model or None,
        "rating": consensus([int(str(rating["rating"])) for rating in ratings])
        if ratings
        else None,
        "raters": ", ".join(str(rating["rater"]) for rating in ratings) or None,
        "verdict": verdict.level,
        "doubts": "; ".join(filter(None, doubts)) or None,
    }


def _failure(known: Mapping[str, Value]) -> list[str]:
    """Where and why the newest run of a scan stopped, in words."""
    return [f"Failed at {known['step']}: {known['reason']}"] if known.get("step") else []


def _subject(scan: str) -> str:
    return scan.split("_")[0].removeprefix("sub-")
