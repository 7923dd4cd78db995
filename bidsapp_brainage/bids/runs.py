"""What the log folders of the runs tell of a scan: what failed, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bidsapp_brainage import io
from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.errors import DataError

#: In the log folder of a run: one row per failed step of a scan, one with n/a per complete scan.
OUTCOME = "outcome.tsv"
#: In the same place: what the stages cost.
TIMINGS = "timings.tsv"
_COSTS = ("wall_s", "cpu_s", "peak_rss_mb")


@dataclass(frozen=True)
class FailedStep:
    """A step of a scan that was not done, and why."""

    step: str
    reason: str


@dataclass(frozen=True)
class ScanRecord:
    """What is known of the processing of a scan.

    Attributes
    ----------
    run : str
        Name of the log folder of the newest run that took the scan; empty if no log tells.
    failures : tuple of FailedStep
        Of that run; none if it is complete.
    stages : mapping of str to mapping
        What every stage cost when it was computed last: ``wall_s``, ``cpu_s``, ``peak_rss_mb``,
        None where it is not known.
    """

    run: str = ""
    failures: tuple[FailedStep, ...] = ()
    stages: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def wall_s(self) -> float | None:
        """Seconds of all stages together; some may have run side by side."""
        return self._sum("wall_s")

    @property
    def cpu_s(self) -> float | None:
        """Seconds of processors of all stages together."""
        return self._sum("cpu_s")

    @property
    def peak_rss_mb(self) -> float | None:
        """Memory (MB) of the hungriest stage."""
        return max(self._known("peak_rss_mb"), default=None)

    def _sum(self, cost: str) -> float | None:
        known = self._known(cost)
        return sum(known) if known else None

    def _known(self, cost: str) -> list[float]:
        return [value for each in self.stages.values() if (value := each[cost]) is not None]


def write_outcome(
    folder: Path, scans: Iterable[str], failures: Mapping[str, Sequence[FailedStep]]
) -> None:
    """Write into a log folder what became of the scans (labels) that a run took."""
    import pandas as pd

    rows = [
        (scan, "failed" if step else "complete", step and step.step, step and step.reason)
        for scan in scans
        for step in failures.get(scan) or (None,)
    ]
    columns = ["scan", "outcome", "step", "reason"]
    io.write_tsv(folder / OUTCOME, pd.DataFrame(rows, columns=columns))


def read_records(output_dir: Path, subject: str) -> dict[str, ScanRecord]:
    """What the logs of a participant (label without ``sub-``) tell, by scan.

    The newest run that took a scan says whether it is complete; a stage costs what it did when it
    was computed last. A log that cannot be read is passed over.
    """
    runs: dict[str, str] = {}
    failures: dict[str, list[FailedStep]] = {}
    stages: dict[str, dict[str, dict[str, float | None]]] = {}
    for folder in sorted(log_dir(output_dir, subject, "run").parent.glob("*/")):
        for row in _rows(folder / OUTCOME):
            scan, step = row.get("scan") or "", row.get("step")
            if runs.get(scan) != folder.name:
                runs[scan], failures[scan] = folder.name, []
            if step:
                failures[scan].append(FailedStep(step, row.get("reason") or ""))
        for row in _rows(folder / TIMINGS):
            scan, stage = row.get("scan") or "", row.get("stage") or ""
            cost = {name: _number(row.get(name)) for name in _COSTS}
            stages.setdefault(scan, {})[stage] = cost
    return {
        scan: ScanRecord(runs.get(scan, ""), tuple(failures.get(scan, ())), stages.get(scan, {}))
        for scan in {**runs, **stages}
    }


def _rows(path: Path) -> list[dict[str, str | None]]:
    try:
        return io.read_rows(path) if path.is_file() else []
    except DataError:
        return []


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
