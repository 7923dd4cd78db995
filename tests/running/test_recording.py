"""What a run keeps about itself, and the pages that are made from it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bidsapp_brainage.bids.input.messages import ManyScans
from bidsapp_brainage.bids.run_records import Failed, read_runs
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.io import write_text
from bidsapp_brainage.running import pages
from bidsapp_brainage.running.outcome import Failure
from bidsapp_brainage.running.pages import rewrite_pages
from bidsapp_brainage.running.processes.workers import Done, Job, Workers
from bidsapp_brainage.running.recording.energy import EnergyMeter
from bidsapp_brainage.running.recording.recorder import Recorder
from bidsapp_brainage.settings import Settings, build_settings
from tests.reports.synthetic import Person, write_person

SCANS = {"01": ["sub-01_ses-1"], "02": ["sub-02"]}
CRASH = "Node: bidsapp_brainage_wf.sub_01_ses_1_wf.conform\nbidsapp_brainage.errors.DataError: {}\n"


def settings(root: Path, *, run: str = "run1", **options: object) -> Settings:
    given = {"work_dir": root / "work", "run_uuid": run, **options}
    return build_settings(root / "bids", root / "out", ("participant",), given)


def count(root: Path, **domains: int) -> None:
    """Write counters as the kernel shows them."""
    for number, (name, value) in enumerate(domains.items()):
        folder = root / f"intel-rapl:{number}"
        write_text(folder / "name", name.replace("_", "-") + "\n")
        write_text(folder / "energy_uj", f"{value}\n")
        write_text(folder / "max_energy_range_uj", "10000000\n")


def test_energy_of_packages_and_memory_through_a_restart_of_the_counters(tmp_path: Path) -> None:
    count(tmp_path, package_0=9_000_000, dram=0, core=0)
    meter = EnergyMeter(tmp_path)
    count(tmp_path, package_0=1_000_000, dram=500_000, core=7_000_000)
    meter.sample()
    count(tmp_path, package_0=4_000_000, dram=500_000, core=9_000_000)
    assert meter.joules() == pytest.approx(5.5)


def test_energy_that_nobody_may_read_is_not_known(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).joules() is None


def test_a_run_tells_each_participant_only_of_themselves(tmp_path: Path) -> None:
    recorder = Recorder(settings(tmp_path), "participant")
    recorder.start_all(SCANS)
    out = tmp_path / "out"
    (begun,) = read_runs(out, "01")
    assert (begun.scans, begun.ended) == (("sub-01_ses-1",), "")
    failures = [
        Failure("sub-02", "conform", "empty", "DataError"),
        Failure("sub-99", "input", "no image"),
    ]
    recorder.finish_all(SCANS, failures, ["sub-01_ses-1: no age", "sub-012: no age", "x"])
    first, second, whole = (read_runs(out, subject)[0] for subject in ("01", "02", ""))
    assert (first.failures, first.warnings) == ((), ("sub-01_ses-1: no age",))
    assert second.failures == (Failed("sub-02", "conform", "empty", "DataError"),)
    assert [failed.scan for failed in whole.failures] == ["sub-02", "sub-99"]
    assert len(whole.warnings) == 3
    assert whole.scans == ("sub-01_ses-1", "sub-02")
    assert whole.ended >= whole.started
    assert "EnergyJ" in whole.facts
    assert "EnergyJ" not in first.facts
    versions = first.facts["Versions"]
    assert isinstance(versions, Mapping)
    assert {"bidsapp_brainage", "torch"} <= set(versions)


def test_a_warning_about_many_names_each_participant_alone(tmp_path: Path) -> None:
    """Also those who are not among the first, which the whole run's text names."""
    labels = [f"sub-{number:03d}" for number in range(1, 101)]
    warning = ManyScans("No age for {scans}: no gap.", labels)
    recorder = Recorder(settings(tmp_path), "participant")
    recorder.finish_all({label[4:]: [label] for label in labels}, warnings=[warning])
    out = tmp_path / "out"
    (last,), (whole,) = read_runs(out, "100"), read_runs(out, "")
    assert last.warnings == ("No age for sub-100: no gap.",)
    assert whole.warnings[0].endswith("sub-030 ... (100 in all): no gap.")


def test_pages_made_again_tell_of_the_run_that_computed(tmp_path: Path) -> None:
    """Also of a participant who failed before there was anything to show."""
    first = settings(tmp_path, run="20260101-000000_first")
    recorder = Recorder(first, "participant")
    recorder.start_all(SCANS)
    log = tmp_path / "out" / "sub-01" / "log" / "20260101-000000_first"
    write_text(log / "crash-1.txt", CRASH.format("sub-01 is empty"))
    failure = Failure("sub-01_ses-1", "conform", "sub-01 is empty")
    other = Failure("sub-02", "input", "stopped early")
    recorder.finish_all(SCANS, [failure, other], ["sub-01: age of another unit"])
    again = settings(tmp_path, run="20260202-000000_again", reports_only=True)
    assert rewrite_pages(again) == 0
    page, second = ((tmp_path / "out" / f"sub-0{n}.html").read_text() for n in (1, 2))
    assert page.count("sub-01 is empty") >= 2  # title and text of the crash
    assert "sub-01: age of another unit" in page
    assert "stopped early" in second
    assert "sub-01" not in second
    for text in (page, second):
        assert "20260101-000000_first" in text
        assert "20260202-000000_again" not in text
        assert "page written 20" in text
    runs = (tmp_path / "out" / "runs.html").read_text()
    assert "sub-01 is empty" in runs
    assert "stopped early" in runs
    assert "sub-01: age of another unit" in runs


def test_the_room_for_viewers_can_be_chosen(tmp_path: Path) -> None:
    write_person(tmp_path / "out", Person(explain=False))
    page = tmp_path / "out" / "sub-01.html"
    for room, there in ((3.5, True), (0.0, False)):
        rewrite_pages(settings(tmp_path, reports_only=True, viewer_mb=room))
        assert ("data-volume=" in page.read_text("utf-8")) == there


def test_errors_of_a_scan_stay_until_that_scan_is_processed_again(tmp_path: Path) -> None:
    for run, scan in (("20260101-000000_a", "1"), ("20260102-000000_b", "2")):
        recorder = Recorder(settings(tmp_path, run=run), "participant")
        recorder.start_all({"01": [f"sub-01_ses-{scan}"]})
        failure = Failure(f"sub-01_ses-{scan}", "conform", f"session {scan} is empty")
        recorder.finish_all({"01": [f"sub-01_ses-{scan}"]}, [failure])
    assert rewrite_pages(settings(tmp_path, reports_only=True)) == 0
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert "session 1 is empty" in page
    assert "session 2 is empty" in page
    recorder = Recorder(settings(tmp_path, run="20260103-000000_c"), "participant")
    recorder.start_all({"01": ["sub-01_ses-1"]})
    recorder.finish_all({"01": ["sub-01_ses-1"]})
    rewrite_pages(settings(tmp_path, reports_only=True))
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert "session 1 is empty" not in page
    assert "session 2 is empty" in page


def test_a_run_that_broke_off_is_told(tmp_path: Path) -> None:
    Recorder(settings(tmp_path), "participant").start_all(SCANS)
    rewrite_pages(settings(tmp_path, reports_only=True))
    page = (tmp_path / "out" / "sub-02.html").read_text()
    assert "The run run1 broke off, or is not done yet" in page


def test_wanted_participants_of_whom_there_is_nothing(tmp_path: Path, caplog) -> None:
    wanted = ("01", "77")
    with pytest.raises(NoInputError, match="no predictions"):
        rewrite_pages(settings(tmp_path, reports_only=True, participant_label=wanted))
    Recorder(settings(tmp_path), "participant").start_all(SCANS)
    code = rewrite_pages(settings(tmp_path, reports_only=True, participant_label=wanted))
    assert code == 1
    assert "sub-77: no run has left anything" in caplog.text
    assert [path.name for path in (tmp_path / "out").glob("sub-*.html")] == ["sub-01.html"]


def test_pages_of_many_are_written_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages, "_FOR_A_PROCESS", 1)
    people = {f"{number:02d}": [f"sub-{number:02d}"] for number in range(1, 4)}
    Recorder(settings(tmp_path), "participant").start_all(people)
    chosen = settings(tmp_path, reports_only=True, nprocs=2)
    with caplog.at_level(logging.INFO):
        assert pages.write_all_pages(chosen, list(people), "", logging.WARNING) == 0
    found = {path.name for path in (tmp_path / "out").glob("sub-*.html")}
    assert found == {f"sub-{label}.html" for label in people}
    assert {f"sub-{label}: report sub-{label}.html" for label in people} <= set(caplog.messages)


@pytest.mark.parametrize(
    ("error", "expected"), [("No space left on device", OSError), ("killed", None)]
)
def test_a_process_that_could_not_write_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, expected: type[Exception] | None
) -> None:
    class Broken(Workers):
        def run(self, jobs: deque[Job]) -> Iterator[Done]:
            for job in jobs:
                yield Done(job, error=error)

    monkeypatch.setattr(pages, "Workers", Broken)
    chosen = settings(tmp_path, nprocs=2)
    labels = [f"{number:02d}" for number in range(8)]
    if expected is None:
        assert pages.write_all_pages(chosen, labels, "", logging.WARNING) == 4
    else:
        with pytest.raises(expected, match=error):
            pages.write_all_pages(chosen, labels, "", logging.WARNING)
