from __future__ import annotations

import json
import os
import sys
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
    settings = make(bids / "nope", card, ("group",), model="sfcn2mm")
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


def test_where_ratings_change_no_table_of_the_group_is_said(bids, card, tmp_path):
    table = tmp_path / "ratings.tsv"
    table.touch()
    given = {"ratings": (table,), "min_rating": 2, "factors": table}

    def told(*levels: str, **more: object) -> list[str]:
        warnings = validate(make(bids, card, levels, **given, **more))
        return [warning for warning in warnings if "rating" in warning]

    assert told("group") == []
    assert [warning.partition(":")[0] for warning in told("group", reports_only=True)] == [
        "--min-rating, --factors",
        "--ratings",
    ]
    (warning,) = told("participant")
    assert warning.startswith("--min-rating, --factors: without effect")


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
        ({"cluster": "/no/c.yaml"}, "--cluster /no/c.yaml is not a file"),
        ({"cluster": "local", "plugin_file": __file__}, "--cluster and --use-plugin exclude"),
        ({"bias_correction": "file:/no/b.json"}, "--bias-correction /no/b.json"),
        ({"bias_correction": "reference"}, "belongs to the group level"),
        ({"explain": ["none", "cubes"]}, "none excludes the other methods"),
        ({"explain": ["lrp"], "level": "minimal"}, "--level minimal explains nothing, so it excl"),
        ({"memory_gb": 8 / 1024}, "this run may use 8 MB (`memory_gb`, or what the job was given"),
        ({"memory_gb": 1 / 1024, "dry_run": True}, "for gigabytes write for example"),
        ({"atlas": "/no/a_dseg.nii.gz"}, "--atlas /no/a_dseg.nii.gz"),
        ({"models_dir": "/no/models"}, "--models-dir /no/models"),
        ({"atlases_dir": "/no/atlases"}, "--atlases-dir /no/atlases"),
        ({"derivatives": [["x", "/no/x"]]}, "--derivatives /no/x"),
        ({"dry_run": True, "reports_only": True}, "exclude each other"),
        ({"explain_only": True, "reports_only": True}, "exclude each other"),
        ({"explain_only": True, "explain": ("none",)}, "--explain-only excludes --explain none"),
        ({"explain_only": True, "level": "minimal"}, "excludes --explain none and every --level"),
        ({"explain": ["lrp"], "level": "fast"}, "--level fast explains nothing, so it excludes"),
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


def test_on_whom_sites_are_harmonised_is_said(bids, card):
    levels = ("participant", "group")
    chosen = {"harmonise": "combat", "group_column": "diagnosis"}
    assert "--reference-group" in problem(make(bids, card, levels, **chosen))
    validate(make(bids, card, levels, **chosen, reference_group="HC"))
    validate(make(bids, card, levels, harmonise="combat"))


def test_filter_file_is_read_early(bids, card, tmp_path):
    path = tmp_path / "filter.json"
    path.write_text("{")
    assert "not valid JSON" in problem(make(bids, card, bids_filter_file=path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"T1w": {"acquisition": "mprage"}}', 'has T1w, and nothing for "t1w" (in small letters)'),
        ('{"acquisition": "mprage"}', 'is read here: {"t1w": {"acquisition": "mprage"}}'),
        ('{"bold": {}}', "has bold"),
        ('{"t1w": "mprage"}', "must look like"),
        ('{"t1w": {"Acquisition": "mprage"}}', "Acquisition is not an entity of a T1w image"),
    ],
)
def test_filters_that_would_be_passed_over(bids, card, tmp_path, text, words):
    path = tmp_path / "filter.json"
    path.write_text(text)
    assert words in problem(make(bids, card, bids_filter_file=path))


@pytest.mark.parametrize(
    ("described", "refused"),
    [
        ({"DatasetType": "raw"}, True),
        ({"Name": "no type means raw"}, True),
        ({"DatasetType": "derivative"}, False),
        ({"PipelineDescription": {"Name": "fmriprep"}}, False),
        ({"GeneratedBy": [{"Name": "fMRIPrep"}]}, False),
    ],
)
def test_raw_data_are_no_derivatives(bids, card, tmp_path, described, refused):
    root = tmp_path / "other"
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps(described))
    settings = make(bids, card, derivatives=[["other", str(root)]])
    if refused:
        assert f"--derivatives {root} is a raw dataset" in problem(settings)
    else:
        assert validate(settings) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plugin: Nosuch", "nipype has no plugin 'Nosuch'; it has "),
        ("plugin: MultiProc\nplugin_args: {memory_gb: 0.5}", "give at least 1"),
        ("plugin: MultiProc\nplugin_args: {n_procs: four}", "n_procs: nprocs = 'four': expected"),
        ("- MultiProc", "expected YAML with"),
    ],
)
def test_plugin_files(bids, card, tmp_path, text, words):
    path = tmp_path / "plugin.yml"
    path.write_text(text)
    assert words in problem(make(bids, card, plugin_file=path))


def test_good_plugin_file(bids, card, tmp_path):
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: MultiProc\nplugin_args: {n_procs: 2, memory_gb: 4}")
    assert validate(make(bids, card, plugin_file=path)) == []


def test_group_level_of_a_model_without_predictions(bids, card, tmp_path):
    folder = tmp_path / "out" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_desc-tiny_brainage.tsv").touch()
    assert "has no predictions of it, but of tiny" in problem(
        make(bids, card, ("group",), model="nosuch")
    )
    (warning,) = validate(make(bids, card, ("group",), model="tiny", explain=("lrp",)))
    assert warning.startswith("--model, --explain: without effect on the group level")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_workers": 2}, "--cluster-workers: without effect, because --cluster starts no"),
        (
            {"level": "fast", "model": "tiny", "skull_strip": "skip"},
            "--skull-strip: without effect, because --level fast prepares",
        ),
        ({"level": "minimal", "atlas": "Nope"}, "--atlas: without effect, because nothing is exp"),
        ({"explain": ("none",), "cube_mm": 4.0}, "--cube-size: without effect, because nothing"),
        ({"cube_mm": 4.0}, "--cube-size: without effect, because --explain does not name cubes"),
    ],
)
def test_options_without_effect_are_named(bids, card, options, words):
    (warning,) = validate(make(bids, card, **options))
    assert warning.startswith(words)


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


@pytest.mark.parametrize("engine", ["explain_only", "cluster", "plugin_file"])
@pytest.mark.parametrize(
    "asked", [{"resource_monitor": True}, {"pdb": True}, {"crashfile_format": "pklz"}]
)
def test_what_is_about_nodes_is_refused_where_others_run_them(bids, card, tmp_path, engine, asked):
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: Linear\n")
    value = {"explain_only": True, "cluster": "local", "plugin_file": plugin}[engine]
    settings = make(bids, card, **asked, **{engine: value})
    if (engine, asked) == ("plugin_file", {"crashfile_format": "pklz"}):
        assert validate(settings) == []
    else:
        assert "so it excludes --" in problem(settings)


def test_a_debugger_needs_a_terminal(bids, card, monkeypatch):
    settings = make(bids, card, pdb=True)
    assert "needs a terminal" in problem(settings)
    monkeypatch.setattr(module.sys.stdin, "isatty", lambda: True, raising=False)
    assert validate(settings) == []


def test_carbon_needs_a_country_and_the_library(bids, card, monkeypatch):
    assert "needs --country-code" in problem(make(bids, card, track_carbon=True))
    assert "is for --track-carbon" in problem(make(bids, card, country_code="DEU"))
    both = {"track_carbon": True, "country_code": "DEU"}
    assert "works on others" in problem(make(bids, card, cluster="slurm", **both))
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    assert "bidsapp-brainage[carbon]" in problem(make(bids, card, **both))
