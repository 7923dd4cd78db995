"""The participant level on a cluster: the atlas, then every scan, then the pages, each a job."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.configuration import private_places
from bidsapp_brainage.running.cluster.choice import read_choice
from bidsapp_brainage.running.cluster.engine import Engine
from bidsapp_brainage.running.cluster.scan import ScanTask, process_scan
from bidsapp_brainage.running.cluster.start import Share
from bidsapp_brainage.running.execute import run_variables
from bidsapp_brainage.running.explain_only import prepare_atlas, write_page
from bidsapp_brainage.running.machine import SCAN_MEMORY_GB, available_memory_gb
from bidsapp_brainage.running.outcome import Failure, Outcome, not_reached
from bidsapp_brainage.running.processes.workers import Done, Job
from bidsapp_brainage.settings import in_flags, is_remote

if TYPE_CHECKING:
    from bidsapp_brainage.running.participant import Run
    from bidsapp_brainage.settings import Resources

LOGGER = logging.getLogger("bidsapp_brainage")
_QUEUE_WORKERS = 50  # as in scripts/slurm_array.sh
#: Each job reads the quality of all scans once.
_PAGES_PER_JOB = 8


@dataclass
class _Progress:
    """Counts scans, and says how fast they go and how many have failed."""

    total: int
    begin: float = field(default_factory=time.monotonic)
    done: int = 0
    failed: int = 0

    def count(self, label: str, outcome: Outcome) -> None:
        self.done += 1
        self.failed += bool(outcome.failures)
        for failure in outcome.failures:
            LOGGER.error("%s: %s: %s", label, failure.step, failure.reason)
        per_s = self.done / max(time.monotonic() - self.begin, 1e-3)
        LOGGER.info(
            "[%d/%d] %s: %s in %.0f s; %d failed so far; about %.0f min left",
            self.done,
            self.total,
            label,
            "failed" if outcome.failures else "done",
            outcome.wall_s,
            self.failed,
            (self.total - self.done) / per_s / 60,
        )


class ClusterLevel:
    """The jobs of a run, and the workers that do them; leaving the block ends the workers.

    Parameters
    ----------
    run : Run
        What was prepared.
    log_level : int
        Of nipype's own messages.
    """

    def __init__(self, run: Run, log_level: int) -> None:
        self._run, self._log_level = run, log_level
        resources = share_of(run.settings.resources, len(run.scans))
        self._settings = replace(run.settings, resources=resources)
        share = Share(
            n_workers=resources.n_workers or 1,
            nprocs=resources.nprocs,
            memory_gb=resources.memory_gb or SCAN_MEMORY_GB,
            folder=run.settings.execution.work_dir / "cluster",
            variables=run_variables(run.settings, run.home)
            | {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"},  # as Engine does for `local`
        )
        choice = read_choice(resources.cluster)
        self._engine = Engine(choice, share, run.plan.run_uuid, log_level)
        self._pages = self._page_jobs()
        self.outcomes: dict[str, Outcome] = {}

    def __enter__(self) -> ClusterLevel:
        self._engine.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.__exit__(*error)

    def process(self) -> list[Failure]:
        """Process all scans; what became of each is in `outcomes` as soon as it is known."""
        labels = None
        if self._run.plan.atlas is not None:
            (atlas,) = self._engine.run(deque([Job("atlas", prepare_atlas, (self._run.plan,))]))
            if atlas.error:
                LOGGER.debug("%s", atlas.traceback)
                return [Failure(scan.label, "atlas", atlas.error) for scan in self._run.scans]
            labels = Path(atlas.result)
        progress, jobs = _Progress(len(self._run.scans)), deque(self._scan_jobs(labels))
        for done in self._engine.run(jobs, then=len(self._pages)):
            outcome = self._outcome_of(done)
            self.outcomes[done.job.label] = outcome
            progress.count(done.job.label, outcome)
            if outcome.failures and self._settings.execution.stop_on_first_crash:
                jobs.clear()
        failures = [failure for each in self.outcomes.values() for failure in each.failures]
        wanted = [scan.label for scan in self._run.scans]
        return failures + not_reached(wanted, "scan", done=self.outcomes)

    def write_pages(self) -> int:
        """Write the pages of all participants; how many could not be written."""
        failed = 0
        for done in self._engine.run(deque(self._pages)):
            if done.error:
                LOGGER.error("%s: %s", done.job.label, done.error)
            failed += int(bool(done.error)) or int(done.result)
        return failed

    def _scan_jobs(self, labels: Path | None) -> Iterator[Job]:
        run, places = self._run, private_places(self._settings)
        for place, scan in enumerate(run.scans):
            task = ScanTask(
                scan,
                place,
                run.precomputed[scan.label],
                run.plan,
                self._settings,
                run.home,
                labels,
                places,
                self._log_level,
            )
            yield Job(scan.label, process_scan, (task,))

    def _page_jobs(self) -> list[Job]:
        subjects = self._run.subjects
        groups = [
            subjects[start : start + _PAGES_PER_JOB]
            for start in range(0, len(subjects), _PAGES_PER_JOB)
        ]
        return [
            Job(
                f"pages from sub-{group[0]} on",
                write_page,
                (self._settings, group, self._run.methods, None),
            )
            for group in groups
        ]

    def _outcome_of(self, done: Done) -> Outcome:
        """Result of a job; one that broke off is a failure of its scan, at its last stage."""
        if not done.error:
            return done.result
        LOGGER.debug("%s", done.traceback)
        label = done.job.label
        step = self._engine.stage_of(label) or "scan"
        return Outcome((Failure(label, step, in_flags(done.error)),))


def share_of(resources: Resources, n_scans: int) -> Resources:
    """Resources of one worker, with how many there may be.

    Parameters
    ----------
    resources : Resources
        Of the run: for one scan with a queue, for all with this machine.
    n_scans : int
        More workers would have nothing to do.
    """
    memory_gb = resources.memory_gb or available_memory_gb()
    if is_remote(resources.cluster):
        wanted = resources.n_workers or _QUEUE_WORKERS
        return replace(resources, n_workers=min(wanted, n_scans), memory_gb=memory_gb)
    possible = min(resources.nprocs // resources.omp_nthreads, int(memory_gb / SCAN_MEMORY_GB))
    count = max(1, min(resources.n_workers or possible, n_scans))
    return replace(
        resources,
        n_workers=count,
        nprocs=max(1, resources.nprocs // count),
        memory_gb=memory_gb / count,
    )
