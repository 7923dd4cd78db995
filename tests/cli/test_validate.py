from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.cli import validate as module
from bidsapp_brainage.cli.validate import validate
from bidsapp_brainage.errors import BrainageError, NoInputError, UsageError
from bidsapp_brainage.settings import Settings, build_settings


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A folder with a model card by name (its content is not looked at here)."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny.json").write_text("{}")
    return folder


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    root = tmp_path / "bids"
    (root / "sub-01" / "anat").mkdir(parents=True)
    (root / "dataset_description.json").write_text("{}")
    return root


def make(bids: Path, card: Path, levels: tuple[str, ...] = ("participant",), **options: Any):
    output = options.pop("output_dir", bids.parent / "out")
    defaults = {"work_dir": bids.parent / "work", "model": "tiny", "models_dir": card}
    return build_settings(bids, output, levels, defaults | options)


def problem(settings: Settings) -> str:
    with pytest.raises(BrainageError) as caught:
        validate(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_good_settings_pass_without_a_word_and_write_nothing(bids, card):
    before = sorted(bids.parent.rglob("*"))
    assert validate(make(bids, card)) == []
    assert sorted(bids.parent.rglob("*")) == before


def test_missing_bids_dir(bids, card):
    assert "is not a folder" in problem(make(bids / "nope", card))


def test_group_needs_no_raw_data(bids, card):
    settings = make(bids / "nope", card, ("group",), output_dir=bids.parent / "out")
    assert validate(settings) == []


def test_reports_only_needs_no_raw_data(bids, card):
    settings = make(bids / "nope", card, reports_only=True, work_dir=bids.parent / "w")
    assert validate(settings) == []


def test_explain_only_needs_no_raw_data_and_may_be_tried_out(bids, card):
    settings = make(
        bids / "nope", card, explain_only=True, dry_run=True, work_dir=bids.parent / "w"
    )
    assert validate(settings) == []


def test_explain_only_is_of_the_participant_level(bids, card):
    assert "give participant" in problem(make(bids, card, ("group",), explain_only=True))


def test_what_explain_only_cannot_change_is_said(bids, card):
    (warning,) = validate(make(bids, card, explain_only=True, skull_strip="force"))
    assert warning.startswith("--skull-strip: without effect")


def test_same_input_and_output_suggests_derivatives(bids, card):
    assert "derivatives/bidsapp_brainage-" in problem(make(bids, card, output_dir=bids))


def test_same_folder_through_a_link(bids, card):
    link = bids.parent / "link"
    link.symlink_to(bids)
    assert "must not be BIDS_DIR" in problem(make(bids, card, output_dir=link))


def test_output_among_the_raw_data(bids, card):
    assert "inside a participant" in problem(make(bids, card, output_dir=bids / "sub-01" / "x"))


def test_output_under_derivatives_is_fine(bids, card):
    assert validate(make(bids, card, output_dir=bids / "derivatives" / "x")) == []


def test_output_below_a_file(bids, card):
    (bids.parent / "file").touch()
    words = problem(make(bids, card, output_dir=bids.parent / "file" / "out"))
    assert "is a file, not a folder" in words


def test_output_not_writable(bids, card, monkeypatch):
    real = os.access
    monkeypatch.setattr(
        module.os, "access", lambda path, mode: not mode & os.W_OK and real(path, mode)
    )
    words = problem(make(bids, card))
    assert "OUTPUT_DIR" in words
    assert ":ro" in words
    validate(make(bids, card, dry_run=True))  # writes nothing


def test_work_dir_inside_input(bids, card):
    assert "give another one with -w" in problem(make(bids, card, work_dir=bids / "work"))


@pytest.mark.parametrize("name", ["bids", "out"])
def test_work_dir_is_input_or_output(bids, card, name):
    assert "must not be" in problem(make(bids, card, work_dir=bids.parent / name))


def test_work_dir_inside_output_is_a_warning(bids, card):
    (warning,) = validate(make(bids, card, work_dir=bids.parent / "out" / "work"))
    assert "inside OUTPUT_DIR" in warning


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bids_filter_file": "/no/f.json"}, "--bids-filter-file /no/f.json"),
        ({"age_file": "/no/a.tsv"}, "--age-file /no/a.tsv"),
        ({"plugin_file": "/no/p.yml"}, "--use-plugin /no/p.yml"),
        ({"bias_correction": "file:/no/b.json"}, "--bias-correction /no/b.json"),
        ({"bias_correction": "reference"}, "belongs to the group level"),
        ({"explain": ["none", "cubes"]}, "none excludes the other methods"),
        ({"atlas": "/no/a_dseg.nii.gz"}, "--atlas /no/a_dseg.nii.gz"),
        ({"models_dir": "/no/models"}, "--models-dir /no/models"),
        ({"atlases_dir": "/no/atlases"}, "--atlases-dir /no/atlases"),
        ({"derivatives": [["x", "/no/x"]]}, "--derivatives /no/x"),
        ({"dry_run": True, "reports_only": True}, "exclude each other"),
        ({"explain_only": True, "reports_only": True}, "exclude each other"),
        ({"explain_only": True, "explain": ("none",)}, "exclude each other"),
        ({"explain_only": True, "level": "minimal"}, "exclude each other"),
        ({"model": "sfnc"}, r"--model sfnc: there is no such model card. Known: "),
        ({"participant_label": ["99"]}, "Known labels: 01"),
    ],
)
def test_each_problem_is_one_line_with_the_remedy(bids, card, options, words):
    settings = make(bids, card, **options)
    assert words in problem(settings)
    with pytest.raises(UsageError):
        validate(settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "say who the controls are"),
        ({"group_column": "diagnosis"}, "--reference-group"),
        ({"group_column": "diagnosis", "reference_group": "HC"}, ""),
        ({"bias_correction": "reference:all"}, ""),
    ],
)
def test_whom_sites_are_calibrated_on_is_said(bids, card, options, words):
    options = {"bias_correction": "reference", **options}
    settings = make(bids, card, ("participant", "group"), **options)
    if not words:
        validate(settings)
    else:
        assert words in problem(settings)


def test_filter_file_is_read_early(bids, card, tmp_path):
    path = tmp_path / "filter.json"
    path.write_text("{")
    assert "not valid JSON" in problem(make(bids, card, bids_filter_file=path))


def test_empty_dataset_is_no_input(tmp_path, card):
    root = tmp_path / "empty"
    root.mkdir()
    with pytest.raises(NoInputError):
        validate(make(root, card))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"sloppy": True}, "testing only"), ({"omp_nthreads": 4, "nprocs": 2}, "--omp-nthreads")],
)
def test_warnings(bids, card, options, words):
    assert any(words in warning for warning in validate(make(bids, card, **options)))


def test_missing_dataset_description_is_a_warning(bids, card):
    (bids / "dataset_description.json").unlink()
    assert any("dataset_description.json" in warning for warning in validate(make(bids, card)))


def test_every_check_accepts_what_is_good(bids, card):
    settings = replace(make(bids, card), analysis_level=("participant", "group"))
    assert [check(settings) for check in module.CHECKS] == [None] * len(module.CHECKS)
