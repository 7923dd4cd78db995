"""What a run costs before the work on images begins.

``python -m benchmarks.start --people 10000 [--wire 100] [-- OPTIONS]``: the command on a dataset of
as many people, until the first scan begins: seconds, processor seconds and the peak of memory. The
user's TemplateFlow home holds the place holders of all templates, as TemplateFlow makes them
itself. Then some scans of it are wired, and nipype runs nodes that do nothing, each in a process of
their own. OPTIONS go to the app.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec

from benchmarks.measure import Row, memory_mb, print_rows
from bidsapp_brainage.interfaces.base import StageInterface

FIRST_S, FIRST_GB = 10.0, 1.5
WIRE_GB = 2.0
_POLL_S = 0.02


def make_dataset(root: Path, people: int) -> None:
    """Write a raw dataset: one head of few voxels, by as many names, with sidecars and ages."""
    import nibabel as nib
    import numpy as np

    root.mkdir(parents=True)
    described = {"Name": "Many", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(described))
    image, facts = root / ".head.nii.gz", root / ".head.json"
    voxels = np.random.default_rng(0).integers(1, 200, (24, 24, 24)).astype(np.uint8)
    nib.save(nib.Nifti1Image(voxels, np.diag([8.0, 8, 8, 1])), image)
    facts.write_text(json.dumps({"MagneticFieldStrength": 3}))
    rows = ["participant_id\tage\tsex"]
    for number in range(1, people + 1):
        label = f"sub-{number:05d}"
        folder = root / label / "anat"
        folder.mkdir(parents=True)
        for source, ending in ((image, "T1w.nii.gz"), (facts, "T1w.json")):
            (folder / f"{label}_{ending}").hardlink_to(source)
        rows.append(f"{label}\t{20 + number % 60}\t{'FM'[number % 2]}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")


def make_templateflow(home: Path) -> None:
    """Write the place holders of all templates that TemplateFlow offers."""
    from templateflow.conf import load_data

    with zipfile.ZipFile(load_data("templateflow-skel.zip")) as skeleton:
        skeleton.extractall(home)


def until_first(folder: Path, options: Sequence[str]) -> list[Row]:
    """Seconds until the first node of a scan has a folder, and the peak of memory."""
    command = [sys.executable, "-m", "bidsapp_brainage", str(folder / "raw"), str(folder / "out")]
    command += ["participant", "--skip-bids-validation", "-w", str(folder / "work"), *options]
    begin = time.monotonic()
    environment = {**os.environ, "TEMPLATEFLOW_HOME": str(folder / "templateflow")}
    log = folder / "log.txt"
    with log.open("w") as told:
        process = subprocess.Popen(command, env=environment, stderr=told)
        work = folder / "work" / "bidsapp_brainage_wf"
        while process.poll() is None and not any(work.glob("sub_*_wf")):
            time.sleep(_POLL_S)
        seconds = time.monotonic() - begin
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        watched = psutil.Process(process.pid)
        times, peak = watched.cpu_times(), memory_mb("VmHWM", process.pid) / 1000
        process.terminate()
        process.wait()
    return [
        Row("until the first scan begins", seconds, "s", FIRST_S),
        Row("until the first scan begins, processor", times.user + times.system, "s"),
        Row("peak of memory until then", peak, "GB", FIRST_GB),
    ]


def wired(folder: Path, count: int) -> list[Row]:
    """Wire scans of a dataset as the app does, and flatten the graph as nipype does."""
    from nipype.pipeline.engine.utils import generate_expanded_graph

    from bidsapp_brainage.atlas.templates import prepare_home
    from bidsapp_brainage.bids.collect import collect_scans
    from bidsapp_brainage.running.execute import configure, run_environment
    from bidsapp_brainage.settings import build_settings
    from bidsapp_brainage.workflows.base import init_brainage_wf
    from bidsapp_brainage.workflows.plan import make_plan

    options = {"work_dir": folder / "work", "run_uuid": "x"}
    settings = build_settings(folder / "raw", folder / "out", ("participant",), options)
    marks = [time.process_time()]
    scans = collect_scans(settings.bids_dir, settings.selection)[0]
    marks.append(time.process_time())
    home = prepare_home(settings.execution.work_dir)
    with run_environment(settings, home):
        plan = make_plan(settings, home)
        marks.append(time.process_time())
        workflow = init_brainage_wf(scans[:count], plan)
        configure(workflow, scans[:count], output_dir=plan.output_dir, run_uuid=plan.run_uuid)
        generate_expanded_graph(workflow._create_flat_graph())
    marks.append(time.process_time())
    collect, prepare, wire = (end - start for start, end in pairwise(marks))
    return [
        Row(f"finding {len(scans)} scans and their ages, processor", collect, "s"),
        Row("finding model, template and atlas, processor", prepare, "s"),
        Row(f"wiring {count} scans, processor", wire, "s"),
        Row("wiring a scan, processor", wire / count, "s"),
        Row("peak of memory with so many", memory_mb("VmHWM") / 1000, "GB", WIRE_GB),
    ]


class _Passed(BaseInterfaceInputSpec):
    in_file = File(exists=True)


class _PassedOn(TraitedSpec):
    out_file = File(exists=True)


class _Pass(StageInterface):
    """A stage that does nothing: it hands on a link to its input."""

    input_spec = _Passed
    output_spec = _PassedOn

    def _run_interface(self, runtime: Any) -> Any:
        made = Path(self._file(runtime, "out.nii.gz"))
        made.hardlink_to(self.inputs.in_file)
        self._results["out_file"] = str(made)
        return runtime


def engine(folder: Path, nodes: int, own_process: bool) -> float:
    """Processor seconds of a node without work of its own, on an image of 10 MB."""
    from nipype.pipeline import engine as pe

    from bidsapp_brainage.running.execute import configure, run_workflow
    from bidsapp_brainage.running.monitor import Monitor
    from bidsapp_brainage.settings import Resources

    folder.mkdir()
    image = folder / "image.nii.gz"
    image.write_bytes(os.urandom(10_000_000))
    workflow = pe.Workflow("wf", base_dir=str(folder))
    for number in range(nodes):
        interface = _Pass(in_file=str(image))
        node = pe.Node(interface, name=f"n{number}", run_without_submitting=not own_process)
        workflow.add_nodes([node])
    configure(workflow, [], output_dir=folder / "out", run_uuid="x")
    begin = processor_seconds()
    run_workflow(workflow, Resources(nprocs=2), Monitor([]), memory_gb=4, log_level=50)
    return (processor_seconds() - begin) / nodes


def processor_seconds() -> float:
    """Of this process, of those that run, and of those that have ended."""
    me = psutil.Process()
    return sum(sum(each.cpu_times()[:4]) for each in (me, *me.children(recursive=True)))


def engine_rows(folder: Path, count: int = 24) -> list[Row]:
    """What nipype costs by itself: nodes in processes of their own, and in the run's process."""
    engine(folder / "first", 2, own_process=True)  # starts the process that all are forked from
    apart, inside = (engine(folder / str(own), count, own) for own in (True, False))
    return [
        Row("a node in a process of its own, without its work, processor", apart, "s"),
        Row("a node in the run's process, without its work, processor", inside, "s"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Make the dataset, start the app on it, wire, and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--wire", type=int, default=100, help="scans (0: none)")
    parser.add_argument("--dataset", type=Path, help="made before by this command, or made there")
    given = list(sys.argv[1:] if argv is None else argv)
    cut = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:cut])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset = (args.dataset or folder / "made").absolute()
        if not dataset.exists():
            make_dataset(dataset / "raw", args.people)
            make_templateflow(dataset / "templateflow")
        for name in ("raw", "templateflow"):
            (folder / name).symlink_to(dataset / name)
        rows = until_first(folder, given[cut + 1 :])
        if args.wire:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows += pool.submit(wired, folder, args.wire).result()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows += pool.submit(engine_rows, folder).result()
    print_rows(rows)


if __name__ == "__main__":
    main()
