"""Workers of Dask: a killed one, a job that kills every worker, and what a user is told."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from pathlib import Path

import pytest

from bidsapp_brainage.running.cluster.choice import read_choice
from bidsapp_brainage.running.cluster.engine import Engine
from bidsapp_brainage.running.cluster.start import Share
from bidsapp_brainage.running.workers import Job

pytest.importorskip("distributed")


def double(number: int) -> int:
    return 2 * number


def fail(number: int) -> None:
    raise ValueError(f"no {number}")


def kill_worker(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_worker_once(flag: str) -> str:
    """Dies with its worker at first; the second attempt finds the flag."""
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done at last"


def announce(topic: str) -> None:
    from distributed import get_worker

    event = {"label": "job 0", "stage": "warp", "level": logging.WARNING, "text": "half way"}
    get_worker().log_event(topic, event)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory):
    share = Share(2, 1, 1.0, tmp_path_factory.mktemp("cluster"))
    with Engine(read_choice("local"), share, "run", logging.CRITICAL) as started:
        yield started


def jobs(*functions) -> deque[Job]:
    return deque(Job(f"job {n}", function, (n,)) for n, function in enumerate(functions))


def test_a_lost_worker_costs_nothing_and_a_poisoned_job_only_itself(engine, tmp_path) -> None:
    begin = time.monotonic()
    todo = jobs(double, kill_worker, double, fail, double)
    todo.append(Job("lost", kill_worker_once, (str(tmp_path / "flag"),)))
    done = {each.job.label: each for each in engine.run(todo)}
    assert [done[f"job {n}"].result for n in (0, 2, 4)] == [0, 4, 8]
    assert done["lost"].result == "done at last"
    assert done["job 3"].error == "no 3"
    assert "in fail" in done["job 3"].traceback
    assert "4 workers were lost with it" in done["job 1"].error
    assert "--mem" in done["job 1"].error
    assert time.monotonic() - begin < 120
