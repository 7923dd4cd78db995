"""SIGKILL: of everything at random moments, and of one worker."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import psutil

from scripts.faults.lab import Lab, Row, Run, temporary

_MOMENTS, _PER_CHAIN = 20, 5


def everything(lab: Lab) -> Row:
    """Kill runs at random moments, five on one folder after another, then let one end."""
    generator = random.Random(0)
    reference, work = lab.folders("reference")
    total = _n_files(reference) + _n_files(work)
    wrong, outliving, left, codes = [], 0, 0, []
    out, work = lab.folders("kill")
    for moment in range(_MOMENTS):
        if moment % _PER_CHAIN == 0:
            shutil.rmtree(out.parent, ignore_errors=True)
        before = _n_files(out) + _n_files(work)
        wanted = before + generator.randint(0, max(1, total - before))
        run = lab.start(lab.command(out, work))
        run.wait_for(lambda wanted=wanted: _n_files(out) + _n_files(work) >= wanted)
        outliving += run.kill(front_only=bool(moment % 2))
        left += len(temporary(out))
        wrong += lab.differences(out, whole=False)
        if moment % _PER_CHAIN == _PER_CHAIN - 1:
            codes.append(lab.start(lab.command(out, work)).end())
            wrong += lab.differences(out)
            left_at_end = len(temporary(out))
    shutil.rmtree(out.parent, ignore_errors=True)
    held = not wrong and not outliving and codes == [0] * len(codes)
    return Row(
        "SIGKILL of everything",
        f"{_MOMENTS} runs killed when a random number of their files were there (seed 0), every "
        f"second one by its front process alone; the same command again after every {_PER_CHAIN}",
        f"{len(set(wrong))} files with other bytes than those of an undisturbed run, then and at "
        f"the end; {outliving} processes lived on for a minute; {left} temporary "
        f"names were left by the kills, {left_at_end} after the last rerun",
        ", ".join(map(str, codes)),
        "",
        held,
    )


def _n_files(folder: Path) -> int:
    """Files below a folder that changes."""
    return sum(len(names) for _, _, names in os.walk(folder))


def front_alone(lab: Lab) -> Row:
    """Kill the front process while its server of processes still imports."""
    out, work = lab.folders("front")
    run = lab.start(lab.command(out, work))
    run.wait_for(lambda: len(run.family()) > 2)
    begin = time.monotonic()
    outliving = run.kill(front_only=True)
    took = time.monotonic() - begin
    shutil.rmtree(out.parent, ignore_errors=True)
    return Row(
        "SIGKILL of the front process alone",
        "when it has just started its server of processes, which still imports libraries",
        f"{outliving} of its processes were left after {took:.0f} s",
        "",
        "",
        not outliving,
    )


def one_worker(lab: Lab) -> Row:
    """Kill the process that works on the first scan."""
    out, work = lab.folders("worker")
    run = lab.start(lab.command(out, work, "--nprocs", "1"))
    run.wait_for(lambda: "sub-01: conform done" in run.log)
    run.wait_for(lambda: bool(_workers(run)))
    for process in _workers(run)[:1]:
        process.kill()
    code, log = run.end(), run.log
    told = run.errors()
    again = lab.start(lab.command(out, work))
    codes = [code, again.end()]
    wrong = lab.differences(out)
    complete = "1 of 2 scans are complete." in log
    shutil.rmtree(out.parent, ignore_errors=True)
    return Row(
        "SIGKILL of one worker",
        "the process that works on the first of two scans; the same command again",
        f"no hang; the other scan is {'complete' if complete else 'NOT complete'}; "
        f"{len(wrong)} files with other bytes after the rerun",
        ", ".join(map(str, codes)),
        told,
        complete and codes == [1, 0] and not wrong and "killed" in told,
    )


def registration(lab: Lab) -> Row:
    """Kill everything while an image is registered, affinely and then nonlinearly."""
    out, work = lab.folders("registration")
    command = lab.command(out, work, registered=False)
    caught = []
    for node in ("affine", "warp"):
        run = lab.start(command)
        caught.append(run.wait_for(lambda node=node: _is_busy(work, node)))
        run.kill()
    codes = [lab.start(command).end()]
    wrong = lab.differences(out, reference=lab.given)
    wrong = [name for name in wrong if name != "dataset_description.json"]
    shutil.rmtree(out.parent, ignore_errors=True)
    return Row(
        "SIGKILL while an image is registered",
        "everything, in the affine registration and, after the same command, in the nonlinear one; "
        "then the same command again; registrations are those of the runs",
        f"{len(wrong)} files with other bytes than those of an undisturbed run at the end (but for "
        "links between the folders in dataset_description.json)",
        ", ".join(map(str, codes)),
        "",
        caught == [True, True] and codes == [0] and not wrong,
    )


def _is_busy(work: Path, node: str) -> bool:
    """Whether a node has begun for a scan, and has no result yet."""
    folders = [path.parent for path in work.glob(f"**/{node}/_node.pklz")]
    return any(not any(folder.glob("result_*.pklz")) for folder in folders)


def _workers(run: Run) -> list[psutil.Process]:
    """Processes that do a step: those that the server of processes has forked."""
    family = run.family()
    return [process for process in family[1:] if process.ppid() != family[0].pid]
