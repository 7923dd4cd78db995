"""Processes that take one job after another, so that what a job loads serves the next one too."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil

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


@dataclass(frozen=True)
class _Answer:
    """What a process says at the end of a job, and whether it ends itself then."""

    result: Any = None
    error: str = ""
    traceback: str = ""
    leaves: bool = False


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
    kept_gb : float, optional
        Give memory back after every job, and replace a process that holds more than this then, or
        memory of a GPU. Without it what a job loads stays for the next one.
    """

    def __init__(
        self,
        count: int,
        *,
        log_level: int,
        relay: Callable[[int, str, str], None],
        kept_gb: float | None = None,
    ) -> None:
        self._count, self._relay = count, relay
        self._manner = (log_level, kept_gb)
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
            while jobs and self.submit(jobs[0]):
                jobs.popleft()
            yield from self.collect()

    def submit(self, job: Job) -> bool:
        """Give a job to a process that has none; False if all have one."""
        while (worker := self._idle()) is not None:
            try:
                worker.connection.send(job)
            except (BrokenPipeError, ConnectionError):  # it died while it had none
                self._bury(worker)
            else:
                worker.job = job
                return True
        return False

    def collect(self, timeout: float | None = None) -> list[Done]:
        """Wait (seconds) until a job that runs says something; those that are done."""
        by_connection = {worker.connection: worker for worker in self._busy()}
        ready = wait(list(by_connection), timeout) if by_connection else []
        found = [self._listen(by_connection[connection]) for connection in ready]  # type: ignore[index]
        return [done for done in found if done is not None]

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
        process = self._context.Process(target=_serve, args=(theirs, *self._manner))
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
        if not isinstance(message, _Answer):
            level, text = message
            self._relay(level, job.label, text)
            return None
        worker.job = None
        if message.leaves:
            worker.connection.close()
            self._workers.remove(worker)
        return Done(job, message.result, message.error, message.traceback)


def _serve(connection: Connection, log_level: int, kept_gb: float | None) -> None:
    """Do the jobs that come, one after another."""
    settle_in(connection, log_level)
    gc.freeze()  # nipype collects garbage around every node, and what is imported stays anyway
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        answer = _answer(job)
        del job
        if kept_gb is not None and not _gives_back(kept_gb):
            answer = replace(answer, leaves=True)
        connection.send(answer)
        if answer.leaves:
            return


def _answer(job: Job) -> _Answer:
    """Do a job."""
    try:
        return _Answer(job.function(*job.arguments))
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        return _Answer(error=str(error) or type(error).__name__, traceback=text)


def _gives_back(kept_gb: float) -> bool:
    """Give memory back to the system; whether little enough is kept, and nothing of a GPU."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return False
    return psutil.Process().memory_info().rss / 1e9 <= kept_gb
