"""Processes that take one job after another, so that what a job loads serves the next one too."""

from __future__ import annotations

import gc
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from bidsapp_brainage.running.processes.children import (
    GRACE_S,
    end,
    forkserver,
    obituary,
    settle_in,
)


@dataclass(frozen=True)
class Job:
    """A function of a module with its arguments, and how messages call it."""

    label: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Done:
    """What came of a job: a result, or the error that ended it (with its traceback)."""

    job: Job
    result: Any = None
    error: str = ""
    traceback: str = ""


@dataclass
class _Worker:
    process: Any
    connection: Connection
    job: Job | None = None


class Workers:
    """So many processes; leaving the block ends them.

    A process that is killed takes its job with it, and nothing else: another one takes its place.

    Parameters
    ----------
    count : int
        How many, at least 1.
    log_level : int
        Of nipype's messages in them.
    relay : callable
        Told (level, label of the job, text) of what a job says while it runs.
    """

    def __init__(
        self, count: int, *, log_level: int, relay: Callable[[int, str, str], None]
    ) -> None:
        self._count, self._log_level, self._relay = count, log_level, relay
        self._context = forkserver()
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        for worker in self._workers:
            worker.connection.close()  # which tells one without a job to go
            if error is None and worker.job is None:
                worker.process.join(GRACE_S)
        end(worker.process for worker in self._workers)
        self._workers.clear()

    def run(self, jobs: deque[Job]) -> Iterator[Done]:
        """Work until no job is left, and yield what is done; jobs may be added meanwhile."""
        while jobs or self._busy():
            while jobs and (worker := self._idle()) is not None:
                self._give(worker, jobs)
            by_connection = {worker.connection: worker for worker in self._busy()}
            for connection in wait(list(by_connection)):
                done = self._listen(by_connection[connection])  # type: ignore[index]
                if done is not None:
                    yield done

    def _give(self, worker: _Worker, jobs: deque[Job]) -> None:
        """Hand the next job to a worker, unless it died while it had none."""
        try:
            worker.connection.send(jobs[0])
        except (BrokenPipeError, ConnectionError):
            self._bury(worker)
        else:
            worker.job = jobs.popleft()

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

    def _idle(self) -> _Worker | None:
        """A worker without a job, started if need be; none if all have one."""
        for worker in self._workers:
            if worker.job is None:
                return worker
        if len(self._workers) == self._count:
            return None
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._log_level))
        process.start()
        theirs.close()  # then a dead child reads as the end of the pipe
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _listen(self, worker: _Worker) -> Done | None:
        """Take one message of a busy worker."""
        assert worker.job is not None
        job = worker.job
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionError):
            self._bury(worker)
            return Done(job, error=obituary(worker.process.exitcode))
        if not isinstance(message, Done):
            level, text = message
            self._relay(level, job.label, text)
            return None
        worker.job = None
        return message


def _serve(connection: Connection, log_level: int) -> None:
    """Do the jobs that come, one after another."""
    settle_in(connection, log_level)
    gc.freeze()  # nipype collects garbage around every node, and what is imported stays anyway
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        try:
            done = Done(job, job.function(*job.arguments))
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            done = Done(job, error=str(error) or type(error).__name__, traceback=text)
        connection.send(done)
