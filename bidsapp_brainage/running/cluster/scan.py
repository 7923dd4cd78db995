"""One scan in a worker: the same workflow as in a plain run, with the share of one worker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import __version__
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.running.monitor import Monitor
from bidsapp_brainage.running.outcome import Outcome, find_failures, read_crashes

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.settings import Settings
    from bidsapp_brainage.workflows.plan import RunPlan
    from bidsapp_brainage.workflows.precomputed import Precomputed


@dataclass(frozen=True)
class ScanTask:
    """What a worker must know of a scan.

    Attributes
    ----------
    scan : Scan
    place : int
        In the order of the run, which says on which of several GPUs of a machine.
    precomputed : Precomputed
        What need not be computed.
    plan : RunPlan
        Resources and choices of the run; the device is found by the worker.
    settings : Settings
        Of the run, with the share of one worker.
    home : Path
        TemplateFlow home of the run.
    labels : Path or None
        Atlas in the model's template.
    places : mapping of str to str
        Folders that crash files must not tell -> placeholder.
    log_level : int
        Of nipype's own messages.
    version : str
        Of the app that asks.
    """

    scan: Scan
    place: int
    precomputed: Precomputed
    plan: RunPlan
    settings: Settings
    home: Path
    labels: Path | None
    places: Mapping[str, str]
    log_level: int
    version: str = __version__


class _Herald(Monitor):
    """A monitor that tells the run what is done, and what begins."""

    def __init__(self, scan: Scan, topic: str) -> None:
        super().__init__([scan])
        self._label, self._topic = scan.label, topic

    def __call__(self, node: Any, status: str) -> None:
        """Note what has begun, has ended or has failed."""
        stage = getattr(node.interface, "stage", "")
        if status == "start" and stage:
            self._tell(stage=stage)
        super().__call__(node, status)

    def log(self, level: int, name: str, text: str) -> None:
        """Say something about a node."""
        self._tell(level=level, text=text)

    def _tell(self, **what: Any) -> None:
        from distributed import get_worker

        get_worker().log_event(self._topic, {"label": self._label, **what})


def process_scan(task: ScanTask) -> Outcome:
    """Process one scan in this worker.

    Raises
    ------
    UsageError
        The worker has another version of the app, or does not see the folders of the run.
    """
    from bidsapp_brainage.bids.names import log_dir
    from bidsapp_brainage.running.execute import configure, run_environment, run_workflow
    from bidsapp_brainage.workflows.base import init_brainage_wf
    from bidsapp_brainage.workflows.plan import find_compute

    check_worker(task)
    begin, settings, scan = time.monotonic(), task.settings, task.scan
    remove_leftovers(task.plan.output_dir, scan)
    with run_environment(settings, task.home):
        device = find_compute(settings.resources).for_scan(task.place)
        plan = replace(task.plan, compute=device)
        before = {scan.label: task.precomputed}
        workflow = init_brainage_wf([scan], plan, before, labels=task.labels)
        configure(
            workflow,
            [scan],
            output_dir=plan.output_dir,
            run_uuid=plan.run_uuid,
            keep_everything=settings.execution.debug,
        )
        monitor = _Herald(scan, plan.run_uuid)
        memory_gb = settings.resources.memory_gb or 0.0
        run_workflow(
            workflow, settings.resources, monitor, memory_gb=memory_gb, log_level=task.log_level
        )
    folder = log_dir(plan.output_dir, scan.subject, plan.run_uuid)
    crashes = read_crashes(folder, task.places, of=scan.label)
    failures = find_failures(workflow, [scan], monitor, crashes)
    wall_s = time.monotonic() - begin
    return Outcome(tuple(failures), tuple(monitor.records), wall_s=wall_s)


def check_worker(task: ScanTask) -> None:
    """Refuse work that this worker cannot do as the run means it.

    Raises
    ------
    UsageError
        It has another version of the app, or does not see the folders of the run.
    """
    import socket

    host, settings = socket.gethostname(), task.settings
    if task.version != __version__:
        raise UsageError(
            f"The worker on {host} has version {__version__} of the app, the run {task.version}: "
            "install the same on all machines."
        )
    for name, folder in (("BIDS_DIR", settings.bids_dir), ("OUTPUT_DIR", settings.output_dir)):
        if not folder.is_dir():
            raise UsageError(
                f"The worker on {host} does not see {name}: it must lie on a file system that all "
                "machines share, under the same path."
            )


def remove_leftovers(output_dir: Path, scan: Scan) -> None:
    """Remove what a worker that was lost with this scan had begun to write.

    Other scans of the same person may be written by other workers now.
    """
    from bidsapp_brainage.bids.names import scan_entities

    for path in (output_dir / f"sub-{scan.subject}").rglob(".sub-*.tmp*"):
        if scan_entities(Path(path.name[1:])) == scan.entities:
            path.unlink(missing_ok=True)
