"""What became of each scan: complete, or failed at which step, why, and what to do."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.configuration import hide_paths
from bidsapp_brainage.errors import ExitCode
from bidsapp_brainage.interfaces.sinks import DerivativeSink
from bidsapp_brainage.io import tells_of_full_disk
from bidsapp_brainage.running.processes.children import MORE_MEMORY
from bidsapp_brainage.settings import in_flags
from bidsapp_brainage.workflows.scan import scan_workflow_name

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.running.monitor import Monitor, StageRecord

_NODE = re.compile(r"^Node: (\S+)$", re.MULTILINE)
_OWN_ERROR = re.compile(r"bidsapp_brainage\.errors\.(\w+): (.+?)(?=\n\s*\n|\n\S|\Z)", re.DOTALL)
_ANY_ERROR = re.compile(r"^\s*([\w.]*(?:Error|Exception|Interrupt)\b.*)$", re.MULTILINE)
_NO_MEMORY = re.compile(
    r"MemoryError|can(?:no|')t allocate|(?:unable|failed) to allocate|bad_alloc|out of memory", re.I
)
_CRASH_NAME = re.compile(r"crash-(\d{8}-\d{6})-.*-([0-9a-f]{8})-[0-9a-f-]+\.txt")


@dataclass(frozen=True)
class Crash:
    """One node that failed.

    Attributes
    ----------
    node : str
        Full name.
    reason : str
        Message of the error, with its remedy if it is one of ours.
    traceback : str
        Content of the crash file.
    path : Path
        The crash file.
    error : str
        Class of the error if it is one of ours; empty if not.
    """

    node: str
    reason: str
    traceback: str
    path: Path
    error: str = ""


@dataclass(frozen=True)
class Failure:
    """One scan, or participant, that is not complete; the class of the error if it is ours."""

    scan: str
    step: str
    reason: str
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of one scan.

    Attributes
    ----------
    failures : tuple of Failure
        None if it is complete.
    records : tuple of StageRecord
        What the stages cost.
    kept : bool
        It was done by the same choices before, and nothing was done.
    newest : float
        When the newest of its files was written (seconds since the epoch), if they were kept.
    wall_s, cpu_s : float
        Seconds, and those of the processor.
    """

    failures: tuple[Failure, ...] = ()
    records: tuple[StageRecord, ...] = ()
    kept: bool = False
    newest: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0


def expected_sinks(workflow: Any, scan: Scan) -> set[str]:
    """Full names of all nodes that write an output of one scan."""
    name = scan_workflow_name(scan.label)
    scan_wf = workflow.get_node(name)
    return {
        f"{workflow.name}.{name}.{node}"
        for node in scan_wf.list_node_names()
        if isinstance(scan_wf.get_node(node).interface, DerivativeSink)
    }


def find_failures(
    workflow: Any, scans: Sequence[Scan], monitor: Monitor, crashes: Sequence[Crash]
) -> list[Failure]:
    """Scans of which this very run has not written everything, one entry per failed step.

    Parameters
    ----------
    workflow : LiterateWorkflow
        That was run.
    scans : sequence of Scan
        Its scans.
    monitor : Monitor
        What has ended and what has failed.
    crashes : sequence of Crash
        From :func:`read_crashes`, of this run.
    """
    failures = []
    shared = [crash for crash in crashes if not monitor.scan_of(crash.node)]
    for scan in scans:
        own = [crash for crash in crashes if monitor.scan_of(crash.node) == scan.label]
        missing = expected_sinks(workflow, scan) - monitor.finished
        if not own and not missing:
            continue
        known = own or shared
        failures += [
            Failure(
                scan.label,
                monitor.failed.get(crash.node, _step(crash.node)),
                crash.reason,
                crash.error,
            )
            for crash in known
        ]
        if not known:
            step = _step(min(missing)) if len(missing) == 1 else f"{len(missing)} outputs"
            failures += not_reached([scan.label], step)
    return failures


def not_reached(labels: Iterable[str], step: str, done: Container[str] = ()) -> list[Failure]:
    """Failures of scans to whose end a run did not come; what became of others is known."""
    reason = "The run stopped before this was done."
    return [Failure(label, step, reason) for label in labels if label not in done]


def read_crashes(folder: Path, places: Mapping[str, str], of: str = "") -> list[Crash]:
    """Read the crash files of one run, after taking host paths and the login name out of them.

    Parameters
    ----------
    folder : Path
        Where nipype wrote them.
    places : mapping of str to str
        Host path -> placeholder.
    of : str
        Label of the only scan whose crash files are read; others may be in the hands of another
        process.
    """
    crashes = []
    for path in sorted(folder.glob("crash-*.txt")):
        match = _CRASH_NAME.fullmatch(path.name)
        text = hide_paths(path.read_text(encoding="utf-8", errors="replace"), places)
        named = _NODE.search(text)
        node = named[1] if named else "unknown"
        if of and scan_workflow_name(of) not in node.split("."):
            continue
        if match:  # nipype's own name holds the login name of the user
            path.unlink()
            path = path.with_name(f"crash-{match[1]}-{node.rpartition('.')[2]}-{match[2]}.txt")
        path.write_text(text, encoding="utf-8")
        crashes.append(Crash(node, in_flags(explain(text)), text, path, _own(text)[0]))
    return crashes


def explain(text: str) -> str:
    """Message of the error that a crash file tells about, on one line."""
    _, message = _own(text)
    if message:
        return " ".join(message.split())
    other = _ANY_ERROR.findall(text)
    reason = " ".join(other[-1].split()) if other else "unknown reason; see the crash file"
    return f"{reason}: {MORE_MEMORY}" if _NO_MEMORY.search(reason) else reason


def exit_code(failures: Sequence[Failure], bad_pages: int) -> int:
    """What a level ends with: that of a full disk if any scan failed of it."""
    if any(tells_of_full_disk(failure.reason) for failure in failures):
        return ExitCode.DISK_FULL
    return ExitCode.INCOMPLETE if failures or bad_pages else ExitCode.DONE


def _own(text: str) -> tuple[str, str]:
    """Class and message of the last error of ours; empty if there is none."""
    found = _OWN_ERROR.findall(text)
    return found[-1] if found else ("", "")


def failure_table(failures: Sequence[Failure]) -> str:
    """Plain-text table of what failed, for the end of the log."""
    header = Failure("scan", "step", "reason and remedy")
    rows = [header, *failures]
    widths = [max(len(row.scan) for row in rows), max(len(row.step) for row in rows)]
    lines = [f"  {row.scan:<{widths[0]}}  {row.step:<{widths[1]}}  {row.reason}" for row in rows]
    lines.insert(1, f"  {'-' * widths[0]}  {'-' * widths[1]}  {'-' * len(header.reason)}")
    return "\n".join(lines)


def _step(node: str) -> str:
    """Name of a node without the workflow and the scan."""
    return node.rpartition(".")[2]
