"""Records of runs: what is read from log folders of this version and of older ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.bids.run_records import (
    Failed,
    logged_subjects,
    newest,
    read_runs,
    scan_runs,
)
from tests.run_logs import write_run


def test_everything_that_a_run_wrote(tmp_path: Path) -> None:
    run_uuid = write_run(tmp_path, 1, "sub-01", failed="sub-01")
    (run,) = read_runs(tmp_path, "01")
    assert (run.run_uuid, run.command_line, run.version) == (run_uuid, "app 1", "0.1")
    assert (run.started, run.ended) == ("2026-01-01T01:00:00Z", "2026-01-01T01:30:00Z")
    assert run.failures == (Failed("sub-01", "conform", "no image"),)
    assert [stage.stage for stage in run.stages] == ["conform", "prediction"]
    assert read_runs(tmp_path, "01", level="group") == []
    assert read_runs(tmp_path, "02") == read_runs(tmp_path) == []
    assert logged_subjects(tmp_path) == ["01"]


def test_an_older_log_folder_tells_what_it_can(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "sub-01")
    (run,) = read_runs(tmp_path, "01")
    (run.folder / "participant.json").unlink()
    (old,) = read_runs(tmp_path, "01")
    assert (old.command_line, old.scans) == ("app 1", ("sub-01",))
    assert (old.started, old.ended) == ("2026-01-01T01:00:00", "")
    for path in run.folder.iterdir():
        path.write_text("[broken")
    assert read_runs(tmp_path, "01") == []


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([("ab", False)], {1: "ab"}),
        ([("ab", False), ("ab", False)], {2: "ab"}),
        ([("ab", False), ("b", False)], {1: "a", 2: "b"}),
        ([("ab", False), ("ab", True)], {1: "ab", 2: "ab"}),
        ([("ab", False), ("a", True), ("ab", True)], {1: "ab", 3: "ab"}),
        ([("ab", True), ("ab", False)], {2: "ab"}),
        ([("ab", False), ("a", True), ("a", False)], {1: "b", 3: "a"}),
        ([("", False)], {1: ""}),
    ],
)
def test_newest_run_of_each_scan(
    tmp_path: Path, runs: list[tuple[str, bool]], told: dict[int, str]
) -> None:
    for number, (scans, explain_only) in enumerate(runs, start=1):
        write_run(tmp_path, number, *scans, explain_only=explain_only)
    found = newest(read_runs(tmp_path, "01"))
    assert {int(run.version[2:]): "".join(sorted(scans)) for run, scans in found} == told


def test_what_a_scan_cost_and_where_it_failed(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "a", "b", failed="b")
    write_run(tmp_path, 2, "a", explain_only=True, failed="a")
    found = scan_runs(read_runs(tmp_path, "01"))
    assert found["a"].wall_s == pytest.approx(11.5)
    assert found["a"].peak_rss_mb == 100
    assert [failed.scan for failed in found["a"].failures] == ["a"]
    assert [failed.scan for failed in found["b"].failures] == ["b"]
