"""A run of the participant level around the workflow: what is recorded and shown of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bidsapp_brainage.bids.collect import Wanted
from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.bids.run_records import read_runs
from bidsapp_brainage.running import execute, participant
from bidsapp_brainage.settings import build_settings
from bidsapp_brainage.workflows.base import init_brainage_wf
from bidsapp_brainage.workflows.scan import scan_workflow_name


def test_a_run_that_stops_early_is_recorded_and_shown(plan, scans, tmp_path, monkeypatch) -> None:
    """A step of the first scan failed, the second was not reached; a participant has no image."""
    told: dict[str, object] = {}

    def stop(workflow, resources, monitor, **_) -> None:
        (begun,) = read_runs(plan.output_dir)
        told["before"] = begun
        name = f"{workflow.name}.{scan_workflow_name(scans[0].label)}.anat_fit_wf.n4"
        stage = SimpleNamespace(stage="bias correction")
        monitor(SimpleNamespace(fullname=name, name="n4", interface=stage), "exception")
        folder = plan.output_dir / "sub-01" / "log" / plan.run_uuid
        folder.mkdir(parents=True, exist_ok=True)
        text = f"Node: {name}\nbidsapp_brainage.errors.DataError: no field was found\n\n"
        (folder / "crash-n4.txt").write_text(text)

    monkeypatch.setattr(execute, "run_workflow", stop)
    plan = replace(plan, run_uuid="20260101-000000_x")
    settings = build_settings(
        tmp_path / "bids",
        plan.output_dir,
        ("participant",),
        {"work_dir": plan.work_dir, "run_uuid": plan.run_uuid},
    )
    workflow = init_brainage_wf(scans, plan)
    run = participant.Run(
        settings, scans, plan, workflow, "Methods.", {}, tmp_path, ["sub-01: odd age"]
    )
    absent = participant._without_image(["99"], Wanted())
    assert participant._execute(run, absent, logging.CRITICAL) == 1
    assert told["before"].ended == ""
    assert list(told["before"].scans) == [scan.label for scan in scans]
    (whole,) = read_runs(plan.output_dir)
    assert whole.ended >= whole.started
    failures = {failed.scan: failed for failed in whole.failures}
    assert failures[scans[0].label].step == "bias correction"
    assert failures[scans[0].label].reason == "no field was found"
    assert "stopped before" in failures[scans[1].label].reason
    assert "No T1w image" in failures["sub-99"].reason
    page = (plan.output_dir / "sub-01.html").read_text()
    assert "sub-01: odd age" in page
    assert "no field was found" in page
    runs = (plan.output_dir / "runs.html").read_text()
    assert "bias correction" in runs
    assert "sub-99" in runs
    assert (plan.output_dir / "index.html").is_file()


def test_what_programs_keep_of_a_t1w_is_not_taken_for_another_image(scans, tmp_path) -> None:
    scan = scans[0]
    kept = output_path(tmp_path, "t1w_preproc", scan.entities)
    kept.parent.mkdir(parents=True)
    kept.touch()
    datasets = [("program", tmp_path)]
    assert participant._collected(scan, datasets, "MNI152NLin2009aSym").t1w == kept
    other = participant._collected(replace(scan, modality="T2w"), datasets, "MNI152NLin2009aSym")
    assert not other.is_used
    assert "this is a T2w" in other.note
    assert not participant._collected(replace(scan, modality="T2w"), [], "x").note


@pytest.fixture(autouse=True)
def few_scans(scans) -> None:
    """Two are enough."""
    del scans[2:]
