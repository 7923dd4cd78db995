"""The table of what a scan needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import resources
from tests.run_logs import write_run


def test_a_row_sums_stages_and_takes_the_largest_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    write_run(out, 1, "sub-01")  # a later run counts instead
    write_run(out, 3, "sub-01")
    write_run(out, 4, "sub-02", subject="02")
    write_run(out, 5, "sub-02", subject="02", Ended=None)  # interrupted
    (out / "sub-01.html").write_bytes(b"x" * 9_000_000)
    work.mkdir()
    (work / "cache").write_bytes(b"x" * 4_000_000)
    (work / "link").symlink_to("cache")
    (work / "same").hardlink_to(work / "cache")
    monkeypatch.setattr(sys, "argv", ["resources", f"`--a=b`={out},{work}", f"other={out}"])
    resources.main()
    first, second = capsys.readouterr().out.splitlines()[2:]
    assert first.startswith("| `--a=b` | 2 | 2 (2) | 14 (14) | 0.4 | ")
    assert first.endswith("| 5 | 2 |")  # a link costs nothing of its own, nor does a second name
    assert second.endswith("|  |")


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no finished run"):
        resources.measure(tmp_path, None)


def test_studies_are_multiples_of_a_scan():
    need = resources.Need([30.0, 36.0, 90.0], [60.0] * 3, 1.2, 50.0, None)
    lines = resources.plan("quick", need)
    assert len(lines) == len(resources.STUDIES)
    assert resources.PLAN_HEAD.splitlines()[1].count("|") == lines[0].count("|")
    assert lines[1] == "| quick | 1,000 | 10 | 0.6 | 0.2 | 0.0 | 50 |  |"
