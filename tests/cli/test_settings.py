from __future__ import annotations

import tomllib
from dataclasses import make_dataclass, replace
from pathlib import Path

import pytest

from bidsapp_brainage.cli.parser import build_parser
from bidsapp_brainage.cli.run import public_command_line, settings_from
from bidsapp_brainage.configuration import to_toml
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.settings import build_settings, configuration_hash, explanations, in_flags

FOLDERS = {"bids_dir": Path("/d/bids"), "output_dir": Path("/d/out")}


def from_line(*arguments: str):
    line = ["/d/bids", "/d/out", "participant", *arguments]
    return settings_from(vars(build_parser().parse_args(line)), line)


def test_defaults_are_those_of_the_settings_and_the_machine():
    settings = from_line()
    assert settings.processing.model == "sfcn2mm"
    assert settings.resources.nprocs >= 1
    assert settings.resources.memory_gb > 0
    assert settings.execution.work_dir == Path("work").absolute()
    assert settings.execution.run_uuid


def test_two_runs_have_two_names():
    assert from_line().execution.run_uuid != from_line().execution.run_uuid


def test_levels_are_run_in_order():
    line = ["/d/bids", "/d/out", "group", "participant", "group"]
    settings = settings_from(vars(build_parser().parse_args(line)))
    assert settings.analysis_level == ("participant", "group")


def test_command_line_wins_over_file_over_defaults(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[processing]\nmodel = "a"\natlas = "b"\n[resources]\nnprocs = 3\n')
    settings = from_line("--config-file", str(path), "--model", "c")
    assert settings.processing.model == "c"
    assert settings.processing.atlas == "b"
    assert settings.resources.nprocs == 3
    assert settings.resources.omp_nthreads == 2  # follows from the file's nprocs
    assert settings.processing.explain == ("occlusion",)


def test_configuration_goes_round(tmp_path):
    first = from_line(
        "--participant-label", "01", "--derivatives", "x=/d/out/x", "--sloppy", "--nprocs", "2",
        "--mem", "4G", "--age-file", "/d/bids/ages.tsv", "-w", "/scratch/w",
    )  # fmt: skip
    path = tmp_path / "app.toml"
    path.write_text(to_toml(first))
    second = from_line("--config-file", str(path), "-w", "/scratch/w")
    assert second.selection == first.selection
    assert second.resources == first.resources
    assert second.processing == first.processing
    assert second.execution.run_uuid != first.execution.run_uuid


def test_configuration_tells_no_path():
    text = to_toml(
        from_line(
            "--models-dir",
            "/home/jane/models",
            "-w",
            "/scratch/jane/work",
            "--bids-filter-file",
            "/d/bids/code/filter.json",
            "--bias-correction",
            "file:/home/jane/bias.json",
            "--derivatives",
            "fp=/home/jane/fp",
            "--atlas",
            "/home/jane/x_dseg.nii.gz",
        )  # fmt: skip
    )
    assert "jane" not in text
    assert "/d/" not in text
    content = tomllib.loads(text)
    assert content["selection"]["bids_filter_file"] == "<bids_dir>/code/filter.json"
    assert content["processing"]["models_dir"] == "<elsewhere>/models"
    assert content["execution"]["work_dir"] == "<work_dir>"
    assert "<output_dir>" in content["run"]["command_line"]


def test_path_that_was_not_recorded_must_be_given(tmp_path):
    path = tmp_path / "app.toml"
    path.write_text(to_toml(from_line("--models-dir", "/home/jane/models")))
    with pytest.raises(UsageError) as caught:
        from_line("--config-file", str(path))
    assert "give it as --models-dir" in in_flags(str(caught.value))
    settings = from_line("--config-file", str(path), "--models-dir", "/m")
    assert settings.processing.models_dir == Path("/m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", "not valid TOML"),
        ("[procesing]\nmodel = 'a'", "unknown section"),
        ("model = 'a'", "unknown section"),
        ("[processing]\nmodle = 'a'", "Did you mean 'model'"),
        ("[processing]\ndevice = 'cpu'", "no option 'device'. It belongs to [resources]"),
        ("[processing]\nexplain = ['shap']", "none, occlusion"),
        ("[resources]\nnprocs = '2'", "c.toml: nprocs = '2': expected a whole number, without quo"),
        ("[resources]\nnprocs = 'four'", "c.toml: nprocs = 'four': expected a whole number"),
        ("[resources]\nnprocs = [4]", "expected a whole number"),
        ("[resources]\nnprocs = true", "expected a whole number"),
        ("[resources]\nmem = '4G'", "Did you mean 'memory_gb'"),
        ("[resources]\nn_cpus = 4", "Did you mean 'nprocs'"),
        ("[resources]\nmemory_gb = '4G'", "expected a number, without quotes"),
        ("[resources]\nmemory_gb = inf", "inf is not an amount of memory"),
        ("[processing]\nsloppy = 'yes'", "expected true or false, without quotes"),
        ("[processing]\natlas = 3", "expected a text, in quotes"),
        ("[processing]\nmodels_dir = 3", "expected a path, in quotes"),
        ('[execution]\nwork_dir = "a\\u0000"', "expected a path, in quotes"),
        ("[processing]\nmodel = 2020-01-01", "expected a text, in quotes"),
        ("[selection]\nparticipant_label = '01'", "expected a list"),
        ("[selection]\nderivatives = [['a']]", "expected 2 values"),
        ("[selection]\nparticipant_label = ['0 1']", "--participant-label: '0 1' is not a BIDS"),
        ("[resources]\ndevice = 'gpu'", "--device: 'gpu' is not auto, cpu, cuda or cuda:N"),
        ("[resources]\nnprocs = 0", "--nprocs: 0 is not a whole number of 1 or more"),
        ("[resources]\nmemory_gb = -1.0", "--mem: -1.0 is not an amount of memory above zero"),
        ("[processing]\nbias_correction = 'perhaps'", "'perhaps' is not none, model or file:PATH"),
        ("[processing]\nshapley_permutations = 1", "2 or more"),
        ("[processing]\ncube_mm = 0", "--cube-size: 0.0 is not a size in mm between 0 and 100"),
        ("[processing]\noutput_spaces = ['MNI:2']", "res-N"),
        ("[processing]\noutput_spaces = ['MNI:res-x']", "N is a whole number"),
    ],
)
def test_bad_configuration_files(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        from_line("--config-file", str(path))
    assert words in in_flags(str(caught.value))


def test_values_of_a_file_are_kept_like_those_of_the_command_line(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        "[selection]\nparticipant_label = ['sub-01']\n"
        "[processing]\nbias_correction = 'file:b.json'\n"
    )
    settings = from_line("--config-file", str(path))
    assert settings.selection.participant_label == ("01",)
    assert settings.processing.bias_correction == f"file:{Path('b.json').absolute()}"


@pytest.mark.parametrize("word", ["reference", "reference:all"])
def test_a_calibration_by_the_group_changes_nothing_of_participants(word):
    plain, chosen = from_line(), from_line("--bias-correction", word)
    assert chosen.processing.bias_correction == word
    assert chosen.configuration_hash() == plain.configuration_hash()


#: The options of the first release; options that come later do not change this test.
FIRST_OPTIONS = (
    "model", "models_dir", "atlas", "atlases_dir", "explain", "level", "occlusion_baseline",
    "null_parcels", "cube_mm", "shapley_permutations", "bias_correction", "skull_strip",
    "output_spaces", "random_seed", "sloppy",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "digits"),
    [
        ((), "8ad434f7"),
        (("--explain", "cubes, shapley"), "fef36fdc"),
        (("--level", "minimal"), "78b0bce8"),
        (("--bias-correction", "file:x/b.json"), "81c1e248"),
        (("--cube-size", "6.5", "--null-parcels", "0", "--shapley-permutations", "9"), "56b9c62f"),
        (("--output-spaces", "A:res-2", "B", "--random-seed", "4", "--sloppy"), "e7328d85"),
    ],
)
def test_hash_of_equal_choices_stays(arguments, digits):
    """It stands in derivatives that people have."""
    processing = from_line(*arguments).processing
    values = {name: getattr(processing, name) for name in FIRST_OPTIONS}
    kind = make_dataclass("Processing", FIRST_OPTIONS, frozen=True)
    assert configuration_hash(kind(**values)) == digits


def test_missing_configuration_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        from_line("--config-file", str(tmp_path / "no.toml"))


def test_unknown_option_is_an_error():
    with pytest.raises(UsageError, match="Did you mean 'model'"):
        build_settings(Path("a"), Path("b"), ("participant",), {"modle": "x"})


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("/d/bids", "<bids_dir>"),
        ("/d/bids/code/f.json", "<bids_dir>/code/f.json"),
        ("--age-file=/home/jane/ages.tsv", "--age-file=<elsewhere>/ages.tsv"),
        ("file:/home/jane/b.json", "file:<elsewhere>/b.json"),
        ("fp=/home/jane/fp", "fp=<elsewhere>/fp"),
        ("participant", "participant"),
        ("MNI152NLin6Asym:res-2", "MNI152NLin6Asym:res-2"),
        ("--device=cuda:0", "--device=cuda:0"),
    ],
)
def test_command_line_is_told_without_paths(argument, shown):
    assert public_command_line([argument], from_line()).split()[-1] == shown


def test_hash_follows_what_changes_results_only():
    base = from_line().processing
    same = replace(base, models_dir=Path("/a/models"))
    assert configuration_hash(same) == configuration_hash(
        replace(base, models_dir=Path("/b/models"))
    )
    assert configuration_hash(base) != configuration_hash(replace(base, skull_strip="skip"))
    assert configuration_hash(replace(base, atlas="/a/x.nii.gz")) == configuration_hash(
        replace(base, atlas="/b/x.nii.gz")
    )


@pytest.mark.parametrize(
    ("arguments", "methods"),
    [
        ((), ("occlusion",)),
        (("--explain", "none"), ()),
        (("--explain", "shapley,cubes"), ("occlusion", "cubes", "shapley")),
        (("--explain", "cubes", "--level", "minimal"), ()),
    ],
)
def test_methods_of_explanation(arguments, methods):
    assert explanations(from_line(*arguments).processing) == methods
