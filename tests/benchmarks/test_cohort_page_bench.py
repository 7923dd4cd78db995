"""The benchmark of the page of all scans: what is simulated, and what is linked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cohort_page
from bidsapp_brainage.reports.cohort.scans import read_cohort


def drawn(folder: Path) -> dict[str, Path]:
    """Figures without pictures, which take no time to draw."""
    folder.mkdir(parents=True)
    keys = ("mask_figure", "before_figure", "after_figure", "segmentation_figure", "input_figure")
    for key in keys:
        (folder / f"{key}.svg").write_text("<svg/>")
    return {key: folder / f"{key}.svg" for key in keys}


def test_simulated_scans_have_what_the_page_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort_page, "draw_figures", drawn)
    monkeypatch.setattr(cohort_page, "FAILED", 3)
    monkeypatch.setattr(cohort_page, "TWICE", 2)
    cohort_page.simulate(tmp_path, 4)
    scans = {scan.scan: scan for scan in read_cohort(tmp_path).scans}
    assert list(scans) == ["sub-0001", "sub-0002_ses-1", "sub-0002_ses-2", "sub-0003"]
    assert scans["sub-0003"].values["step"] == "affine"
    assert scans["sub-0002_ses-2"].values["cnr"] is not None
    assert (tmp_path / "sub-0002/figures/sub-0002_ses-1_desc-brain_mask.svg").is_file()
    assert (tmp_path / "sub-0001/anat/sub-0001_desc-x0_T1w.nii.gz").is_file()
    rows = {row.what: row.measured for row in cohort_page.measure_pictures(tmp_path)}
    assert rows["their file"] > 0
    rows = {row.what: row.measured for row in cohort_page.measure_page(tmp_path)}
    assert rows["index.html"] > rows["index.html, compressed"] > 0


def test_people_are_linked_under_labels_of_their_own(tmp_path: Path) -> None:
    source, target = tmp_path / "out", tmp_path / "many"
    for name in (
        "sub-1/anat/sub-1_T1w.json",
        "sub-1/log/run/crash.txt",
        "sub-2/anat/sub-2_T1w.json",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("before")
    cohort_page.link_people(source, target, 3)
    assert sorted(path.name for path in target.glob("sub-*")) == ["sub-1x0", "sub-1x2", "sub-2x1"]
    assert (target / "sub-1x2/anat/sub-1x2_T1w.json").read_text() == "before"
    (target / "sub-1x0/log/run/crash.txt").write_text("after")
    assert (source / "sub-1/log/run/crash.txt").read_text() == "before"
    with pytest.raises(SystemExit, match="no people"):
        cohort_page.link_people(tmp_path / "nowhere", target, 1)
