"""Progress while the workflow runs: one log line per stage of each scan, and what it cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.bids.run_records import TIMINGS
from bidsapp_brainage.interfaces.metering import ended_at, read_timing, timing_is_older
from bidsapp_brainage.running.recording.resources import read_samples, write_samples
from bidsapp_brainage.workflows.scan import scan_workflow_name

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan

LOGGER = logging.getLogger("bidsapp_brainage")


@dataclass(frozen=True)
class StageRecord:
    """One finished stage.

    Attributes
    ----------
    scan : str
        Label of the scan; empty for what all scans share.
    stage, node : str
        Plain words; full name of the node.
    cached : bool
        Taken from an earlier run; the times are those of then.
    ended : str
        When (UTC); empty where unknown.
    timing : dict
        ``wall_s``, ``cpu_s``, ``peak_rss_mb``.
    """

    scan: str
    stage: str
    node: str
    cached: bool
    ended: str
    timing: dict[str, float | None]


class Monitor:
    """Status callback of a nipype plugin.

    Parameters
    ----------
    scans : sequence of Scan
        What is processed, in the order of counting.
    first, total : int
        Place of the first of them in the run, and how many scans the run has (default: these).
    quiet : bool
        Leave the telling to somebody else.
    sampled : bool
        Whether processors and memory of the stages are sampled over time.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        *,
        first: int = 1,
        total: int | None = None,
        quiet: bool = False,
        sampled: bool = False,
    ) -> None:
        self._quiet = quiet
        self.sampled = sampled
        self._scans = {scan_workflow_name(scan.label): scan.label for scan in scans}
        self._order = {label: place for place, label in enumerate(self._scans.values(), first)}
        self._first, self._total = first, total or len(scans)
        self._begin = time.time()
        self.finished: set[str] = set()
        self.failed: dict[str, str] = {}  # what their steps are called
        self.records: list[StageRecord] = []
        self._samples: list[dict[str, Any]] = []

    def __call__(self, node: Any, status: str) -> None:
        """Note that `node` has ended or has failed."""
        name = str(node.fullname)
        if status == "exception":
            self.failed[name] = getattr(node.interface, "stage", "") or node.name
            self.log(logging.ERROR, name, f"{self._words(node)} failed")
        elif status == "end" and name not in self.failed:
            self.finished.add(name)
            self._report(node, name)

    def scan_of(self, node: str) -> str:
        """Label of the scan that a node belongs to; empty for shared nodes."""
        parts = node.split(".")
        return self._scans.get(parts[1], "") if len(parts) > 1 else ""

    def place_of(self, node: str) -> int:
        """Place of a node's scan in the order, from 1; 0 for what all scans share."""
        return self._order.get(self.scan_of(node), 0)

    def write_timings(self, output_dir: Path, subject: str, run_uuid: str) -> None:
        """Write what the stages of one participant cost into the log folder, if there is any."""
        own = [each for each in self.records if each.scan.split("_")[0] == f"sub-{subject}"]
        folder = log_dir(output_dir, subject, run_uuid)
        write_timings(folder, own)
        names = {each.scan for each in own}
        write_samples(folder, [row for row in self._samples if row["scan"] in names])

    def _report(self, node: Any, name: str) -> None:
        stage = getattr(node.interface, "stage", "")
        if not stage or (self._first > 1 and not self.scan_of(name)):
            return  # what all share was told with the first scans
        folder = Path(node.output_dir())
        timing = read_timing(folder)
        cached = timing_is_older(folder, self._begin)
        record = StageRecord(self.scan_of(name), stage, name, cached, ended_at(folder), timing)
        self.records.append(record)
        if self.sampled and not cached:
            told = {"scan": record.scan, "stage": stage, "node": name}
            self._samples += [told | sample for sample in read_samples(node)]
        wall = timing.get("wall_s")
        cost = "from an earlier run" if cached else f"{wall:.0f} s" if wall is not None else "done"
        if cached or not getattr(node.interface, "announced", False):
            self.log(logging.INFO, name, f"{stage} done ({cost})")

    def log(self, level: int, name: str, text: str) -> None:
        """Say something about a node with its scan and place."""
        if self._quiet:
            return
        scan = self.scan_of(name)
        place = f"[{self._order[scan]}/{self._total}] {scan}" if scan else "[all scans]"
        LOGGER.log(level, "%s: %s", place, text)

    @staticmethod
    def _words(node: Any) -> str:
        return getattr(node.interface, "stage", "") or f"step '{node.name}'"


def write_timings(folder: Path, records: Sequence[StageRecord]) -> None:
    """Write ``timings.tsv`` into a log folder, if there is anything to tell."""
    import pandas as pd

    from bidsapp_brainage import io

    rows = [
        {
            "scan": record.scan,
            "stage": record.stage,
            "node": record.node,
            "ended": record.ended or None,
            "cached": record.cached,
            "wall_s": record.timing.get("wall_s"),
            "cpu_s": record.timing.get("cpu_s"),
            "peak_rss_mb": record.timing.get("peak_rss_mb"),
        }
        for record in records
    ]
    if rows:
        io.write_tsv(folder / TIMINGS, pd.DataFrame(rows))
