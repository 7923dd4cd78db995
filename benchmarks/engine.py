"""What nipype costs beside the work on images, in a run of the app.

``python -m benchmarks.engine BIDS_DIR [-- OPTIONS]``: the participant level on a dataset, with
OPTIONS. Of the processor seconds of all its processes while nodes run, those that the nodes did not
measure as their own work are nipype's: waiting, hashes, folders and results of nodes, processes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, print_rows
from benchmarks.start import processor_seconds
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.cli.run import main as run_app
from bidsapp_brainage.interfaces.metering import TIMING_FILE, read_timing
from bidsapp_brainage.running import execute
from bidsapp_brainage.running.processes.children import forkserver

OWN_S = 0.5
#: Nodes that tell again what `explain` has told.
_RETOLD = {method.key for method in METHODS}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the app and print what its nodes and nipype cost."""
    folder, *rest = list(sys.argv[1:] if argv is None else argv)
    options = [option for option in rest if option != "--"]
    rows: list[Row] = []
    inner = execute.run_workflow

    def measured(workflow: Any, *arguments: Any, **more: Any) -> None:
        # What all children share is loaded once in a run, however many scans it has.
        first = forkserver().Process(target=time.sleep, args=(0,))
        first.start()
        first.join()
        before, own = processor_seconds(), time.process_time()
        inner(workflow, *arguments, **more)
        total, own = processor_seconds() - before, time.process_time() - own
        rows.extend(_rows(Path(workflow.base_dir) / workflow.name, total, own))

    with tempfile.TemporaryDirectory() as scratch:
        execute.run_workflow = measured
        try:
            command = [folder, f"{scratch}/out", "participant", "-w", f"{scratch}/work", *options]
            run_app(command)
        finally:
            execute.run_workflow = inner
    print_rows(rows)


def _rows(folder: Path, total: float, own: float) -> list[Row]:
    """By scan: nodes, their work, nipype's part, and how much of that the run's process does."""
    scans = len(list(folder.glob("sub_*_wf")))
    nodes = [path.parents[1] for path in folder.rglob(str(TIMING_FILE))]
    worked = sum(read_timing(node)["cpu_s"] or 0.0 for node in nodes if node.name not in _RETOLD)
    kept = sum(read_timing(node)["cpu_s"] or 0.0 for node in nodes if node.name.startswith("ds_"))
    return [
        Row("nodes of a scan", len(nodes) / scans, ""),
        Row("work of the nodes of a scan, processor", worked / scans, "s"),
        Row("nipype's own, of a scan, processor", (total - worked) / scans, "s", OWN_S),
        Row("of them in the run's process", (own - kept) / scans, "s"),
    ]


if __name__ == "__main__":
    main()
