"""Tables with a row per person: our own names, and what FreeSurfer's programs write."""

from __future__ import annotations

import pytest

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.morphometry.tables import read_measures


def write(folder, name, *lines):
    path = folder / name
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    return path


def test_a_table_of_our_own(tmp_path):
    path = write(
        tmp_path, "regions.tsv",
        ("participant_id", "session_id", "age", "Left-Thalamus-Proper", "lh_insula_thickness"),
        ("sub-01", "ses-1", 30, 7000.5, 2.9), ("02", "n/a", 40, "n/a", 3.1),
    )  # fmt: skip
    found = read_measures([path])
    assert found.people["participant_id"].tolist() == ["sub-01", "sub-02"]
    assert found.people["session_id"].tolist()[0] == "ses-1"
    assert found.people["session_id"].isna().tolist() == [False, True]
    assert list(found.values) == ["Left-Thalamus", "lh_insula_thickness"]
    assert found.values["Left-Thalamus"].isna().tolist() == [False, True]


def test_what_is_no_number_is_missing(tmp_path):
    path = write(
        tmp_path, "regions.tsv",
        ("participant_id", "Left-Hippocampus", "sick"), ("01", "4000", "no"), ("02", "4,1", "no"),
    )  # fmt: skip
    found = read_measures([path]).values
    assert found["Left-Hippocampus"].isna().tolist() == [False, True]
    assert found["sick"].isna().all()


def test_tables_of_freesurfers_programs_are_put_side_by_side(tmp_path):
    volumes = write(
        tmp_path, "aseg.tsv",
        ("Measure:volume", "Left-Hippocampus", "BrainSegVolNotVent"),
        ("sub-01_ses-2", 4000, 1.1e6), ("sub-02", 4100, 1.2e6),
    )  # fmt: skip
    thickness = write(
        tmp_path, "lh.tsv",
        ("lh.aparc.thickness", "lh_insula_thickness", "BrainSegVolNotVent"),
        ("sub-02", 2.5, 1.2e6), ("sub-01_ses-2", 2.6, 1.1e6),
    )  # fmt: skip
    found = read_measures([volumes, thickness])
    assert found.people["session_id"].tolist()[0] == "ses-2"
    assert list(found.values) == ["Left-Hippocampus", "BrainSegVolNotVent", "lh_insula_thickness"]
    assert found.values["lh_insula_thickness"].tolist() == [2.6, 2.5]


HEAD = ("participant_id", "Left-Hippocampus")
REFUSED = {
    "no people": ([("name", "x"), ("a", 1)], "no column participant_id"),
    "twice": ([HEAD, ("01", 1), ("sub-01", 2)], "lists sub-01 twice"),
}


@pytest.mark.parametrize(("lines", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_such_table_is_refused(tmp_path, lines, words):
    with pytest.raises(DataError, match=words):
        read_measures([write(tmp_path, "x.tsv", *lines)])


def test_tables_about_other_people_are_refused(tmp_path):
    one, other = (
        write(tmp_path, f"{name}.tsv", HEAD, (name, 1), ("both", 2)) for name in ("a", "b")
    )
    with pytest.raises(DataError, match="sub-a, sub-b stand in one of them only"):
        read_measures([one, other])
