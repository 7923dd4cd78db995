"""Finished predictions explained again: what is written, kept, refused and told."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.bids.run_records import read_runs
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.running.dry_run import list_work
from bidsapp_brainage.running.participant import run_participant
from bidsapp_brainage.settings import Settings, build_settings
from tests.finished import TEMPLATE, Entities, path_of, write_atlas, write_finished
from tests.model.tiny import make_card

ONE: Entities = (("sub", "01"), ("ses", "a"))
TWO: Entities = (("sub", "01"), ("ses", "b"))
THREE: Entities = (("sub", "02"),)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return make_card(tmp_path_factory.mktemp("models"), members=1)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One work folder for all tests, because TemplateFlow takes long to look at its templates."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def settings(tmp_path: Path, work: Path, card: ModelCard) -> Settings:
    write_finished(tmp_path / "out", card, ONE, TWO, THREE)
    options = {
        "work_dir": work,
        "model": "tiny",
        "models_dir": card.folder,
        "atlas": str(write_atlas(tmp_path, card)),
        "occlusion_baseline": ("background",),
        "null_parcels": 2,
        "explain_only": True,
        "nprocs": 2,
        "device": "cpu",
        "run_uuid": "run1",
    }
    return build_settings(tmp_path / "nowhere", tmp_path / "out", ("participant",), options)


def changed(settings: Settings, **processing: object) -> Settings:
    return replace(settings, processing=replace(settings.processing, **processing))


def table_of(settings: Settings, key: str, entities: Entities) -> Path:
    labels = {"space": TEMPLATE, "atlas": "Quarters", "scale": "4"}
    return output_path(settings.output_dir, key, entities, model="tiny", **labels)


def told(path: Path) -> dict:
    return json.loads(sidecar_path(path).read_text())


def run(settings: Settings, caplog: pytest.LogCaptureFixture) -> tuple[int, str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "bidsapp_brainage"):
        code = run_participant(settings, logging.CRITICAL)
    return code, "\n".join(record.getMessage() for record in caplog.records)


def test_explained_then_kept_then_explained_by_other_choices(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    out = settings.output_dir
    code, log = run(changed(settings, occlusion_baseline=("background", "mean")), caplog)
    assert code == 0, log
    assert "scans per hour" in log
    assert "3 of 3 scans are explained." in log
    rows = io.read_tsv(table_of(settings, "table", ONE))
    assert rows["name"].tolist() == ["back left", "back right", "front left", "front right"]
    assert np.isfinite(rows["delta_age"]).all()
    predicted = io.read_tsv(path_of(out, "brainage", ONE))["predicted_age"].iloc[0]
    facts = told(table_of(settings, "table", ONE))
    assert facts["PredictedAge"] == predicted
    assert facts["Explanation"]["Baselines"] == ["background", "mean"]
    assert facts["BiasCorrection"] == "model"
    assert {"desc_id"} <= set(io.read_tsv(out / "descriptions.tsv"))
    assert "replaced, one at a time, by" in (out / "logs/CITATION.md").read_text()
    assert (out / "sub-01/figures").is_dir()
    assert {path.name for path in out.glob("sub-*.html")} == {"sub-01.html", "sub-02.html"}
    kept = {"app.toml", "participant.json", "timings.tsv"}
    assert {path.name for path in out.glob("sub-01/log/run1/*")} == kept
    (record,) = read_runs(out, "01")
    assert record.explain_only
    assert record.scans == ("sub-01_ses-a", "sub-01_ses-b")
    assert record.ended >= record.started > "2026"
    assert not list((settings.execution.work_dir / "bidsapp_brainage_wf").glob("explain_only/*/*"))

    files = [path for path in out.rglob("*") if path.is_file() and path.parent.name != "run1"]
    for name in ("index.html", "runs.html"):  # tell of every run, with a date
        files.remove(out / name)
    before = {path: path.stat().st_mtime_ns for path in [*files, *out.glob("sub-*/log/run1/*")]}
    code, log = run(changed(settings, occlusion_baseline=("background", "mean")), caplog)
    assert (code, log.count("explained by these choices before")) == (0, 3)
    assert {path: path.stat().st_mtime_ns for path in before} == before

    assert table_of(settings, "agreement", ONE).is_file()
    code, log = run(settings, caplog)
    assert code == 0, log
    assert "removed, because other choices made them" in log
    assert not table_of(settings, "agreement", ONE).is_file()
    assert told(table_of(settings, "table", ONE))["Explanation"]["Baselines"] == ["background"]
    entries = json.loads((out / "dataset_description.json").read_text())["GeneratedBy"]
    assert [entry["ConfigurationHash"] for entry in entries][0] == "0123abcd"
    assert len(entries) == 3


def test_scans_that_cannot_be_explained_do_not_stop_the_others(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    out = settings.output_dir
    gone = path_of(out, "input_mask", ONE)
    gone.unlink()
    table = path_of(out, "brainage", TWO)
    io.write_tsv(table, io.read_tsv(table).assign(predicted_age=12.0))
    code, log = run(settings, caplog)
    assert code == 1
    assert "1 of 3 scans are explained." in log
    failed = log[log.index("Not explained:") :]
    assert f"{gone.name} is missing" in failed
    assert "the table says 12.00. They do not belong together" in failed
    assert failed.count("sub-01_ses-b") == 2  # the scan, and its file in the reason
    (whole,) = read_runs(out)
    assert {each.scan for each in whole.failures} == {"sub-01_ses-a", "sub-01_ses-b"}
    assert table_of(settings, "table", THREE).is_file()
    assert not table_of(settings, "table", TWO).is_file()
    assert "do not belong together" in (out / "sub-01.html").read_text()
    assert "sub-02" not in failed


def test_dry_run_says_what_is_done_and_what_cannot_be(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    path_of(settings.output_dir, "input_mask", ONE).unlink()
    before = sorted(settings.output_dir.parent.rglob("*"))
    assert list_work(settings, "participant") == 1
    text = capsys.readouterr().out
    assert "2 predictions of model tiny would be explained with atlas Quarters" in text
    assert "sub-01_ses-a\tn/a\tno\tsub-01_ses-a_space-" in text
    assert "sub-02\t" in text
    assert sorted(settings.output_dir.parent.rglob("*")) == before
