"""Options of running nodes: samples of resources, pickled crash files, the debugger, carbon."""

from __future__ import annotations

import pdb  # noqa: T100
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, traits
from nipype.pipeline import engine as pe

from bidsapp_brainage import io
from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.bids.run_records import read_runs
from bidsapp_brainage.errors import MissingExecutableError
from bidsapp_brainage.interfaces.base import StageInterface
from bidsapp_brainage.running.execute import configure, run_to_debug, run_workflow, unpickle_crashes
from bidsapp_brainage.running.monitor import Monitor
from bidsapp_brainage.running.outcome import read_crashes
from bidsapp_brainage.running.participant import batches
from bidsapp_brainage.running.recording.recorder import Recorder
from bidsapp_brainage.settings import Resources, build_settings
from bidsapp_brainage.workflows.scan import scan_workflow_name


class _In(BaseInterfaceInputSpec):
    fails = traits.Bool(False, usedefault=True)
    seconds = traits.Float(0.0, usedefault=True)


class _Out(TraitedSpec):
    done = traits.Bool()


class Work(StageInterface):
    """A while of work, or a failure."""

    input_spec = _In
    output_spec = _Out
    stage = "work"

    def _run_interface(self, runtime):
        import time

        blocks = [b"x" * 10_000_000 for _ in range(5)]
        time.sleep(self.inputs.seconds)
        if self.inputs.fails:
            raise ValueError("this broke")
        self._results["done"] = len(blocks) > 0
        return runtime


def scan_of(subject: str) -> Scan:
    return Scan(Path(f"sub-{subject}_T1w.nii.gz"), (("sub", subject),), Age(30.0, "n/a"))


@pytest.fixture
def scan() -> Scan:
    return scan_of("01")


def workflow_of(scan: Scan, folder: Path, **inputs: object) -> pe.Workflow:
    inner = pe.Workflow(scan_workflow_name(scan.label))
    inner.add_nodes([pe.Node(Work(**inputs), name="work")])
    workflow = pe.Workflow("wf", base_dir=str(folder / "work"))
    workflow.add_nodes([inner])
    return workflow


@pytest.mark.parametrize("sampled", [True, False])
def test_stages_are_sampled_when_asked(tmp_path, scan, sampled) -> None:
    workflow, output = workflow_of(scan, tmp_path, seconds=2.5 * sampled), tmp_path / "out"
    configure(workflow, [scan], output_dir=output, run_uuid="x")
    monitor = Monitor([scan], sampled=sampled)
    run_workflow(workflow, Resources(nprocs=1), monitor, memory_gb=2, log_level=50)
    monitor.write_timings(output, "01", "x")
    written = output / "sub-01" / "log" / "x" / "resources.tsv"
    assert written.is_file() is sampled
    assert not [*Path().glob(".proc-*"), *tmp_path.rglob(".proc-*"), *tmp_path.rglob(".samples-*")]
    assert written.with_name("timings.tsv").is_file()
    if sampled:
        table = io.read_tsv(written)
        assert set(table["stage"]) == {"work"}
        assert table["seconds"].iloc[0] == 0
        assert table["rss_mb"].max() - table["rss_mb"].min() > 40
        assert list(table.columns) == ["scan", "stage", "node", "seconds", "processors", "rss_mb"]


def test_pickled_crashes_stay_in_the_work_folder_and_are_told_as_text(tmp_path, scan) -> None:
    workflow, output, pickles = (
        workflow_of(scan, tmp_path, fails=True),
        tmp_path / "out",
        tmp_path / "pickles",
    )
    configure(workflow, [scan], output_dir=output, run_uuid="x", pickles=pickles)
    monitor = Monitor([scan])
    run_workflow(workflow, Resources(nprocs=1), monitor, memory_gb=2, log_level=50)
    assert len(list(pickles.glob("crash-*.pklz"))) == 1
    assert not output.exists()
    unpickle_crashes(pickles, output, "x", monitor)
    folder = output / "sub-01" / "log" / "x"
    (crash,) = read_crashes(folder, {str(tmp_path): "<work_dir>"})
    assert "this broke" in crash.reason
    assert str(tmp_path) not in crash.path.read_text()
    assert [path.suffix for path in folder.iterdir()] == [".txt"]
    unpickle_crashes(pickles, output, "x", Monitor([scan_of("02")], first=2, total=2))
    assert not (output / "logs").exists(), "the next batch takes it for a crash of what all share"


def test_the_debugger_opens_where_the_first_node_failed(tmp_path, scan, monkeypatch) -> None:
    places = []

    def post_mortem(traceback) -> None:
        while traceback.tb_next:
            traceback = traceback.tb_next
        places.append(traceback.tb_frame)

    monkeypatch.setattr(pdb, "post_mortem", post_mortem)
    workflow = workflow_of(scan, tmp_path, fails=True)
    configure(workflow, [scan], output_dir=tmp_path / "out", run_uuid="x")
    monitor = Monitor([scan])
    run_to_debug(workflow, monitor)
    (frame,) = places
    assert frame.f_code.co_name == "_run_interface"
    assert len(frame.f_locals["blocks"]) == 5
    assert list(monitor.failed.values()) == ["work"]


@pytest.mark.parametrize("n_scans", [1, 150])
def test_runs_of_usual_size_are_one_batch(n_scans) -> None:
    scans = [scan_of(f"{number:03}") for number in range(n_scans)]
    assert list(batches(scans, 2)) == [(1, scans)]


def test_the_first_of_many_batches_is_small_and_people_stay_together() -> None:
    scans = [scan_of(f"{number // 3:04}") for number in range(1000)]
    found = list(batches(scans, 2))
    assert [scan for _, batch in found for scan in batch] == scans
    assert [first for first, _ in found[:3]] == [1, 13, 115]
    assert len(found) == 11
    for (_, before), (_, after) in zip(found, found[1:], strict=False):
        assert before[-1].subject != after[0].subject


def test_later_batches_count_on_and_leave_out_what_all_share(caplog, scan) -> None:
    caplog.set_level("INFO")
    monitor = Monitor([scan], first=11, total=20)
    name = f"wf.{scan_workflow_name(scan.label)}.work"
    for fullname in (name, "wf.atlas_wf.match"):
        interface = SimpleNamespace(stage="work")
        node = SimpleNamespace(fullname=fullname, interface=interface, output_dir=lambda: "none")
        monitor(node, "end")
    assert caplog.messages == ["[11/20] sub-01: work done (done)"]
    assert monitor.finished == {name, "wf.atlas_wf.match"}


class _Tracker:
    """CodeCarbon's, as far as it is used."""

    made: dict[str, object]

    def __init__(self, **options: object) -> None:
        type(self).made = options
        self.final_emissions_data = SimpleNamespace(energy_consumed=0.01234, codecarbon_version="3")

    def start(self) -> None: ...

    def stop(self) -> float:
        return 0.004567


def test_carbon_is_recorded_with_country_and_without_network(tmp_path, monkeypatch) -> None:
    library = ModuleType("codecarbon")
    library.OfflineEmissionsTracker = _Tracker
    monkeypatch.setitem(sys.modules, "codecarbon", library)
    options = {"work_dir": tmp_path, "track_carbon": True, "country_code": "DEU", "run_uuid": "x"}
    recorder = Recorder(build_settings(tmp_path, tmp_path / "o", ("group",), options), "group")
    recorder.finish([])
    (run,) = read_runs(tmp_path / "o", level="group")
    assert run.facts["Emissions"] == {
        "CO2Kg": 0.00457,
        "EnergyKWh": 0.0123,
        "CountryCode": "DEU",
        "Software": "codecarbon 3",
    }
    assert _Tracker.made["country_iso_code"] == "DEU"
    assert _Tracker.made["save_to_file"] is False


def test_without_codecarbon_the_remedy_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    options = {"work_dir": tmp_path, "track_carbon": True, "country_code": "DEU"}
    with pytest.raises(MissingExecutableError, match=r"bidsapp-brainage\[carbon\]"):
        Recorder(build_settings(tmp_path, tmp_path / "o", ("group",), options), "group")
