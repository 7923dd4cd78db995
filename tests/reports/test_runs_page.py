"""The page of all runs: what it adds up, what failed, and what nobody measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from markupsafe import escape

from bidsapp_brainage.bids.run_records import run_folder
from bidsapp_brainage.io import write_text
from bidsapp_brainage.reports.runs.page import SECTIONS, write_runs_page
from bidsapp_brainage.reports.runs.summary import summarise_runs
from tests.run_logs import write_run

WRITTEN = "2026-02-01T00:00:00Z"


def text_of(root: Path) -> str:
    page = write_runs_page(root, written=WRITTEN).read_text()
    body = page[page.index("<body>") : page.index("<script>")]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two participants in one run, then one of them again, who fails."""
    first = ("sub-01_ses-1", "sub-01_ses-2", "sub-02")
    write_run(tmp_path, 1, *first, subject="", EnergyJ=36000.0, MainProcessPeakMB=180.0)
    write_run(tmp_path, 1, *first[:2])
    write_run(tmp_path, 1, first[2], subject="02")
    facts = {"EnergyJ": None, "Processors": 4, "Versions": {"torch": "2.13.0"}}
    write_run(tmp_path, 2, "sub-02", subject="", failed="sub-02", **facts)
    write_run(tmp_path, 2, "sub-02", subject="02", failed="sub-02")
    return tmp_path


def test_runs_and_scans_are_added_up(logs: Path) -> None:
    summary = summarise_runs(logs)
    newest, first = summary.runs
    assert (newest.wall_s, newest.cpu_s, newest.peak_mb) == (1800.0, 1.0, 200.0)
    assert (first.cpu_s, first.peak_mb, first.energy_j) == (3.0, 180.0, 36000.0)
    assert first.together_mb == 300.0  # three stages of 100 MB that end together
    assert newest.energy_j is None
    assert {scan: run.wall_s for scan, run in summary.scans.items()} == {
        "sub-01_ses-1": 11.5, "sub-01_ses-2": 11.5, "sub-02": 12.5
    }  # fmt: skip
    assert [failed.scan for _, failed in summary.failures] == ["sub-02"]
    assert len(summary.stages) == 6


def test_the_page_tells_how_long_what_failed_and_what_was_not_measured(logs: Path) -> None:
    (logs / "sub-02.html").touch()
    text = text_of(logs)
    assert "page written 2026-02-01 00:00 UTC" in text
    assert "Took 30 min participant, 4 processors" in text
    assert "Complete 0 of 1 scans 1 failed" in text
    assert "Energy not measured" in text
    assert "10.0 Wh" in text
    assert "One scan took 12 s median; longest 12 s" in text
    assert "sub-02 conform no image" in text
    assert "torch 2.13.0" in text
    assert '<a href="sub-02.html">sub-02</a>' in write_runs_page(logs).read_text()


def test_logs_of_an_older_app_give_what_they_have(logs: Path) -> None:
    for path in logs.rglob("participant.json"):
        path.unlink()
    newest, first = summarise_runs(logs).runs
    assert (len(newest.record.scans), len(first.record.scans)) == (1, 3)
    assert (newest.wall_s, newest.energy_j) == (None, None)
    text = text_of(logs)
    assert "not recorded" in text
    assert "Took n/a" in text
    assert "Nothing that is recorded failed." in text


def test_a_run_without_an_end_and_participants_without_a_scan(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "sub-01", subject="", Ended="", failed="sub-99")
    write_run(tmp_path, 1, "sub-01")
    text = text_of(tmp_path)
    assert "sub-99 conform" in text
    write_run(tmp_path, 1, "sub-01", subject="", Ended="")
    assert "The newest run broke off, or is not done yet" in text_of(tmp_path)


def test_without_any_log(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    assert "There are no records of runs in this folder." in text
    page = write_runs_page(tmp_path).read_text()
    assert all(f'<section class="card" id="{name}"' in page for name, _ in SECTIONS)


def test_free_text_is_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    failures = [{"Scan": f"{evil}scan", "Step": f"{evil}step", "Reason": f"{evil}reason"}]
    versions = {f"{evil}library": f"{evil}version"}
    told = {"Failures": failures, "Warnings": [f"{evil}warning"], "Versions": versions}
    for subject in ("", "01"):
        write_run(tmp_path, 1, f"sub-01{evil}", subject=subject, **told)
    settings = run_folder(tmp_path, "20260101-010000_x") / "app.toml"
    run = {"app_version": f"{evil}app", "command_line": f"{evil}command"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in run.items()]
    write_text(settings, "\n".join(["[run]", *lines, 'analysis_level = ["participant"]']))
    page = write_runs_page(tmp_path).read_text()
    assert "<img" not in page
    words = "scan", "step", "reason", "library", "version", "warning", "app", "command"
    escaped = str(escape(evil))
    assert [word for word in words if f"{escaped}{word}" not in page] == []


def test_a_clock_that_went_back_gives_no_duration(tmp_path: Path) -> None:
    write_run(tmp_path, 3, "sub-01", subject="", Ended="2026-01-01T02:10:00Z")
    write_run(tmp_path, 3, "sub-01", Ended="2026-01-01T02:10:00Z")
    (run,) = summarise_runs(tmp_path).runs
    assert run.wall_s is None
