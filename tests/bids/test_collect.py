from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.bids.collect import (
    Scan,
    collect_scans,
    target_messages,
    without_scans,
)
from bidsapp_brainage.bids.input.images import find_images
from bidsapp_brainage.errors import DataError, MissingExecutableError, NoInputError, UsageError
from bidsapp_brainage.model.outputs import Head
from bidsapp_brainage.settings import Selection

T1W = {"suffix": "T1w"}


def collected(root: Path, **selection: Any) -> tuple[list[Scan], list[str]]:
    return collect_scans(root, Selection(**selection))


def labels(root: Path, **selection: Any) -> list[str]:
    return [scan.label for scan in collected(root, **selection)[0]]


def test_all_sessions_and_runs_in_natural_order(make_dataset):
    sessions = [
        {"session": "10", "anat": [T1W]},
        {"session": "2", "anat": [{"run": "02", **T1W}, {"run": "01", **T1W}]},
    ]
    root = make_dataset({"10": {"anat": [T1W]}, "2": sessions})
    assert labels(root) == [
        "sub-2_ses-2_run-01",
        "sub-2_ses-2_run-02",
        "sub-2_ses-10",
        "sub-10",
    ]


def test_scan_knows_its_people_and_place(two_people):
    scans, warnings = collected(two_people)
    assert [scan.sex for scan in scans] == ["F", "M"]
    assert scans[0].relative_path == "sub-01/anat/sub-01_T1w.nii.gz"
    assert (scans[0].subject, scans[0].session, scans[0].run) == ("01", None, None)
    assert all("is empty" in warning for warning in warnings)


def test_other_images_are_left_alone(make_dataset):
    images = [T1W, {"suffix": "T2w"}, {"part": "phase", **T1W}, {"acq": "lowres", **T1W}]
    root = make_dataset(
        {"01": {"anat": images, "func": [{"task": "rest", "suffix": "bold"}]}},
        files={"derivatives/x/sub-01/anat/sub-01_T1w.nii.gz": ""},
    )
    assert labels(root) == ["sub-01", "sub-01_acq-lowres"]


def test_only_wanted_labels(make_dataset):
    sessions = [
        {"session": "1", "anat": [{"run": "1", **T1W}, {"run": "2", **T1W}]},
        {"session": "2", "anat": [{"run": "1", **T1W}]},
    ]
    root = make_dataset({"01": sessions, "011": sessions, "02": sessions})
    assert labels(root, participant_label=("01",), session_label=("1",)) == [
        "sub-01_ses-1_run-1",
        "sub-01_ses-1_run-2",
    ]
    assert labels(root, participant_label=("02",), run_label=("02",)) == ["sub-02_ses-1_run-2"]


def test_only_the_wanted_participants_are_looked_at(make_dataset, monkeypatch):
    root = make_dataset({"01": {"anat": [T1W]}, "011": {"anat": [T1W]}, "02": {"anat": [T1W]}})
    walk, seen = os.walk, []

    def watched(folder, **options):
        seen.append(Path(folder).name)
        return walk(folder, **options)

    monkeypatch.setattr(os, "walk", watched)
    assert labels(root, participant_label=("01",)) == ["sub-01"]
    assert seen == [root.name, "sub-01"]


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"run": 1},
        {"run": "01"},
        {"echo": 2},
        {"session": ["a", None]},
        {"part": "*", "space": "orig"},
        {"extension": "nii"},
        {"extension": "*", "suffix": ["T1w", "T2w"]},
        {"acquisition": "Query.OPTIONAL", "datatype": "anat"},
        {"subject": ["02", "03"], "desc": None},
    ],
)
def test_the_listing_finds_what_an_index_of_pybids_finds(make_dataset, filters):
    names = (
        "sub-01/anat/sub-01_T1w.nii",
        "sub-01/anat/sub-01_T1w.json",
        "sub-01/anat/sub-01_acq-hi_run-01_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-hi_run-2_T1w.nii.gz",
        "sub-01/anat/sub-01_echo-2_part-mag_T1w.nii.gz",
        "sub-01/anat/sub-01_echo-02_part-phase_T1w.nii.gz",
        "sub-01/anat/.sub-01_T1w.nii.gz.swp",
        "sub-01/anat/sub-01_space-orig_part-real_T1w.nii.gz",
        "sub-01/func/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz",
        "sub-02/ses-a/.git/anat/sub-02_ses-a_T1w.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_run-1_T1w.nii.gz",
        "sub-02/ses-b/dwi/sub-02_ses-b_dwi.nii.gz",
        "sub-03/anat/sub-03_run-1_T1w.nii.gz",
        "sourcedata/sub-03/anat/sub-03_run-7_T1w.nii.gz",
    )
    root = make_dataset({"01": {"anat": [T1W]}}, files=dict.fromkeys(names, "x"))
    (root / "sub-04").symlink_to(root / "sub-03")
    (root / "filter.json").write_text(json.dumps({"t1w": filters}))
    options = {"bids_filter_file": root / "filter.json"} if filters else {}
    subjects = ["01", "02", "03", "04"]
    listed, _ = find_images(root, Selection(**options), subjects)
    database = root.parent / "index"
    indexed, _ = find_images(root, Selection(bids_database_dir=database, **options), subjects)
    assert listed == indexed
    assert listed


def test_unknown_label_lists_the_known(two_people):
    with pytest.raises(UsageError, match=r"`participant_label` 7: .* Known labels: 01 02"):
        collected(two_people, participant_label=("7",))


def test_no_subject_folder_is_no_input(tmp_path):
    with pytest.raises(NoInputError, match="no sub-"):
        collected(tmp_path)


def test_nothing_matches_shows_the_query(make_dataset):
    root = make_dataset({"01": [{"session": "a", "anat": [{"suffix": "T2w"}]}]})
    with pytest.raises(NoInputError, match=r"suffix=T1w.*participant=01.*session=b"):
        collected(root, session_label=("b",))


def test_participant_without_t1w_is_told_and_others_go_on(make_dataset):
    root = make_dataset({"01": {"anat": [T1W]}, "02": {"anat": [{"suffix": "T2w"}]}})
    scans, warnings = collected(root, participant_label=("01", "02"))
    assert [scan.subject for scan in scans] == ["01"]
    assert "No T1w image matches the selection for: 02." in warnings
    assert without_scans(["01", "02"], scans) == ["02"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"acquisition": "hi"}, ["sub-01_acq-hi"]),
        ({"acquisition": None}, ["sub-01"]),
        ({"acquisition": "*"}, ["sub-01_acq-hi", "sub-01_acq-lo"]),
        ({"acquisition": "Query.NONE"}, ["sub-01"]),
        ({"acquisition": ["hi", None]}, ["sub-01", "sub-01_acq-hi"]),
        ({"suffix": "T2w"}, ["sub-01"]),
    ],
)
def test_filter_file(make_dataset, filters, expected):
    images = [T1W, {"acq": "hi", **T1W}, {"acq": "lo", **T1W}, {"suffix": "T2w"}]
    root = make_dataset({"01": {"anat": images}}, files={"../f.json": {"t1w": filters}})
    assert labels(root, bids_filter_file=root / "../f.json") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "must look like"),
        ('{"t1w": {"acq": "x"}}', "acq is not an entity.*acquisition"),
        (None, "does not exist"),
    ],
)
def test_bad_filter_file(two_people, text, words):
    path = two_people.parent / "filter.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=words):
        collected(two_people, bids_filter_file=path)


def test_index_is_kept_and_a_stale_one_is_told(make_dataset):
    root = make_dataset({"01": {"anat": [T1W]}})
    database = root.parent / "index"
    assert labels(root, bids_database_dir=database) == ["sub-01"]
    new = root / "sub-02" / "anat"
    new.mkdir(parents=True)
    (new / "sub-02_T1w.nii.gz").touch()
    _, warnings = collected(root, bids_database_dir=database)
    assert any("does not know 02" in warning for warning in warnings)


def test_derivative_input_is_found(make_dataset):
    description = {
        "Name": "d",
        "BIDSVersion": "1.8.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "x"}],
    }
    root = make_dataset({"dataset_description": description, "01": {"anat": [T1W]}})
    assert labels(root) == ["sub-01"]


def test_missing_dataset_description_is_survived(two_people):
    (two_people / "dataset_description.json").unlink()
    assert labels(two_people) == ["sub-01", "sub-02"]


def test_one_age_for_two_sessions_is_noted_once_per_person(make_dataset):
    sessions = [{"session": "1", "anat": [T1W]}, {"session": "2", "anat": [T1W]}]
    root = make_dataset(
        {"01": sessions, "02": sessions},
        files={
            "participants.tsv": "participant_id age\nsub-01 30\nsub-02 40",
            "sub-02/sub-02_sessions.tsv": "session_id age\nses-1 40\nses-2 42",
        },
    )
    scans, warnings = collected(root)
    noted = [warning for warning in warnings if "same age" in warning]
    assert len(noted) == 1
    assert "sub-01_sessions.tsv" in noted[0]
    assert [scan.age.value for scan in scans] == [30.0, 30.0, 40.0, 42.0]


def test_people_without_age_are_listed(make_dataset):
    root = make_dataset({"01": {"anat": [T1W]}})
    _, warnings = collected(root)
    assert any("No age for sub-01" in warning for warning in warnings)


def test_age_column(make_dataset):
    root = make_dataset(
        {"01": {"anat": [T1W]}},
        files={"participants.tsv": "participant_id age scan_age\nsub-01 30 35"},
    )
    scans, _ = collected(root, age_column="scan_age")
    assert scans[0].age.value == 35.0
    with pytest.raises(UsageError, match=r"`age_column` years: .*age, participant_id, scan_age"):
        collected(root, age_column="years")


def test_double_participant_is_a_data_error(make_dataset):
    root = make_dataset(
        {"01": {"anat": [T1W]}},
        files={"participants.tsv": "participant_id age\nsub-01 30\nsub-01 30"},
    )
    with pytest.raises(DataError, match="more than once"):
        collected(root)


def test_two_files_for_one_name_are_a_data_error(make_dataset):
    images = [T1W, {"extension": ".nii", **T1W}]
    root = make_dataset({"01": {"anat": images}})
    with pytest.raises(DataError, match="several T1w files with the same outputs"):
        collected(root)


def test_link_without_target_says_how_to_get_it(two_people):
    image = two_people / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.unlink()
    image.symlink_to(two_people / ".git" / "annex" / "gone")
    scans, warnings = collected(two_people)
    assert len(scans) == 2
    assert any("datalad get" in warning for warning in warnings)


def test_content_that_is_elsewhere_is_fetched_when_asked(two_people, monkeypatch, caplog):
    image = two_people / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.unlink()
    image.symlink_to("../../.git/annex/objects/x")
    tools, asked = two_people.parent / "tools", two_people.parent / "asked"
    tools.mkdir()
    script = f'#!/bin/sh\necho "$PWD" "$@" > {asked}\nmkdir -p .git/annex/objects\n'
    (tools / "datalad").write_text(f"{script}echo x > .git/annex/objects/x\n")
    (tools / "datalad").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    _, warnings = collected(two_people)
    assert not asked.exists()
    assert any("link without target" in warning for warning in warnings)
    _, warnings = collected(two_people, datalad_get=True)
    assert asked.read_text() == f"{two_people} get -- sub-01/anat/sub-01_T1w.nii.gz\n"
    assert not any("link without target" in warning for warning in warnings)
    asked.unlink()
    collected(two_people, datalad_get=True)
    assert not asked.exists()


def test_what_cannot_be_fetched_is_told(two_people, monkeypatch, caplog):
    image = two_people / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.unlink()
    image.symlink_to("../../.git/annex/objects/x")
    tools = two_people.parent / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(MissingExecutableError, match="neither datalad nor git-annex"):
        collected(two_people, datalad_get=True)
    (tools / "datalad").write_text("#!/bin/sh\necho no remote has it >&2\nexit 1\n")
    (tools / "datalad").chmod(0o755)
    _, warnings = collected(two_people, datalad_get=True)
    assert "no remote has it" in caplog.text
    assert any("link without target" in warning for warning in warnings)


def test_age_notes_become_warnings(make_dataset):
    root = make_dataset(
        {"01": {"anat": [T1W]}},
        files={
            "participants.tsv": "participant_id age\nsub-01 240",
            "participants.json": json.dumps({"age": {"Units": "months"}}),
        },
    )
    scans, warnings = collected(root)
    assert scans[0].age.value == 20.0
    assert any("sub-01: participants.tsv: age converted from months" in line for line in warnings)


def test_what_tables_do_not_tell_of_targets_is_said(two_people):
    (two_people / "participants.tsv").write_text(
        "participant_id\tage\tsex\tdiagnosis\tvisit\n"
        "sub-01\t40\tmale\tCN\t1\nsub-02\t50\tf\tbipolar\tn/a\n"
    )
    scans, _ = collected(two_people)
    assert dict(scans[0].facts)["sex"] == "M"
    assert dict(scans[0].facts)["visit"] == "1", "not 1.0"
    diagnosis = Head("diagnosis", "classes", classes=("AD", "CN"))
    sex = Head("sex", "classes", classes=("F", "M"))
    assert target_messages(scans, [Head("age", "scalar"), sex]) == []
    (strange,) = target_messages(scans, [diagnosis])
    assert "says diagnosis bipolar of sub-02, which the model does not know" in strange
    assert "its classes are AD, CN" in strange
    (some,) = target_messages(scans, [Head("visit", "scalar")])
    assert "does not tell visit of sub-02" in some
    (absent,) = target_messages(scans, [Head("bmi", "scalar")])
    assert "tells bmi of nobody" in absent
