"""What a stage costs: wall seconds, CPU seconds and peak memory of the process that runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bidsapp_brainage import io

# nipype keeps this folder of a node and deletes other files that are no outputs.
TIMING_FILE = Path("_report") / "timing.json"


@dataclass(frozen=True)
class Meter:
    """Clocks at the start of a stage (seconds)."""

    wall: float
    cpu: float

    def usage(self) -> dict[str, float | None]:
        """Wall and CPU seconds since the start, and peak resident memory (MB)."""
        return {
            "wall_s": round(time.perf_counter() - self.wall, 3),
            "cpu_s": round(_cpu_seconds() - self.cpu, 3),
            "peak_rss_mb": _peak_rss_mb(),
        }


def start_meter() -> Meter:
    """Read the clocks and forget the process's earlier memory peak (Linux only)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return Meter(time.perf_counter(), _cpu_seconds())


def save_usage(usage: Mapping[str, float | None], folder: Path) -> None:
    """Write what a stage cost into its node's folder."""
    path = folder / TIMING_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(usage)), encoding="ascii")


def read_timing(folder: Path) -> dict[str, float | None]:
    """Read what :func:`save_usage` wrote; empty if the stage wrote nothing."""
    try:
        timing = json.loads((folder / TIMING_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return dict(timing)


def timing_is_older(folder: Path, moment: float) -> bool:
    """Whether a stage ran before `moment` (seconds since the epoch), that is in an earlier run."""
    try:
        return (folder / TIMING_FILE).stat().st_mtime < moment
    except OSError:
        return False


def ended_at(folder: Path) -> str:
    """When a stage was done, as UTC ``2026-01-31T12:00:00Z``; empty if the stage wrote nothing."""
    try:
        moment = (folder / TIMING_FILE).stat().st_mtime
    except OSError:
        return ""
    return io.in_utc(moment)


def _cpu_seconds() -> float:
    """User and system time of this process with all its threads and finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_rss_mb() -> float | None:
    """Peak resident memory since the last reset, in MB (10^6 bytes); None where unknown."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(match[1]) * 1.024e-3, 1) if match else None
