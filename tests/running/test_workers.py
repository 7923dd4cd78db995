"""Processes that stay: what they keep, what they say, and what becomes of a killed one."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque

import psutil
import pytest

from bidsapp_brainage.running.processes.children import obituary
from bidsapp_brainage.running.processes.workers import Job, Workers

HEARD: list[tuple[int, str, str]] = []
HELD: list[bytes] = []


def process_of(_: int) -> int:
    return os.getpid()


def fail(number: int) -> None:
    raise ValueError(f"no {number}")


def kill_myself(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def talk(number: int) -> int:
    logging.getLogger("bidsapp_brainage").warning("half of %d", number)
    return number


def sleep(_: int) -> None:
    time.sleep(60)


def jobs(*functions) -> deque[Job]:
    return deque(Job(f"job {n}", function, (n,)) for n, function in enumerate(functions))


@pytest.fixture(scope="module")
def workers():
    def relay(*message: object) -> None:
        HEARD.append(message)  # type: ignore[arg-type]

    with Workers(2, log_level=50, relay=relay) as some:
        yield some


def test_a_few_processes_do_all_jobs(workers: Workers) -> None:
    results = list(workers.run(jobs(*[process_of] * 6)))
    assert sorted(done.job.label for done in results) == [f"job {n}" for n in range(6)]
    assert 1 <= len({done.result for done in results}) <= 2
    assert os.getpid() not in {done.result for done in results}


def test_jobs_may_follow_from_jobs(workers: Workers) -> None:
    todo, seen = jobs(process_of), []
    for done in workers.run(todo):
        seen.append(done.job.label)
        if len(seen) == 1:
            todo.append(Job("page", process_of, (0,)))
    assert seen == ["job 0", "page"]


def test_errors_and_messages_belong_to_their_jobs(workers: Workers) -> None:
    HEARD.clear()
    by_label = {done.job.label: done for done in workers.run(jobs(talk, fail))}
    assert by_label["job 0"].result == 0
    assert by_label["job 1"].error == "no 1"
    assert "in fail" in by_label["job 1"].traceback
    assert HEARD == [(logging.WARNING, "job 0", "half of 0")]


def test_a_killed_process_fails_alone_and_is_replaced(workers: Workers) -> None:
    errors = {
        done.job.label: done.error for done in workers.run(jobs(talk, kill_myself, talk, talk))
    }
    assert "memory" in errors.pop("job 1")
    assert set(errors.values()) == {""}
    (first, *_) = [worker.process for worker in workers._workers]
    os.kill(first.pid, signal.SIGKILL)  # while it has nothing to do
    first.join()
    assert [done.error for done in workers.run(jobs(talk, talk))] == ["", ""]


def test_leaving_ends_what_still_runs() -> None:
    children = set(psutil.Process().children(recursive=True))
    begin = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        Workers(1, log_level=50, relay=lambda *_: None) as some,
    ):
        for _ in some.run(jobs(process_of, sleep)):
            raise KeyboardInterrupt
    assert time.monotonic() - begin < 40
    left = set(psutil.Process().children(recursive=True)) - children
    assert [child for child in left if "sleep" in " ".join(child.cmdline())] == []
    assert not some._workers


def hold(megabytes: int) -> int:
    HELD.append(b"x" * (megabytes * 1_000_000))
    return os.getpid()


def test_a_process_that_holds_much_is_replaced() -> None:
    with Workers(1, log_level=50, relay=lambda *_: None, kept_gb=1.5) as some:
        first, second, third = (
            next(some.run(deque([Job("job", hold, (size,))]))).result for size in (1, 1500, 1)
        )
    assert first == second
    assert third != second


@pytest.mark.parametrize(("code", "words"), [(-9, "memory"), (255, "memory"), (-11, "-vv")])
def test_a_process_that_ended_without_an_answer_has_a_remedy(code: int, words: str) -> None:
    assert words in obituary(code)
