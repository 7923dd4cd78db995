"""Jobs done by the workers of a Dask cluster: dealt out one by one, tried again, or set aside.

Dask finds lost workers, gives their work to others, and gives up what too many of them died with.
Each worker has one job at a time: so a worker that dies accuses the job that it was doing, and
none that waited behind it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.errors import BrainageError, UsageError
from bidsapp_brainage.io import is_disk_full
from bidsapp_brainage.running.cluster.start import start_local, start_queue
from bidsapp_brainage.running.processes.children import quiet_nipype
from bidsapp_brainage.running.processes.workers import Done, Job
from bidsapp_brainage.settings import in_flags

if TYPE_CHECKING:
    from bidsapp_brainage.running.cluster.choice import Choice
    from bidsapp_brainage.running.cluster.start import Share

LOGGER = logging.getLogger("bidsapp_brainage")
_ANSWER_S = 30
_TICK_S = 1.0
#: After how long without any worker a warning comes; the next one comes after twice as long.
_PATIENCE_S = 120.0


class Engine:
    """The workers of one run; leaving the block ends those that the run has started.

    Parameters
    ----------
    choice : Choice
        Where they are.
    share : Share
        What each of them gets, and how many there may be.
    run_uuid : str
        Tells the jobs of this run from those of others at the same scheduler.
    log_level : int
        Of nipype's messages in them.
    """

    def __init__(self, choice: Choice, share: Share, run_uuid: str, log_level: int) -> None:
        self._choice, self._share, self._run_uuid = choice, share, run_uuid
        self._log_level = log_level
        self._stack = ExitStack()
        self._client: Any = None
        self._wanted = 0
        self._n_jobs, self._refusal = 0, ""
        self._stages: dict[str, str] = {}
        self._n_workers = 0
        self._alone_since, self._patience = time.monotonic(), _PATIENCE_S

    def __enter__(self) -> Engine:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stage_of(self, label: str) -> str:
        """What a job was doing when it was last heard of; empty if it never was."""
        return self._stages.get(label, "")

    def run(self, jobs: deque[Job], then: int = 0) -> Iterator[Done]:
        """Do the jobs, and yield what is done; jobs may be added or taken away meanwhile.

        Parameters
        ----------
        jobs : deque of Job
            With different labels.
        then : int
            For how many jobs that come later workers are worth keeping.

        Raises
        ------
        UsageError
            The queue takes no job.
        BrainageError
            The scheduler is gone.
        OSError
            A disk is full.
        """
        from distributed import wait

        running: dict[Any, Job] = {}
        while jobs or running:
            self._wanted = max(len(jobs) + len(running), then)
            self._look_after_workers()
            while jobs and len(running) < self._n_workers:
                job = jobs.popleft()
                running[self._submit(job)] = job
            if not running:
                time.sleep(_TICK_S)
                continue
            with contextlib.suppress(TimeoutError):
                wait(list(running), timeout=_TICK_S, return_when="FIRST_COMPLETED")
            for future in [future for future in running if future.done()]:
                yield self._done(running.pop(future), future)

    def _start(self) -> None:
        import dask
        from distributed import Client

        configuration = dask.config.merge(dask.config.config, self._choice.configuration)
        self._stack.enter_context(dask.config.set(configuration))
        # A worker starts processes, which Dask must not take for its own to end.
        ours = {"distributed.worker.daemon": False, "distributed.worker.profile.enabled": False}
        self._stack.enter_context(dask.config.set(ours))
        for name in ("distributed", "tornado.application"):  # what matters, we say
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self._choice.is_queue:
            target: Any = start_queue(
                self._choice, self._share, lambda: self._wanted, self._submitted
            )
        else:
            target = start_local(self._share) if self._choice.ours else self._choice.address
        if self._choice.ours:
            self._stack.callback(target.close)
        try:
            self._client = Client(target, timeout=_ANSWER_S)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(
                f"--cluster: no Dask scheduler answers at {self._choice.address or 'this machine'} "
                f"({error}): check that it runs, and that firewalls let this machine through."
            ) from error
        self._stack.callback(self._client.close)
        self._client.subscribe_topic(self._run_uuid, self._hear)

    def _submitted(self, refusal: str) -> None:
        """Note whether the queue took a job; it may allow fewer than we want."""
        if not refusal:
            self._n_jobs += 1
        elif refusal != self._refusal:
            self._refusal = refusal
            LOGGER.warning("The queue took a job less: %s", refusal)

    def _submit(self, job: Job) -> Any:
        key = f"{self._run_uuid}-{job.label}"
        return self._client.submit(do, self._log_level, job, key=key, pure=False)

    def _look_after_workers(self) -> None:
        """Count the workers, and say when they come, go, or do not come."""
        try:
            count = sum(self._client.nthreads().values())
        except (OSError, RuntimeError) as error:
            raise BrainageError(
                f"The Dask scheduler is gone ({error}). Finished scans are kept: run the same "
                "command again to resume."
            ) from error
        if count != self._n_workers:
            LOGGER.info("Workers: %d", count)
        self._n_workers = count
        if count:
            self._alone_since, self._patience = time.monotonic(), _PATIENCE_S
        elif self._refusal and not self._n_jobs:
            raise UsageError(f"--cluster: the queue takes no job: {self._refusal}")
        elif time.monotonic() - self._alone_since > self._patience:
            self._patience *= 2
            LOGGER.warning(
                "No worker yet. If the jobs do not wait in the queue, see what they said: %s",
                self._share.folder,
            )

    def _done(self, job: Job, future: Any) -> Done:
        """What came of a job."""
        from distributed import KilledWorker

        if future.status == "finished":
            return Done(job, future.result())
        if future.status != "error":
            return Done(job, error=f"Dask gave it up ({future.status}): run again to resume.")
        error = future.exception()
        if isinstance(error, KilledWorker):
            return Done(job, error=self._obituary(error))
        if is_disk_full(error):
            raise error  # all others would fail of it, too
        text = "".join(traceback.format_exception(error))
        return Done(job, error=str(error) or type(error).__name__, traceback=text)

    def _obituary(self, error: Any) -> str:
        """What to tell of a job that too many workers died with."""
        seen = "what they said is in the folder cluster of the work folder"
        return in_flags(
            f"{error.allowed_failures + 1} workers were lost with it, one after the other: most "
            "likely the memory of a job did not suffice (`memory_gb`, or the settings of the "
            f"queue); {seen if self._choice.ours else 'see what the workers said'}."
        )

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Pass on what a worker says of its job."""
        told = event[1]
        if told.get("stage"):
            self._stages[told["label"]] = told["stage"]
        if told.get("text"):
            LOGGER.log(told["level"], "%s: %s", told["label"], told["text"])


def do(log_level: int, job: Job) -> Any:
    """Do a job in a worker.

    Raises
    ------
    UsageError
        The worker was started so that it must not start processes.
    """
    if multiprocessing.current_process().daemon:
        raise UsageError(
            "The worker must not start processes, which scans need: start it with --no-nanny, or "
            "with DASK_DISTRIBUTED__WORKER__DAEMON=False in its environment."
        )
    quiet_nipype(log_level)
    return job.function(*job.arguments)
