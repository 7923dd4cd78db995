"""The benchmark of explaining again: copies of people, and what is read from the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import explain_only
from benchmarks.explain_only import Measured


def test_people_are_copied_until_there_are_enough_scans(tmp_path: Path) -> None:
    source, target = tmp_path / "out", tmp_path / "copy"
    for name in (
        "sub-1/ses-a/anat/sub-1_ses-a",
        "sub-1/ses-b/anat/sub-1_ses-b",
        "sub-2/anat/sub-2",
    ):
        path = source / f"{name}_desc-tiny_brainage.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(name)
    (source / "sub-1/log/run").mkdir(parents=True)
    (source / "dataset_description.json").write_text("{}")
    target.mkdir()
    explain_only.copy_people(source, target, 4)
    tables = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.tsv"))
    assert tables == [
        "sub-1x0/ses-a/anat/sub-1x0_ses-a_desc-tiny_brainage.tsv",
        "sub-1x0/ses-b/anat/sub-1x0_ses-b_desc-tiny_brainage.tsv",
        "sub-1x2/ses-a/anat/sub-1x2_ses-a_desc-tiny_brainage.tsv",
        "sub-1x2/ses-b/anat/sub-1x2_ses-b_desc-tiny_brainage.tsv",
        "sub-2x1/anat/sub-2x1_desc-tiny_brainage.tsv",
    ]
    with pytest.raises(SystemExit, match="no finished people"):
        explain_only.copy_people(target / "sub-2x1", tmp_path, 2)


def test_the_rate_is_that_after_the_start() -> None:
    ends = (20.0, 22.0, 26.0, 30.0)
    measured = Measured(31.0, 40.0, (18.0, 20.0, 4.0, 4.0), (6.0, 6.0, 4.0, 4.0), ends)
    rows = {row.what: row for row in explain_only.rows_of(measured, 2)}
    assert rows["every further scan"].measured == 4.0
    assert rows["every further scan"].met is False
    assert rows["1,000 scans"].measured == pytest.approx((22 + 4000) / 60)
    assert rows["until every process had explained one"].measured == 22.0
    assert "every further scan" not in {
        row.what for row in explain_only.rows_of(Measured(1, 1, (1,), (1,), (1,)), 2)
    }


def test_lines_of_the_log_are_understood() -> None:
    line = (
        "[3/9] sub-01: explained in 3.4 s (2.9 s of a processor); 1059 scans per hour, 1 min left"
    )
    match = explain_only._EXPLAINED.search(line)
    assert match
    assert match.groups() == ("3.4", "2.9")
