"""Images without BIDS become a dataset of links, under labels that stay."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.api.loose import (
    find_images,
    label_images,
    label_of,
    lay_out,
    read_files,
    read_people,
)
from bidsapp_brainage.bids.ages import AgeBook
from bidsapp_brainage.bids.collect import collect_scans
from bidsapp_brainage.bids.dataset import UNLINKED, Origin, dataset_description
from bidsapp_brainage.errors import DataError, NoInputError, UsageError
from bidsapp_brainage.settings import Selection, in_flags


def image(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or path.name)
    return path


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("T1.nii", "T1"),
        ("sub-01_ses-2_T1w.nii.gz", "01ses2"),
        ("../up.nii.gz", "up"),
        ("a b;rm -rf.nii.gz", "abrmrf"),
        ("Ærø 3.nii.gz", "r3"),
        ("脑.nii.gz", "image"),
        (f"{'x' * 200}.nii.gz", "x" * 64),
    ],
)
def test_labels_are_letters_and_digits(name: str, label: str) -> None:
    assert label_of(name) == label


def test_an_image_keeps_its_label_and_another_of_its_name_gets_a_number(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = image(tmp_path / "a/t1.nii.gz", "one")
    second = image(tmp_path / "b/T1.nii.gz", "two")
    third = image(tmp_path / "c/t1.nii.gz", "three")
    assert [each.label for each in label_images([first, second], out)] == ["t1", "T1x2"]
    moved = image(tmp_path / "moved/t1.nii.gz", "one")
    assert [each.label for each in label_images([third, moved], out)] == ["t1x3", "t1"]
    rows = {row["participant_id"]: row["file"] for row in read_files(out)}
    assert rows == {"sub-t1": "t1.nii.gz", "sub-T1x2": "T1.nii.gz", "sub-t1x3": "t1.nii.gz"}
    assert str(tmp_path) not in (out / "files.tsv").read_text()
    odd = image(tmp_path / "odd  name\t1.nii.gz")
    assert label_images([odd], out) == label_images([odd], out)
    assert set(io.read_json(out / "files.json")) == {"participant_id", "file", "sha256"}


def test_one_image_twice_is_refused(tmp_path: Path) -> None:
    same = [image(tmp_path / folder / "t1.nii", "one") for folder in "ab"]
    with pytest.raises(UsageError, match="the same image"):
        label_images(same, tmp_path / "out")
    with pytest.raises(UsageError, match="twice"):
        find_images([same[0], same[0]])


def test_of_a_folder_the_images_right_in_it_are_meant(tmp_path: Path) -> None:
    for name in ("b.nii", "a.nii.gz", "._a.nii.gz", "notes.txt", "below/c.nii.gz"):
        image(tmp_path / "scans" / name)
    assert [path.name for path in find_images([tmp_path / "scans"])] == ["a.nii.gz", "b.nii"]


def test_what_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    image(tmp_path / "bids/dataset_description.json")
    image(tmp_path / "notes/a.txt")
    with pytest.raises(UsageError, match=r"bids is a BIDS dataset.*participant"):
        find_images([tmp_path / "bids"])
    with pytest.raises(NoInputError, match="notes has no"):
        find_images([tmp_path / "notes"])
    with pytest.raises(UsageError, match=r"a\.txt is not NIfTI"):
        find_images([tmp_path / "notes/a.txt"])
    with pytest.raises(UsageError, match=r"b\.nii is not a file"):
        find_images([tmp_path / "b.nii"])
    (tmp_path / "notes/gone.nii").symlink_to(tmp_path / "annex")
    with pytest.raises(UsageError, match=r"gone\.nii is a link without target.*datalad get"):
        find_images([tmp_path / "notes"])
    with pytest.raises(DataError, match="notes cannot be read"):
        label_images([tmp_path / "notes"], tmp_path / "out")


@pytest.mark.parametrize("name", ["people.tsv", "people.csv"])
def test_ages_of_a_table_are_those_of_the_dataset(tmp_path: Path, name: str) -> None:
    """A row names its image by path, by the end of the path, or without suffix."""
    paths = [image(tmp_path / f"{folder}/t1.nii.gz", folder) for folder in "abc"]
    rows = [["file", "age", "sex"], [str(paths[0]), "552", "F"], ["b/t1", "600", "male"]]
    between = "," if name.endswith("csv") else "\t"
    table = image(tmp_path / name, "\n".join(between.join(row) for row in rows) + "\n")
    io.write_json(table.with_suffix(".json"), {"age": {"Units": "month"}})
    images = label_images(paths, tmp_path / "out")
    lay_out(tmp_path / "raw", images, read_people(table))
    book = AgeBook(tmp_path / "raw")
    people = [book.person({"sub": each.label}, "") for each in images]
    assert [person.age.value for person in people] == [46.0, 50.0, None]
    assert [person.sex for person in people] == ["F", "M", "n/a"]
    links = sorted((tmp_path / "raw").rglob("*.nii.gz"))
    assert [link.resolve() for link in links] == paths


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    images = label_images([image(tmp_path / "t1.nii.gz")], tmp_path / "out")
    for number, (rows, words) in enumerate(
        [
            ({"file": ["t2.nii.gz"], "age": [3]}, r"none of the images.*t1\.nii\.gz"),
            ({"file": ["t1", "t1.nii.gz"], "age": [3, 4]}, "several rows"),
        ]
    ):
        with pytest.raises(UsageError, match=words):
            lay_out(tmp_path / f"raw{number}", images, read_people(pd.DataFrame(rows)))
    with pytest.raises(UsageError, match="no column file"):
        read_people(pd.DataFrame({"name": ["t1"]}))
    for name in ("none.tsv", "none.csv"):
        with pytest.raises(DataError, match="does not exist"):
            read_people(tmp_path / name)


def test_the_place_of_the_links_is_not_told(tmp_path: Path) -> None:
    lay_out(tmp_path / "raw", label_images([image(tmp_path / "t1.nii")], tmp_path / "out"), None)
    described = dataset_description(Origin(tmp_path / "raw", tmp_path / "out", "0123abcd"))
    assert described["DatasetLinks"]["raw"] == "urn:bids-dataset:loose-images"  # type: ignore[index]
    assert UNLINKED in str(described["Name"])


def test_who_has_no_age_is_told_options_that_are_there(tmp_path: Path) -> None:
    lay_out(tmp_path / "raw", label_images([image(tmp_path / "t1.nii")], tmp_path / "out"), None)
    _, messages = collect_scans(tmp_path / "raw", Selection())
    (told,) = [in_flags(message) for message in messages if "No age" in message]
    assert "`age` or `people`" in told
    assert "--age-file" not in told


def test_an_output_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    blocked = image(tmp_path / "file")
    with pytest.raises(UsageError, match="file/out cannot be written.*another"):
        label_images([image(tmp_path / "t1.nii")], blocked / "out")
