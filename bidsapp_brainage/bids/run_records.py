"""What runs left in the log folders: who, when, by which command, what it cost, what failed."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_json, read_rows

CONFIGURATION, TIMINGS = "app.toml", "timings.tsv"
_STARTED = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)_")


@dataclass(frozen=True)
class Failed:
    """A scan (or participant) that is not complete: where it stopped, why, and what to do.

    The error is a class of :mod:`bidsapp_brainage.errors`, empty for all others.
    """

    scan: str
    step: str
    reason: str
    error: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage of a scan: what it cost, and when it was done (UTC; empty if nobody noted it).

    Seconds and memory (MB) are None where they could not be measured. A cached stage is of an
    earlier run, with the costs of then.
    """

    scan: str
    stage: str
    ended: str
    cached: bool
    wall_s: float | None
    cpu_s: float | None
    peak_rss_mb: float | None


@dataclass(frozen=True)
class RunRecord:
    """One run, as one log folder tells it.

    Attributes
    ----------
    run_uuid : str
    folder : Path
        Where its files lie.
    level : str
        ``participant`` or ``group``.
    explain_only : bool
        Finished predictions were explained; nothing else was computed.
    command_line, version : str
        As typed, without paths of the machine; version of the app. Empty where unknown.
    started, ended : str
        UTC, ``2026-01-31T12:00:00Z``. Without an end the run was interrupted or still goes on. An
        older app told the start only, in its own time zone and without the ``Z``.
    scans : tuple of str
        Names of the scans that were to be processed.
    warnings : tuple of str
    failures : tuple of Failed
    facts : mapping
        Everything that the record says, ``Versions`` and ``EnergyJ`` for example.
    """

    run_uuid: str
    folder: Path
    level: str
    explain_only: bool
    command_line: str
    version: str
    started: str
    ended: str
    scans: tuple[str, ...]
    warnings: tuple[str, ...]
    failures: tuple[Failed, ...]
    facts: Mapping[str, object]

    @functools.cached_property
    def stages(self) -> list[Stage]:
        """Rows of ``timings.tsv``; none if it is missing or broken."""
        return _stages(self.folder)


@dataclass(frozen=True)
class ScanRun:
    """The newest run of a scan: what all of its stages cost, and what failed.

    Seconds and the peak of memory (MB) are None where unknown. Stages whose results were taken from
    an earlier run count with what they cost then.
    """

    run: RunRecord
    failures: tuple[Failed, ...]
    wall_s: float | None
    peak_rss_mb: float | None


def record_name(level: str) -> str:
    """Name of the record of a run in a log folder."""
    return f"{level}.json"


def run_folder(output_dir: Path, run_uuid: str, subject: str = "") -> Path:
    """Log folder of a run as a whole, or of one participant in it (label without ``sub-``)."""
    whole = Path(output_dir) / "logs" / run_uuid
    return log_dir(output_dir, subject, run_uuid) if subject else whole


def read_runs(
    output_dir: Path, subject: str = "", *, level: str = "participant"
) -> list[RunRecord]:
    """Read what is recorded of the runs as a whole, or of those of one participant.

    Parameters
    ----------
    output_dir : Path
    subject : str
        Label without ``sub-``; empty for the runs as a whole.
    level : str
        ``participant`` or ``group``.

    Returns
    -------
    list of RunRecord
        Oldest first. What an older app has not written stays empty.
    """
    folders = run_folder(output_dir, "run", subject).parent.glob("*/")
    records = [_record(folder, level, old=bool(subject)) for folder in folders]
    known = [record for record in records if record is not None]
    return sorted(known, key=lambda record: (record.started, record.run_uuid))


def logged_subjects(output_dir: Path) -> list[str]:
    """Labels of all participants that a run tried to process."""
    folders = Path(output_dir).glob("sub-*/log/*/")
    return sorted({folder.parents[1].name.removeprefix("sub-") for folder in folders})


def of_scans(runs: Iterable[RunRecord], scans: Collection[str]) -> list[RunRecord]:
    """Runs that worked on any of these scans, or named none, as if on them alone."""
    return [
        replace(
            run,
            scans=tuple(scan for scan in run.scans if scan in scans),
            failures=tuple(failed for failed in run.failures if failed.scan in scans),
        )
        for run in runs
        if not run.scans or not set(scans).isdisjoint(run.scans)
    ]


def newest(runs: Sequence[RunRecord]) -> list[tuple[RunRecord, frozenset[str]]]:
    """Runs that no later run of the same kind has replaced, with the scans that they speak for.

    Prediction and explaining again are two kinds; a new prediction replaces both. A run that
    named no scan speaks for all of them (an empty set).
    """
    told: list[tuple[RunRecord, frozenset[str]]] = []
    predicted: set[str] = set()
    explained: set[str] = set()
    for run in reversed(runs):
        done = predicted | explained if run.explain_only else predicted
        own = frozenset(run.scans) - done
        if own or (not run.scans and not told):
            told.append((run, own))
        (explained if run.explain_only else predicted).update(run.scans)
    return told[::-1]


def scan_runs(runs: Sequence[RunRecord]) -> dict[str, ScanRun]:
    """The newest run of each scan, by its name, from the runs of one participant or more.

    Failures of a later run that only explains stand with those of the run that predicted; the costs
    are those of the latter, where its record is there.
    """
    found: dict[str, ScanRun] = {}
    for run, own in newest(runs):
        costs = scan_costs(run.stages)
        for scan in sorted(own):
            failures = tuple(failed for failed in run.failures if failed.scan == scan)
            before = found.get(scan)
            if before is None:
                found[scan] = ScanRun(run, failures, *costs.get(scan, (None, None)))
            else:
                found[scan] = replace(before, failures=(*before.failures, *failures))
    return found


def scan_costs(stages: Iterable[Stage]) -> dict[str, tuple[float | None, float | None]]:
    """Seconds of all stages together and highest peak of memory (MB) of each scan."""
    by_scan: dict[str, list[Stage]] = {}
    for stage in stages:
        by_scan.setdefault(stage.scan, []).append(stage)
    return {
        scan: (
            total(stage.wall_s for stage in own),
            max(
                (stage.peak_rss_mb for stage in own if stage.peak_rss_mb is not None), default=None
            ),
        )
        for scan, own in by_scan.items()
    }


def total(values: Iterable[float | None]) -> float | None:
    """Sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _stages(folder: Path) -> list[Stage]:
    try:
        return [
            Stage(
                scan=row["scan"] or "",
                stage=row["stage"] or "",
                ended=row.get("ended") or "",
                cached=row["cached"] == "true",
                wall_s=_number(row["wall_s"]),
                cpu_s=_number(row["cpu_s"]),
                peak_rss_mb=_number(row["peak_rss_mb"]),
            )
            for row in read_rows(folder / TIMINGS)
        ]
    except (DataError, KeyError, ValueError):
        return []


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _record(folder: Path, level: str, *, old: bool) -> RunRecord | None:
    """Record of one folder; None if it tells nothing about this level.

    Where `old` ones are understood, the settings are enough: an older app kept no more.
    """
    facts = read_json(folder / record_name(level))
    configuration = _configuration(folder)
    run = _section(configuration, "run")
    if not facts and not (old and level in run.get("analysis_level", ())):
        return None
    scans = facts.get("Scans")
    if not isinstance(scans, list):
        scans = list(dict.fromkeys(stage.scan for stage in _stages(folder) if stage.scan))
    return RunRecord(
        run_uuid=folder.name,
        folder=folder,
        level=level,
        explain_only=bool(_section(configuration, "execution").get("explain_only", False)),
        command_line=str(run.get("command_line", "")),
        version=str(run.get("app_version", "")),
        started=str(facts.get("Started") or _started(folder.name)),
        ended=str(facts.get("Ended") or ""),
        scans=tuple(map(str, scans)),
        warnings=tuple(map(str, _listed(facts.get("Warnings")))),
        failures=tuple(_failures(facts.get("Failures"))),
        facts=facts,
    )


def _failures(told: object) -> Iterable[Failed]:
    for each in _listed(told):
        if isinstance(each, Mapping):
            yield Failed(*(str(each.get(key, "")) for key in ("Scan", "Step", "Reason", "Error")))


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _started(run_uuid: str) -> str:
    match = _STARTED.match(run_uuid)
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else ""


def _configuration(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / CONFIGURATION).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _section(configuration: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = configuration.get(name)
    return section if isinstance(section, dict) else {}
