"""Measurements that need a process of their own: peak memory, and another malloc.

``python -m benchmarks.child WHAT FOLDER [REPEATS]`` with the case of a folder; prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace

from . import rivals
from .cases import Case, labels_of
from .measure import Work, memory_mb, paired_seconds


def ask(what: str, folder: Path, repeats: int = 1, **environment: str) -> dict[str, float]:
    """Measure something in a child process and return what it prints."""
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", what, str(folder), str(repeats)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(completed.stdout)


def timed_works(case: Case) -> dict[str, Work]:
    """Forward passes, and the engine on both parcellations with its full pass included."""
    network, volume = trace(case.network, tuple(case.input.shape[1:])), case.input[0]
    plans = {
        name: OcclusionPlan.from_labels(network, labels, labels_of(labels)).build()
        for name, labels in (("regions", case.regions), ("shells", case.shells))
    }
    return {
        "plain": rivals.plain(case),
        "tuned": rivals.tuned(case),
        "regions": lambda: Run(plans["regions"], network, volume).occlude(0.0),
        "shells": lambda: Run(plans["shells"], network, volume).occlude(0.0),
    }


def _peak(work: Work) -> dict[str, float]:
    """Memory that work adds to what the process held before, in MB."""
    before = memory_mb("VmRSS")
    work()
    return {"mb": memory_mb("VmHWM") - before}


def _plan_and_run(case: Case) -> object:
    network = trace(case.network, tuple(case.input.shape[1:]))
    plan = OcclusionPlan.from_labels(network, case.regions, labels_of(case.regions))
    return Run(plan, network, case.input[0]).occlude(0.0)


def main() -> None:
    """Answer one question."""
    what, folder, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    case = Case.load(folder)
    if what == "times":
        measured = paired_seconds(timed_works(case), repeats)
    elif what == "peak_plain":
        measured = _peak(rivals.plain(case))
    else:
        measured = _peak(lambda: _plan_and_run(case))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
