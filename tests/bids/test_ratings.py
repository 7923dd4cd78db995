"""Tables of ratings: what is refused, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.bids.ratings import read_ratings, stored_ratings, take_in
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import DataError

HEAD = ("scan", "rater", "rating", "rated_at")


def write(path: Path, *rows: tuple[str, ...], head: tuple[str, ...] = HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in (head, *rows)) + "\n", "utf-8")
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Two participants with an image, and one whose image failed before anything was written."""
    root = tmp_path / "out"
    for scan in ("sub-01_ses-1", "sub-02"):
        parts = scan.split("_")
        folder = root.joinpath(*parts, "anat")
        folder.mkdir(parents=True)
        (folder / f"{scan}_desc-preproc_T1w.nii.gz").touch()
    (root / "sub-03.html").touch()
    return root


def test_a_table_is_read_whole_with_unknown_columns_dropped(tmp_path: Path) -> None:
    head = ("participant_id", "session_id", "rater", "rating", "mask", "head_motion", "mine")
    rows = [
        ("sub-01", "1", "007", "2", "Wrong", "TRUE", "x"),
        ("02", "n/a", "B", "4", "n/a", "n/a", "n/a"),
    ]
    table = read_ratings(write(tmp_path / "a.tsv", *rows, head=head))
    assert list(table.columns) == columns_of("ratings")
    assert list(table["scan"]) == ["sub-01_ses-1", "sub-02"]
    assert list(table["session_id"].fillna("none")) == ["ses-1", "none"]
    assert list(table["rating"]) == [2, 4]
    first = table.iloc[0]
    assert (first["rater"], first["mask"], first["head_motion"]) == ("007", "wrong", True)
    assert table[["notes", "ghosting", "rated_at"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("head", "row", "words"),
    [
        (("scan", "rating"), ("sub-01", "1"), "no column rater .*tabs between"),
        (("scan;rater;rating",), ("sub-01;A;1",), "no column participant_id"),
        (HEAD, ("sub-01", "A", "5", "n/a"), "line 2 .*rating 5.*: rating is not 1, 2, 3 or 4"),
        (HEAD, ("sub-01", "A", "2.5", "n/a"), "rating is not 1"),
        (HEAD, ("sub-01", "A", "n/a", "n/a"), "rating is not 1"),
        (HEAD, ("sub-01", "n/a", "2", "n/a"), "rater is missing"),
        (HEAD, ("n/a", "A", "2", "n/a"), "scan is missing"),
        (HEAD, ("sub-01", "A", "2", "yesterday"), "rated_at is no time like"),
        (
            (*HEAD, "mask"),
            ("sub-01", "A", "2", "n/a", "bad"),
            "mask is not wrong, usable, good or n/a",
        ),
        ((*HEAD, "noise"), ("sub-01", "A", "2", "n/a", "1"), "noise is not true, false or n/a"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, head: tuple[str, ...], row: tuple[str, ...], words: str
) -> None:
    path = write(tmp_path / "a.tsv", row, head=head)
    with pytest.raises(DataError, match=words) as caught:
        read_ratings(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 65


def test_one_rater_may_rate_a_scan_once_in_a_table(tmp_path: Path) -> None:
    rows = [("sub-01", "A", "2", "n/a"), ("sub-02", "A", "2", "n/a"), ("sub-01", "A", "3", "n/a")]
    with pytest.raises(DataError, match=r"line 2, 4 .*one rater rated a scan twice"):
        read_ratings(write(tmp_path / "a.tsv", *rows))
    read_ratings(write(tmp_path / "b.tsv", rows[0], ("sub-01", "B", "3", "n/a")))


def test_no_table_and_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a tab-separated table"):
        read_ratings(tmp_path / "a.tsv")


def test_ratings_are_kept_by_rater_with_a_dictionary(output: Path, tmp_path: Path) -> None:
    rows = [
        ("sub-02", "Ann B.", "2", "n/a"),
        ("sub-01_ses-1", "\N{CJK UNIFIED IDEOGRAPH-674E}", "4", "n/a"),
        ("sub-03_ses-9", "Ann B.", "1", "n/a"),
    ]
    assert take_in(output, [write(tmp_path / "a.tsv", *rows)]) == 3
    files = sorted(path.name for path in (output / "ratings").glob("*.tsv"))
    assert "rater-AnnB_ratings.tsv" in files
    assert len(files) == 2
    for path in (output / "ratings").glob("*.json"):
        described = json.loads(path.read_text())
        assert list(described) == columns_of("ratings")
        assert described["rating"]["Levels"]["1"].startswith("exclude")
    assert undescribed("ratings", columns_of("ratings")) == []
    stored = stored_ratings(output)
    assert {tuple(row) for row in stored[["scan", "rater", "rating"]].to_numpy()} == {
        (scan, rater, int(rating)) for scan, rater, rating, _ in rows
    }


def test_an_unknown_scan_is_refused_and_nothing_is_kept(output: Path, tmp_path: Path) -> None:
    rows = [("sub-02", "A", "2", "n/a"), ("sub-01_ses-2", "A", "2", "n/a")]
    with pytest.raises(DataError, match=r"sub-01_ses-2, of which.*Did you mean sub-01_ses-1\?"):
        take_in(output, [write(tmp_path / "a.tsv", *rows)])
    assert stored_ratings(output).empty


def test_the_later_rating_counts_whatever_the_order_of_the_files(
    output: Path, tmp_path: Path
) -> None:
    early, late = "2026-01-31T12:00:00Z", "2026-02-01T12:00:00Z"
    one = write(tmp_path / "1.tsv", ("sub-02", "A", "1", late), ("sub-01_ses-1", "A", "3", early))
    two = write(tmp_path / "2.tsv", ("sub-02", "A", "4", early), ("sub-01_ses-1", "A", "2", early))
    for paths in ([one, two], [one], [two]):
        take_in(output, paths)
    grades = stored_ratings(output).set_index("scan")["rating"]
    assert dict(grades) == {"sub-02": 1, "sub-01_ses-1": 2}  # of one time: what came last


def test_files_put_there_by_hand_count_and_may_not_contradict(output: Path) -> None:
    write(output / "ratings" / "mine.tsv", ("sub-02", "A", "1", "n/a"))
    write(output / "ratings" / "hers.tsv", ("sub-02", "B", "2", "n/a"))
    assert len(stored_ratings(output)) == 2
    write(output / "ratings" / "again.tsv", ("sub-02", "A", "3", "n/a"))
    with pytest.raises(DataError, match=r"again.tsv, mine.tsv have different ratings of sub-02"):
        stored_ratings(output)
    write(output / "ratings" / "again.tsv", ("sub-02", "A", "3", "2026-01-31T12:00:00Z"))
    assert dict(stored_ratings(output).set_index("rater")["rating"]) == {"A": 3, "B": 2}


def test_ratings_of_one_participant(output: Path) -> None:
    rows = [("sub-01_ses-1", "A", "1", "n/a"), ("sub-02", "A", "2", "n/a")]
    write(output / "ratings" / "a.tsv", *rows, ("sub-010", "A", "3", "n/a"))
    (row,) = stored_ratings(output, "sub-01").to_dict("records")
    assert (row["scan"], row["participant_id"], row["session_id"], row["rating"]) == (
        "sub-01_ses-1",
        "sub-01",
        "ses-1",
        1,
    )
    assert stored_ratings(output, "sub-03").empty
    write(output / "ratings" / "empty.tsv")
    assert len(stored_ratings(output)) == 3
