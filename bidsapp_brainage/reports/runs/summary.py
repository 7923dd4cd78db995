"""What all runs of an output folder came to: per run, per stage, and what is not complete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bidsapp_brainage.bids.run_records import (
    Failed,
    RunRecord,
    ScanRun,
    Stage,
    logged_subjects,
    newest,
    read_runs,
    scan_runs,
    total,
)


@dataclass(frozen=True)
class WholeRun:
    """One run with the stages that it computed, of all participants.

    ``record`` is that of the whole run; of an older app, which kept none, that of one participant
    with the scans of all.
    """

    record: RunRecord
    stages: tuple[Stage, ...]

    @property
    def wall_s(self) -> float | None:
        """Seconds from beginning to end; None where one is not known, or the clock went back."""
        start, end = (_seconds(moment) for moment in (self.record.started, self.record.ended))
        return None if start is None or end is None or end < start else end - start

    @property
    def cpu_s(self) -> float | None:
        """Seconds of processors in all stages that this run computed."""
        return total(stage.cpu_s for stage in self.stages)

    @property
    def peak_mb(self) -> float | None:
        """Most memory of one process (MB), that of the main process included."""
        peaks = [stage.peak_rss_mb for stage in self.stages]
        peaks.append(_fact(self.record, "MainProcessPeakMB"))
        return max((peak for peak in peaks if peak is not None), default=None)

    @property
    def together_mb(self) -> float | None:
        """At most so much memory of stages at once (MB): their peaks, where they ran together."""
        return most_at_once(self.stages)

    @property
    def energy_j(self) -> float | None:
        """Energy of processors and memory (J); None where it was not measured."""
        return _fact(self.record, "EnergyJ")


@dataclass(frozen=True)
class RunsSummary:
    """Everything about the runs of an output folder.

    Attributes
    ----------
    runs : tuple of WholeRun
        Newest first.
    scans : mapping of str to ScanRun
        The newest run of each scan.
    failures : tuple of (RunRecord, Failed)
        What is not complete: of every scan in its newest run, and what else the newest run tells.
    stages : tuple of Stage
        Of the newest prediction and explanation of every scan.
    """

    runs: tuple[WholeRun, ...]
    scans: dict[str, ScanRun]
    failures: tuple[tuple[RunRecord, Failed], ...]
    stages: tuple[Stage, ...]


def summarise_runs(output_dir: Path) -> RunsSummary:
    """Read the records of all runs in an output folder."""
    people = {subject: read_runs(output_dir, subject) for subject in logged_subjects(output_dir)}
    parts = [run for runs in people.values() for run in runs]
    levels = ("participant", "group")
    wholes = [run for level in levels for run in read_runs(output_dir, level=level)]
    scans = {scan: run for runs in people.values() for scan, run in scan_runs(runs).items()}
    failures = [(each.run, failed) for each in scans.values() for failed in each.failures]
    return RunsSummary(
        runs=tuple(_whole_runs(wholes, parts)),
        scans=scans,
        failures=(*failures, *_of_newest_run(wholes, failures)),
        stages=tuple(
            stage
            for runs in people.values()
            for run, own in newest(runs)
            for stage in run.stages
            if stage.scan in own or not own
        ),
    )


def most_at_once(stages: Iterable[Stage]) -> float | None:
    """Largest sum of the peaks of memory (MB) of stages that ran at the same time.

    An upper limit, because peaks need not fall together. None where times are not known.

    Examples
    --------
    >>> one = Stage("a", "x", "2026-01-01T00:00:10Z", False, 10.0, 1.0, 100.0)
    >>> two = Stage("b", "x", "2026-01-01T00:00:15Z", False, 10.0, 1.0, 200.0)
    >>> three = Stage("c", "x", "2026-01-01T00:00:30Z", False, 10.0, 1.0, 250.0)
    >>> most_at_once([one, two, three]), most_at_once([])
    (300.0, None)
    """
    events: list[tuple[float, float]] = []
    for stage in stages:
        end = _seconds(stage.ended)
        if end is not None and stage.wall_s is not None and stage.peak_rss_mb is not None:
            events += [(end - stage.wall_s, stage.peak_rss_mb), (end, -stage.peak_rss_mb)]
    if not events:
        return None
    now = most = 0.0
    for _, change in sorted(events):  # what ends at a moment goes before what begins then
        now += change
        most = max(most, now)
    return most


def _whole_runs(wholes: Sequence[RunRecord], parts: Sequence[RunRecord]) -> list[WholeRun]:
    """Runs with their stages, newest first; parts without a whole are put together by their run."""
    by_run: dict[str, list[RunRecord]] = {}
    for part in parts:
        by_run.setdefault(part.run_uuid, []).append(part)
    known = {run.run_uuid for run in wholes if run.level == "participant"}
    records = [*wholes, *(_joined(own) for uuid, own in by_run.items() if uuid not in known)]
    runs = [
        WholeRun(record, tuple(_computed(by_run.get(record.run_uuid, ()), record.level)))
        for record in records
    ]
    runs.sort(key=lambda run: (run.record.started, run.record.level), reverse=True)
    return runs


def _joined(parts: Sequence[RunRecord]) -> RunRecord:
    return replace(
        parts[0],
        scans=tuple(scan for part in parts for scan in part.scans),
        failures=tuple(failed for part in parts for failed in part.failures),
    )


def _computed(parts: Iterable[RunRecord], level: str) -> Iterable[Stage]:
    if level != "participant":
        return []
    return [stage for part in parts for stage in part.stages if not stage.cached]


def _of_newest_run(
    wholes: Sequence[RunRecord], told: Sequence[tuple[RunRecord, Failed]]
) -> list[tuple[RunRecord, Failed]]:
    """Failures that no log folder of a participant tells, of a participant without image say."""
    runs = [run for run in wholes if run.level == "participant"]
    known = {(failed.scan, failed.reason) for _, failed in told}
    return [
        (run, failed)
        for run in runs[-1:]
        for failed in run.failures
        if (failed.scan, failed.reason) not in known
    ]


def _fact(record: RunRecord, name: str) -> float | None:
    value = record.facts.get(name)
    return float(value) if isinstance(value, (int, float)) else None


def _seconds(moment: str) -> float | None:
    """Seconds since the epoch of a moment in UTC; None for anything else."""
    try:
        return datetime.fromisoformat(moment).timestamp() if moment.endswith("Z") else None
    except ValueError:
        return None
