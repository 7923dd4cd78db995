"""Stages of a finished run once more, with the code of several checkouts in turns.

``python -m benchmarks.again WORK_DIR CHECKOUT CHECKOUT... --stages "brain mask,segmentation"``:
every stage of the scans in a work folder (``participant -w WORK_DIR``) computes again from the
inputs that it had, in a process of its own that has imported what children of the app have. The
checkouts take turns, so that what else the machine does slows all of them. Prints processor seconds
(medians over scans and repeats), the ratio of the last checkout to the first, and MB of the largest
process. The work folder must lie where it was made.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from nipype.utils.filemanip import loadpkl


def main() -> None:
    """Print one row per stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("checkouts", type=Path, nargs="+")
    parser.add_argument("--stages", default="", help="names, with commas; default: all")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    wanted = [name for name in args.stages.split(",") if name]
    rows = []
    paths = sorted(args.work_dir.glob("bidsapp_brainage_wf/sub_*_wf/**/_node.pklz"))
    stages = {path: getattr(loadpkl(str(path)).interface, "stage", "") for path in paths}
    nodes = [path for path, stage in stages.items() if stage and stage in (wanted or [stage])]
    for node in nodes * args.repeats:
        for checkout in args.checkouts:
            rows.append({"stage": stages[node], "code": checkout.name, **_child(node, checkout)})
    table = pd.DataFrame(rows).groupby(["stage", "code"], sort=False)
    seconds, memory = table["cpu_s"].median().unstack(), table["peak_rss_mb"].max().unstack()
    first, last = (checkout.name for checkout in (args.checkouts[0], args.checkouts[-1]))
    seconds["ratio"] = seconds[last] / seconds[first]
    print(seconds.round(2).join(memory.add_suffix(", MB").round(0)).to_string())
    print(f"\nall: {seconds[first].sum():.1f} and {seconds[last].sum():.1f} s")


def _child(node: Path, checkout: Path) -> dict[str, float]:
    """What a node costs in a process with the code of a checkout."""
    from bidsapp_brainage.running.execute import KEEP_MEMORY

    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    settings = {"PYTHONPATH": str(checkout.resolve()), "GLIBC_TUNABLES": KEEP_MEMORY, "NO_ET": "1"}
    command = "import runpy, sys; runpy.run_path(sys.argv[1])['run'](*sys.argv[2:])"
    done = subprocess.run(
        [sys.executable, "-c", command, __file__, str(node)],
        cwd=checkout,
        env=os.environ | dict.fromkeys(threads, "1") | settings,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(node: str) -> None:
    """Run the interface of a pickled node in a new folder, and print what it took as JSON."""
    from bidsapp_brainage.interfaces.metering import read_timing
    from bidsapp_brainage.running.processes import children

    for name in children._PRELOAD:
        importlib.import_module(name)
    loaded = loadpkl(node)
    loaded.base_dir = str(Path(node).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        loaded.interface.run(cwd=folder)
        print(json.dumps(read_timing(Path(folder))))


if __name__ == "__main__":
    main()
