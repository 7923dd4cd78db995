"""A killed worker, a failing node, and an interrupt."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe
from scipy import sparse

from bidsapp_brainage.running.plugin import SturdyMultiProc, _Dependencies


def kill_myself(value: int) -> int:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return value


def add_one(value: int) -> int:
    return value + 1


def sleep_long(value: int) -> int:
    import time

    time.sleep(60)
    return value


def talk(value: int) -> int:
    import logging

    logging.getLogger("bidsapp_brainage").info("half of %d", value)
    return value


def process_of(value: int) -> int:
    import os

    return os.getpid()


def make_workflow(folder: Path, functions: list) -> pe.Workflow:
    """Independent chains of two nodes each: the function, then `add_one`."""
    workflow = pe.Workflow("wf", base_dir=str(folder))
    workflow.config["execution"] = {
        "crashdump_dir": str(folder),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.05",
        "create_report": "false",
    }
    for place, function in enumerate(functions):
        first = pe.Node(Function(function=function), name=f"first{place}")
        second = pe.Node(Function(function=add_one), name=f"second{place}")
        first.inputs.value = place
        workflow.connect(first, "out", second, "value")
    return workflow


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, node, status: str) -> None:
        self.events.append((node.name, status))


def plugin(recorder, n_procs: int = 2) -> SturdyMultiProc:
    return SturdyMultiProc(
        {"n_procs": n_procs, "memory_gb": 4, "status_callback": recorder, "log_level": 50}
    )


def test_killed_worker_fails_alone(tmp_path: Path) -> None:
    recorder = Recorder()
    workflow = make_workflow(tmp_path, [add_one, kill_myself, add_one])
    with pytest.raises(RuntimeError, match="killed"):
        workflow.run(plugin=plugin(recorder))
    ended = {name for name, status in recorder.events if status == "end"}
    assert ended == {"first0", "second0", "first2", "second2"}
    assert ("first1", "exception") in recorder.events
    (crash,) = tmp_path.glob("crash-*.txt")
    assert "memory" in crash.read_text()


def test_one_scan_after_the_other(tmp_path: Path) -> None:
    recorder = Recorder()
    workflow = make_workflow(tmp_path, [add_one, add_one, add_one])
    arguments = {"n_procs": 1, "memory_gb": 4, "status_callback": recorder, "log_level": 50}
    workflow.run(plugin=SturdyMultiProc({**arguments, "priority": lambda name: -int(name[-1])}))
    ended = [name for name, status in recorder.events if status == "end"]
    assert ended == ["first2", "second2", "first1", "second1", "first0", "second0"]


def test_a_process_takes_one_node_after_another(tmp_path: Path) -> None:
    workflow = make_workflow(tmp_path, [process_of, process_of, process_of])
    graph = workflow.run(plugin=plugin(Recorder(), n_procs=1))
    found = {node.result.outputs.out for node in graph.nodes() if node.name.startswith("first")}
    assert len(found) == 1
    assert os.getpid() not in found


@pytest.mark.timeout(60)
def test_too_little_memory_is_told_and_does_not_hang(tmp_path: Path, caplog) -> None:
    workflow = make_workflow(tmp_path, [add_one, add_one])
    recorder = Recorder()
    arguments = {"n_procs": 2, "raise_insufficient": False, "status_callback": recorder}
    workflow.run(plugin=SturdyMultiProc({**arguments, "memory_gb": 0.001, "log_level": 50}))
    assert [status for _, status in recorder.events] == ["start", "end"] * 4  # one at a time
    assert "may use 0.0 GB (--mem): the largest stages run one at a time" in caplog.text


def test_what_a_node_says_is_relayed_with_its_name(tmp_path: Path) -> None:
    heard: list[tuple[int, str, str]] = []
    arguments = {"n_procs": 1, "memory_gb": 4, "status_callback": Recorder(), "log_level": 50}
    relay = lambda *message: heard.append(message)  # noqa: E731
    workflow = make_workflow(tmp_path, [talk])
    workflow.run(plugin=SturdyMultiProc({**arguments, "relay": relay}))
    assert heard == [(20, "wf.first0", "half of 0")]


def test_open_dependencies_are_counted_as_scipy_does() -> None:
    matrix = sparse.random(40, 40, 0.1, format="lil", random_state=0, data_rvs=np.ones)
    ours = _Dependencies(matrix)
    for job in range(40):
        assert np.array_equal(ours.sum(axis=0), np.asarray(matrix.sum(axis=0)).reshape(1, -1))
        for rows in (ours, matrix):  # as nipype does when a job has ended
            row = rows.getrowview(job)
            row[row.nonzero()] = 0


def test_interrupt_ends_all_children(tmp_path: Path) -> None:
    workflow = make_workflow(tmp_path, [sleep_long, sleep_long])
    started = []

    def interrupt(node, status: str) -> None:
        started.append(node.name)
        if len(started) == 2:
            signal.setitimer(signal.ITIMER_REAL, 0.5)

    def alarm(number, frame) -> None:
        started.append(time.monotonic())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with pytest.raises(KeyboardInterrupt):
            workflow.run(plugin=plugin(interrupt))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started[-1] < 20
    me = psutil.Process(os.getpid())
    forked = set(me.children(recursive=True)) - set(me.children())
    assert not [child for child in forked if child.status() != psutil.STATUS_ZOMBIE]
