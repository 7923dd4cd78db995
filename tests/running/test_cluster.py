"""Workers of Dask: a killed one, a job that kills every worker, and what a user is told."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import psutil
import pytest

from bidsapp_brainage.errors import ExitCode, MissingExecutableError, UsageError
from bidsapp_brainage.io import atomic_path
from bidsapp_brainage.running.cluster import choice as choosing
from bidsapp_brainage.running.cluster.choice import Choice, read_choice
from bidsapp_brainage.running.cluster.engine import Engine
from bidsapp_brainage.running.cluster.level import share_of
from bidsapp_brainage.running.cluster.scan import remove_leftovers
from bidsapp_brainage.running.cluster.start import Share, job_options
from bidsapp_brainage.running.machine import SCAN_MEMORY_GB
from bidsapp_brainage.running.processes.workers import Job
from bidsapp_brainage.settings import Resources, cluster_named
from bidsapp_brainage.workflows.base import examples, init_brainage_wf
from bidsapp_brainage.workflows.precomputed import Precomputed
from bidsapp_brainage.workflows.scan import scan_workflow_name
from tests.signals import heed_interrupts


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command sbatch on the PATH that refuses every job."""
    command = tmp_path / "bin" / "sbatch"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    return command


def written(folder: Path, text: str) -> str:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return str(path)


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
    fewer = {"distributed": {"scheduler": {"allowed-failures": 1}}}
    here = Choice("local", configuration=fewer)
    with Engine(here, share, "run", logging.CRITICAL) as started:
        yield started


def jobs(*functions) -> deque[Job]:
    return deque(Job(f"job {n}", function, (n,)) for n, function in enumerate(functions))


def test_a_lost_worker_costs_nothing_and_a_poisoned_job_only_itself(engine, tmp_path) -> None:
    todo = jobs(double, kill_worker, double, fail, double)
    todo.append(Job("lost", kill_worker_once, (str(tmp_path / "flag"),)))
    done = {each.job.label: each for each in engine.run(todo)}
    assert [done[f"job {n}"].result for n in (0, 2, 4)] == [0, 4, 8]
    assert done["lost"].result == "done at last"
    assert done["job 3"].error == "no 3"
    assert "in fail" in done["job 3"].traceback
    assert "2 workers were lost with it" in done["job 1"].error
    assert "--mem" in done["job 1"].error


def test_what_a_worker_says_is_heard_and_its_stage_remembered(engine, caplog) -> None:
    (done,) = engine.run(deque([Job("job 0", announce, ("run",))]))
    assert done.error == ""
    for _ in range(300):  # messages take their own way
        if "job 0: half way" in caplog.text:
            break
        time.sleep(0.1)
    assert "job 0: half way" in caplog.text
    assert engine.stage_of("job 0") == "warp"
    assert engine.stage_of("another") == ""


def test_an_address_that_does_not_answer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bidsapp_brainage.running.cluster.engine._ANSWER_S", 2)
    nobody = Engine(read_choice("tcp://127.0.0.1:9"), Share(1, 1, 1.0, tmp_path), "run", 50)
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        nobody.__enter__()


def test_a_queue_that_takes_no_job(tmp_path: Path, sbatch) -> None:
    share = Share(2, 1, 1.0, tmp_path / "cluster")
    with (
        pytest.raises(UsageError, match="takes no job: .*invalid partition"),
        Engine(read_choice("slurm"), share, "run", logging.CRITICAL) as engine,
    ):
        list(engine.run(jobs(double)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("slrm", "not one of local, slurm"),
        ("dask://host:8786", "no address"),
        ("tcp://", "no address"),
        ("http://host/cluster.yaml", "no address"),
    ],
)
def test_values_that_are_none(value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cluster_named(value)


def test_values_that_are_some(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cluster_named("slurm") == "slurm"
    assert cluster_named("tls://host:8786") == "tls://host:8786"
    assert cluster_named("site.yml") == str(tmp_path / "site.yml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "cannot be read as YAML"),
        ("jobqueue: slurm", "expected a configuration of dask-jobqueue"),
        ("jobqueue: {slurm: {}, pbs: {}}", "there is slurm, pbs; name one"),
        ("jobqueue: {moab: {}}", "there is moab; name one"),
        ("jobqueue: {slurm: {core: 2}}", "knows no setting jobqueue.slurm.core"),
        (
            "jobqueue: {slurm: {}}\ndistributed: {scheduler: {allowed-failure: 1}}",
            "knows no setting distributed.scheduler.allowed-failure",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, sbatch, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_choice(written(tmp_path, text))


def test_a_file_is_read_with_hyphens_or_underscores(tmp_path: Path, sbatch) -> None:
    read = read_choice(written(tmp_path, "jobqueue: {slurm: {cores: 8, log_directory: x}}"))
    assert read.kind == "slurm"
    assert read.is_queue
    assert read.ours
    assert read.configuration["jobqueue"]["slurm"]["cores"] == 8


def test_no_command_and_no_library(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExecutableError, match="sbatch is not on the PATH") as raised:
        read_choice("slurm")
    assert raised.value.exit_code == ExitCode.NO_PROGRAM == 127
    monkeypatch.setattr(choosing, "_LIBRARIES", ("distributed", "no_such_library"))
    with pytest.raises(MissingExecutableError, match=r"no_such_library: pip install .*cluster"):
        read_choice("local")


def test_a_job_asks_for_what_a_scan_needs_unless_the_site_says_otherwise(tmp_path: Path) -> None:
    import dask

    share = Share(9, 2, 4.0, tmp_path, {"HOME_OF": "a b"})
    options = job_options("slurm", share)
    assert (options["cores"], options["memory"], options["processes"]) == (2, "4 GiB", 1)
    assert options["walltime"] == "04:00:00"
    assert job_options("lsf", share)["walltime"] == "04:00"
    assert options["worker_extra_args"] == ["--nthreads", "1"]
    assert options["job_script_prologue"] == ["export HOME_OF='a b'"]
    site = {"cores": 16, "memory": "64GB", "processes": 8, "walltime": "1-0"}
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in site.items()}):
        assert {key: job_options("slurm", share)[key] for key in site} == site
        with pytest.raises(UsageError, match="16 cores is too small for 8 scans of 3"):
            job_options("slurm", Share(9, 3, 4.0, tmp_path))
        with pytest.raises(UsageError, match="64GB is too small for 8 scans of 9 GB"):
            job_options("slurm", Share(9, 2, 9.0, tmp_path))


def test_an_interrupt_is_still_one_when_queues_are_known() -> None:
    """dask-jobqueue makes it an end with status 0 when it is imported."""
    code = """
import signal
from bidsapp_brainage.running.cluster.choice import shipped
assert "jobqueue" in shipped()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=heed_interrupts, check=False)
    assert done.returncode == 0


def test_the_share_of_a_worker() -> None:
    machine = Resources(nprocs=8, omp_nthreads=2, memory_gb=3 * SCAN_MEMORY_GB, cluster="local")
    one = share_of(machine, n_scans=100)
    assert (one.n_workers, one.nprocs, one.memory_gb) == (3, 2, SCAN_MEMORY_GB)
    assert share_of(machine, n_scans=1).nprocs == 8
    queue = Resources(nprocs=2, memory_gb=6.0, cluster="slurm")
    one = share_of(queue, n_scans=1000)
    assert (one.n_workers, one.nprocs, one.memory_gb) == (50, 2, 6.0)


def test_a_scan_of_each_kind_tells_the_methods_of_all(plan, scans) -> None:
    t1w, mask = plan.template.t1w, plan.template.mask
    given = Precomputed(t1w=t1w, mask=mask, root=t1w.parent)
    precomputed = {scan.label: Precomputed() for scan in scans} | {scans[1].label: given}
    wired = examples(scans, precomputed)
    assert [scan.label for scan in wired] == [scans[0].label, scans[1].label]
    text = init_brainage_wf(wired, plan, precomputed).visit_desc()
    assert text == init_brainage_wf(scans, plan, precomputed).visit_desc()


def test_labels_that_are_there_need_no_nodes_of_the_atlas(plan, scans, tmp_path: Path) -> None:
    labels = tmp_path / "labels.nii.gz"
    labels.touch()
    workflow = init_brainage_wf(scans[:1], plan, labels=labels)
    names = workflow.list_node_names()
    assert not [name for name in names if "ds_atlas" in name or name.startswith("atlas_")]
    inputs = workflow.get_node(f"{scan_workflow_name(scans[0].label)}.explanation_wf.inputnode")
    assert inputs.inputs.labels == str(labels)


def test_leftovers_of_a_lost_worker_are_removed_and_no_others(tmp_path: Path, scans) -> None:
    first, second = scans[1], scans[2]  # two runs of one session
    folder = tmp_path / f"sub-{first.subject}" / "anat"
    names = [folder / f"{scan.label}_desc-tiny_brainage.tsv" for scan in (first, second)]
    with atomic_path(names[0]) as lost, atomic_path(names[1]) as other:
        finished = folder / f"{first.label}_desc-tiny_qc.tsv"
        for path in (lost, other, finished):
            path.write_text("x")
        remove_leftovers(tmp_path, first)
        assert [path.exists() for path in (lost, other, finished)] == [False, True, True]
        lost.touch()  # to be moved at the end


FRONT = """
import sys, time
from collections import deque
from pathlib import Path
from bidsapp_brainage.running.cluster.choice import Choice
from bidsapp_brainage.running.cluster.engine import Engine
from bidsapp_brainage.running.cluster.start import Share
from bidsapp_brainage.running.processes.workers import Job

if __name__ == "__main__":
    with Engine(Choice(sys.argv[2]), Share(1, 1, 1.0, Path(sys.argv[1])), "run", 50) as engine:
        jobs = deque([Job("touch", Path.touch, (Path(sys.argv[1]) / "begun",))])
        jobs.append(Job("sleep", time.sleep, (600,)))
        list(engine.run(jobs))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_worker(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "front.py"
    script.write_text(FRONT)
    front = psutil.Popen(
        [sys.executable, str(script), str(tmp_path), "local"], preexec_fn=heed_interrupts
    )
    try:
        while not (tmp_path / "begun").exists():
            assert front.poll() is None
            time.sleep(0.1)
        time.sleep(1)  # now it sleeps
        workers = front.children(recursive=True)
        assert workers
        front.send_signal(number)
        assert front.wait(timeout=60) != 0
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive
    finally:
        for process in [*front.children(recursive=True), front] if front.is_running() else []:
            process.kill()
