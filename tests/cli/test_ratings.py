"""``--ratings`` and ``--min-rating`` from the command line to tables and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bidsapp_brainage.cli.run import main
from bidsapp_brainage.group import analyses
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.reports.figures import drawing
from tests.group.derivatives import write_derivatives

HEAD = "scan\trater\trating\n"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 29)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 9)
    monkeypatch.setattr(drawing, "DPI", 72)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_derivatives(tmp_path / "out", n_participants=6, maps=False)


def run(root: Path, *options: str) -> int:
    return main([str(root.parent / "raw"), str(root), "group", *options])


def table(root: Path, key: str = "brainage"):
    return read_tsv(root / f"group_desc-sfcn2mm_{key}.tsv").set_index("scan")


def test_ratings_change_verdicts_and_who_is_left_out(root: Path, tmp_path: Path) -> None:
    assert run(root) == 0
    before = table(root)["verdict"]
    path = tmp_path / "ann.tsv"
    path.write_text(HEAD + "sub-01\tAnn\t1\nsub-02\tAnn\t2\nsub-03\tAnn\t4\n")
    assert run(root, "--ratings", str(path)) == 0
    after = table(root)
    assert list(after.index) == list(before.index)
    assert dict(after["verdict"].iloc[:2]) == {"sub-01": "do not use", "sub-02": "look closer"}
    assert after.loc["sub-01", "verdict_reasons"].startswith("Rated 1, exclude by Ann")
    assert after["verdict"].iloc[3:].equals(before.iloc[3:])
    assert dict(after["rating"].dropna()) == {"sub-01": 1, "sub-02": 2, "sub-03": 4}
    page = (root / "group_desc-sfcn2mm_brainage.html").read_text()
    assert "Scans rated: 3, by Ann." in page
    assert "without scans rated below 2" in page
    assert "Fleiss" in page  # the methods text says how raters are compared
    path.unlink()  # what was taken in stays
    assert run(root, "--min-rating", "2") == 0
    assert list(table(root).index) == list(before.index[1:])
    assert table(root, "exclusions").loc["sub-01", "reason"] == "rated 1 by Ann, below 2"
    page = (root / "group_desc-sfcn2mm_brainage.html").read_text()
    assert "Rated below 2 and left out of all results: sub-01." in page
    assert "whatever the rating" in page


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 2, "--ratings"),
        ("scan,rater,rating\nsub-01,Ann,1\n", 65, "has no column"),
        (HEAD + "sub-01\tAnn\t7\n", 65, "line 2 .*rating is not 1, 2, 3 or 4"),
        (HEAD + "sub-77\tAnn\t1\n", 65, "sub-77, of which the output folder knows nothing"),
        (HEAD + "sub-01\tAnn\t1\nsub-01\tAnn\t2\n", 65, "line 2, 3 .*rated a scan twice"),
    ],
)
def test_ratings_that_cannot_be_used_end_the_run_first(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content, code: int, words: str
) -> None:
    path = tmp_path / "ann.tsv"
    if content is not None:
        path.write_text(content)
    assert run(root, "--ratings", str(path)) == code
    assert re.search(words, caplog.text)
    assert str(path) in caplog.text
    assert not list(root.glob("group_*"))
    assert not list(root.glob("ratings/*"))


def test_a_table_in_the_folder_is_read_and_checked_before_anything_else(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "ratings").mkdir()
    (root / "ratings" / "by_hand.tsv").write_text(HEAD + "sub-02\tBen\t1\n")
    assert run(root, "--min-rating", "2") == 0
    assert "sub-02" not in table(root).index
    (root / "ratings" / "by_hand.tsv").write_text(HEAD + "sub-02\tn/a\t1\n")
    (root / "group_desc-sfcn2mm_brainage.tsv").unlink()
    assert run(root) == 65
    assert "by_hand.tsv, line 2" in caplog.text
    assert not (root / "group_desc-sfcn2mm_brainage.tsv").exists()


def test_nobody_left_is_no_input(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "ann.tsv"
    path.write_text(HEAD + "".join(f"sub-0{n}\tAnn\t1\n" for n in range(1, 7)))
    assert run(root, "--ratings", str(path), "--min-rating", "4") == 66
    with pytest.raises(SystemExit) as caught:
        run(root, "--min-rating", "5")
    assert caught.value.code == 2
