"""Tables as people really save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.bids.ages import AgeBook
from bidsapp_brainage.errors import DataError

TABLE = "participant_id\tage\tsex\tsite\nsub-01\t30\tF\tZürich\nsub-02\t40\tM\tBern\n"


def person(folder: Path, content: bytes, label: str = "01"):
    (folder / "participants.tsv").write_bytes(content)
    return AgeBook(folder).person({"sub": label}, f"sub-{label}/anat/sub-{label}_T1w.nii.gz")


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        TABLE.encode("utf-8-sig"),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r\n").encode("utf-8-sig"),
        TABLE.replace("\n", "\r").encode(),
    ],
    ids=["plain", "mark", "windows", "mark and windows", "old mac"],
)
def test_marks_and_line_ends_do_not_matter(tmp_path: Path, content: bytes) -> None:
    found = person(tmp_path, content)
    assert (found.age.value, found.sex, found.site) == (30.0, "F", "Zürich")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused_with_the_remedy(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=r"participants\.tsv.*save it as UTF-8"):
        person(tmp_path, TABLE.encode(encoding))


def test_formulas_are_no_ages_and_are_told(tmp_path: Path) -> None:
    found = person(tmp_path, TABLE.replace("\t30\t", "\t=1+29\t").encode())
    assert found.age.value is None
    assert "=1+29" in found.age.note
    assert "34.5" in found.age.note


@pytest.mark.timeout(60)  # looking through all rows for every scan takes minutes
def test_a_hundred_thousand_rows_are_read_once(tmp_path: Path) -> None:
    rows = "".join(f"sub-x{n:06d}\t{20 + n % 60}\tF\tA\n" for n in range(100_000))
    (tmp_path / "participants.tsv").write_text(TABLE + rows)
    book = AgeBook(tmp_path)
    book.person({"sub": "01"}, "a")
    ages = [book.person({"sub": f"x{n:06d}"}, "a").age.value for n in range(1000)]
    assert ages[:2] == [20.0, 21.0]
