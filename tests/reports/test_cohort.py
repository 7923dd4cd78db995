"""The page of all scans: who is on it, what it says, and how it is written."""

from __future__ import annotations

import html
import io
import json
import multiprocessing
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bidsapp_brainage.bids.dataset import bids_ignore
from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.reports.cohort.columns import columns, quality_metrics
from bidsapp_brainage.reports.cohort.page import most_doubtful, page_data, write_cohort_page
from bidsapp_brainage.reports.cohort.percentiles import percentile, read_quality, with_percentiles
from bidsapp_brainage.reports.cohort.scans import CohortScan, read_cohort, write_subject_thumbnails
from bidsapp_brainage.reports.cohort.thumbnails import (
    HEIGHT,
    KINDS,
    SLICES,
    WIDTH,
    write_thumbnails,
)
from bidsapp_brainage.reports.html import Cell, Column, Table
from tests.derivatives import write_table
from tests.reports.synthetic_cohort import REASON, write_cohort, write_run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def cohort(root: Path) -> dict[str, CohortScan]:
    return {scan.scan: scan for scan in read_cohort(root).scans}


def test_every_scan_has_a_row_also_one_that_left_nothing_but_its_failure(
    cohort: dict[str, CohortScan],
) -> None:
    assert list(cohort) == ["sub-01", "sub-02_ses-1", "sub-02_ses-2", "sub-03", "sub-04"]
    failed = cohort["sub-04"]
    assert (failed.values["step"], failed.values["reason"]) == ("conform", REASON)
    assert (failed.values["verdict"], failed.thumbnails) == ("do not use", "")
    assert failed.values["doubts"] == f"Failed at conform: {REASON}"
    assert failed.page == "sub-04.html"
    assert failed.values["started"] == "2026-01-02 13:05 UTC"


def test_a_row_says_what_the_tables_and_the_logs_say(cohort: dict[str, CohortScan]) -> None:
    values = cohort["sub-01"].values
    assert (values["chronological_age"], values["predicted_age"]) == (52.5, 58.2)
    assert (values["sex"], values["site"], values["model"]) == ("F", "A", "sfcn2mm")
    assert (values["minutes"], values["memory_gb"], values["step"]) == (1.2, 1.234, None)
    assert values["verdict"] == "usable"
    doubtful = cohort["sub-02_ses-1"].values
    assert doubtful["verdict"] != "usable"
    assert "interval" in str(doubtful["doubts"])
    assert cohort["sub-03"].values["chronological_age"] is None


def test_a_run_that_broke_off_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, "01", "20260101-120000_a", ["sub-01"])
    path = tmp_path / "sub-01/log/20260101-120000_a/participant.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "Ended": ""}))
    (row,) = read_cohort(tmp_path).scans
    assert row.values["step"] == "not done"
    assert "broke off" in str(row.values["reason"])


def test_a_later_run_that_went_well_clears_the_failure(tmp_path: Path) -> None:
    write_run(tmp_path, "01", "20260101-120000_a", ["sub-01"], {"sub-01": ("warp", "no memory")})
    assert read_cohort(tmp_path).scans[0].values["step"] == "warp"
    write_run(tmp_path, "01", "20260102-120000_b", ["sub-01"])
    assert read_cohort(tmp_path).scans[0].values["step"] is None


def test_ratings_count_and_broken_ones_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "ratings"
    folder.mkdir()
    write_run(tmp_path, "01", "20260101-120000_a", ["sub-01"])
    rows = ["scan\trater\trating", "sub-01\tA\t1", "sub-01\tB\t3"]
    (folder / "a.tsv").write_text("\n".join(rows) + "\n")
    (row,) = read_cohort(tmp_path).scans
    assert (row.values["rating"], row.values["raters"]) == (1, "A, B")
    assert row.values["verdict"] == "do not use"
    (folder / "a.tsv").write_text("scan\trater\trating\nsub-01\tA\t9\n")
    cohort = read_cohort(tmp_path)
    assert cohort.scans[0].values["rating"] is None
    assert "rating is not 1, 2, 3 or 4" in cohort.problems[0]
    assert "rating is not 1, 2, 3 or 4" in write_cohort_page(tmp_path).read_text("utf-8")


def test_a_broken_table_leaves_a_gap(tmp_path: Path) -> None:
    for key in ("brainage", "qc"):
        path = output_path(tmp_path, key, (("sub", "01"),), model="m")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xfe")
    (row,) = read_cohort(tmp_path).scans
    assert row.values["model"] == "m"
    assert row.values["verdict"] == "do not use"


def test_every_quality_metric_has_a_column_with_its_words() -> None:
    by_key = {column.key: column for column in columns()}
    assert len(by_key) == len(columns())
    for name in quality_metrics():
        assert by_key[name].metric
        assert by_key[name].help


def test_percentiles_count_equal_values_half() -> None:
    values = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
    assert [percentile(value, values) for value in (0.0, 2.0, 4.0, 9.0)] == [0, 40, 90, 100]
    assert percentile(1.0, values[:4]) is None  # too few


def test_the_table_of_quality_says_where_a_scan_lies(tmp_path: Path) -> None:
    for number in range(6):
        row = {"cnr": 1.0 + number, "decision": "pass"}
        write_table(tmp_path, "qc", [row], (("sub", f"{number:02d}"),))
    broken = output_path(tmp_path, "qc", (("sub", "99"),), model="sfcn2mm")
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"\xff")
    others = read_quality(tmp_path)["sfcn2mm"]
    cells = [
        [Cell("Contrast"), Cell("5.5"), Cell("?"), Cell("cnr")],
        [Cell("x")] * 3 + [Cell("n_nan")],
    ]
    columns = [Column(name) for name in ("Measure", "Value", "Meaning", "Column")]
    table = with_percentiles(Table("id", "", columns, cells), {"cnr": 5.511}, others)
    assert [column.title for column in table.columns][2:4] == [
        "Percentile here",
        "Reference percentile",
    ]
    assert "6 scans" in table.columns[2].help
    assert [cell.text for cell in table.rows[0][2:4]] == ["83", "50"]
    assert [cell.text for cell in table.rows[1][2:4]] == ["", ""]


def content(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="cohort-data">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def test_the_page_holds_all_values_and_nothing_of_a_row_is_markup(root: Path) -> None:
    page = write_cohort_page(root).read_text("utf-8")
    data = content(page)
    assert data["scan"][-1] == "sub-04"
    assert data["values"]["reason"][-1] == REASON
    assert "truncated <b>" not in page
    assert "5 images" in page
    assert "newest run 2026-01-02 13:05 UTC" in page
    assert "connect-src" not in page  # nothing but pictures may be loaded
    assert "img-src data: 'self' file:;" in html.unescape(page)


def test_the_page_is_written_again_with_the_same_bytes(root: Path) -> None:
    page = write_cohort_page(root)
    before = page.read_bytes()
    assert write_cohort_page(root).read_bytes() == before


def test_what_is_no_finite_number_leaves_a_gap(tmp_path: Path) -> None:
    path = write_table(tmp_path, "qc", [{"cnr": 5.5, "snr": 15.5}], (("sub", "01"),))
    path.write_text(path.read_text().replace("15.5", "inf"))
    values = content(write_cohort_page(tmp_path).read_text("utf-8"))["values"]
    assert values["cnr"] == [5.5]
    assert "snr" not in values


def test_data_cannot_end_the_element_that_holds_it() -> None:
    text = page_data([CohortScan("sub-01", "01", {"site": "</script><script>alert(1)"})])
    assert "<" not in text
    assert json.loads(text)["values"]["site"] == ["</script><script>alert(1)"]


def test_of_too_many_scans_the_doubtful_ones_are_shown_and_the_page_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = ["usable"] * 8 + ["look closer", "do not use", "usable", "look closer"]
    scans = [CohortScan(f"sub-{i:02d}", f"{i:02d}", {"verdict": v}) for i, v in enumerate(verdicts)]
    chosen = [int(scan.subject) for scan in most_doubtful(scans, most=6)]
    assert chosen == [0, 4, 8, 9, 10, 11]
    assert [scan.subject for scan in most_doubtful(scans, most=2)] == ["08", "09"]
    assert most_doubtful(scans, most=12) == scans
    monkeypatch.setattr("bidsapp_brainage.reports.cohort.page.MOST_SCANS", 3)
    whole = write_cohort_page(root).read_text("utf-8")
    assert len(content(whole)["scan"]) == 3
    assert "hold 3 of 5 scans" in whole


def test_the_page_is_not_for_the_validator() -> None:
    assert "*.html" in bids_ignore().splitlines()


def test_pages_of_groups_are_linked(tmp_path: Path) -> None:
    write_run(tmp_path, "01", "20260101-120000_a", ["sub-01"])
    (tmp_path / "group_desc-sfcn2mm_brainage.html").touch()
    page = write_cohort_page(tmp_path).read_text("utf-8")
    assert '<a href="group_desc-sfcn2mm_brainage.html">Group, sfcn2mm</a>' in page


def _finish(root: Path, number: int) -> None:
    """What one of many jobs does at its end."""
    label = f"{number:02d}"
    write_run(root, label, "20260101-120000_a", [f"sub-{label}"])
    write_cohort_page(root)


def test_jobs_that_end_at_the_same_time_leave_a_page_with_all_scans(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_finish, args=(tmp_path, number)) for number in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * len(jobs)
    data = content((tmp_path / "index.html").read_text("utf-8"))
    assert data["scan"] == [f"sub-{number:02d}" for number in range(6)]
    assert [path.name for path in tmp_path.iterdir() if ".tmp" in path.name] == []


def test_thumbnails_have_a_strip_per_figure_with_its_outlines(root: Path) -> None:
    path = output_path(root, "thumbnails", (("sub", "01"),))
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert sheet.shape == (HEIGHT * (len(KINDS) + 1), WIDTH, 3)
    strips = sheet.reshape(len(KINDS) + 1, HEIGHT, WIDTH, 3)
    assert (strips.max(axis=(1, 2, 3)) > 120).all()  # none is black
    red = (strips[..., 0] - strips[..., 1] > 60).sum(axis=(1, 2))
    assert red[KINDS.index("mask_figure")] > 200
    assert red[-1] == 0  # what the network saw has no outline
    begin = 0
    for _, _, width in SLICES:
        assert strips[0, :, begin : begin + width].max() > 120
        begin += width


def test_thumbnails_are_made_again_only_when_a_figure_is_newer(tmp_path: Path, root: Path) -> None:
    figure = output_path(root, "mask_figure", (("sub", "01"),))
    out = tmp_path / "thumbnails.jpg"
    assert write_thumbnails([figure, None], out)
    Image.new("RGB", (WIDTH, 2 * HEIGHT), "red").save(out)
    old = out.read_bytes()
    os.utime(out, (figure.stat().st_mtime + 5,) * 2)
    write_thumbnails([figure, None], out)
    assert out.read_bytes() == old
    os.utime(out, (figure.stat().st_mtime - 5,) * 2)
    write_thumbnails([figure, None], out)
    assert out.read_bytes() != old


def test_thumbnails_are_made_again_when_a_model_was_added_or_they_are_broken(
    tmp_path: Path, root: Path
) -> None:
    figure = output_path(root, "mask_figure", (("sub", "01"),))
    out = tmp_path / "thumbnails.jpg"
    assert write_thumbnails([figure], out)
    os.utime(out, (figure.stat().st_mtime + 5,) * 2)
    write_thumbnails([figure, figure], out)
    assert Image.open(io.BytesIO(out.read_bytes())).size == (WIDTH, 2 * HEIGHT)
    out.write_bytes(b"broken")
    os.utime(out, (figure.stat().st_mtime + 5,) * 2)
    write_thumbnails([figure], out)
    assert Image.open(io.BytesIO(out.read_bytes())).size == (WIDTH, HEIGHT)


def test_a_figure_without_slices_leaves_a_black_strip(tmp_path: Path) -> None:
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    broken = tmp_path / "broken.svg"
    letters = "".join(f'<text x="1" y="{y}" text-anchor="start">L</text>' for y in (9, 30, 50))
    broken.write_text(f'<svg><image href="data:image/jpeg;base64,AAAA"/>{letters}</svg>')
    out = tmp_path / "thumbnails.jpg"
    assert write_thumbnails([figure, broken], out)
    assert np.asarray(Image.open(out)).max() < 5
    out.unlink()
    assert not write_thumbnails([None], out)
    assert not out.exists()


def test_no_figures_no_file(tmp_path: Path) -> None:
    write_run(tmp_path, "01", "20260101-120000_a", ["sub-01"])
    write_subject_thumbnails(tmp_path, "01")
    assert not list(tmp_path.rglob("*.jpg"))
    assert read_cohort(tmp_path).scans[0].thumbnails == ""
