from __future__ import annotations

import subprocess
import sys

import pytest

from bidsapp_brainage import __version__
from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.cli.parser import build_parser
from bidsapp_brainage.errors import ExitCode
from bidsapp_brainage.settings import all_options, in_flags

BASE = ["bids", "out", "participant"]
HEAVY = ("torch", "nipype", "nibabel", "pandas", "numpy", "bids", "niworkflows", "templateflow")


def parse(*arguments: str) -> dict:
    return vars(build_parser().parse_args([*BASE, *arguments]))


def heavy_after(code: str) -> str:
    program = f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def test_help_imports_nothing_heavy():
    code = (
        "from bidsapp_brainage.cli.run import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert e.code == 0"
    )
    assert heavy_after(code) == "[]"


def test_typo_is_told_before_anything_heavy():
    code = (
        "from bidsapp_brainage.cli.run import main\n"
        "assert main(['/nowhere', '/tmp/x', 'participant']) == 2"
    )
    assert heavy_after(code) == "[]"


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--participant-label", "sub-01", "02"], "participant_label", ["01", "02"]),
        (["--participant_label", "01"], "participant_label", ["01"]),
        (["--session-id", "ses-1"], "session_label", ["1"]),
        (["--session_label", "1"], "session_label", ["1"]),
        (["--run-id", "1"], "run_label", ["1"]),
        (["--nthreads", "3"], "nprocs", 3),
        (["--n_cpus", "3"], "nprocs", 3),
        (["--omp-nthreads", "2"], "omp_nthreads", 2),
        (["--mem", "8G"], "memory_gb", 8.0),
        (["--mem_mb", "2048"], "memory_gb", 2.0),
        (["--batch-size", "auto"], "batch_size", None),
        (["--batch-size", "16"], "batch_size", 16),
        (["--device", "cuda:1"], "device", "cuda:1"),
        (["--skull-strip-t1w", "force"], "skull_strip", "force"),
        (["--skip_bids_validation"], "skip_bids_validation", True),
        (["--boilerplate_only"], "boilerplate_only", True),
        (["--reports-only"], "reports_only", True),
        (["--dry-run"], "dry_run", True),
        (["--output-spaces", "MNI152NLin6Asym:res-2"], "output_spaces", ["MNI152NLin6Asym:res-2"]),
        (["-vv"], "verbose", 2),
        (["--notrack"], "notrack", True),
        (["--atlases", "X"], "atlas", "X"),
        (["--explain", "cubes, shapley"], "explain", ("cubes", "shapley")),
        (["--cube_size", "6.5"], "cube_mm", 6.5),
        (["--group_column", "diagnosis"], "group_column", "diagnosis"),
        (["--reference-group", "HC"], "reference_group", "HC"),
        (["--site-column", "scanner"], "site_column", "scanner"),
        (["--covariates", "iq", "snr"], "covariates", ["iq", "snr"]),
    ],
)
def test_options(arguments, name, value):
    assert parse(*arguments)[name] == value


def test_derivatives_may_be_named():
    named, plain = parse("-d", "fmriprep=/a/b", "/c/d")["derivatives"]
    assert (named[0], str(named[1])) == ("fmriprep", "/a/b")
    assert (plain[0], str(plain[1])) == ("d", "/c/d")


def test_both_levels():
    options = vars(build_parser().parse_args(["b", "o", "participant", "group"]))
    assert options["analysis_level"] == ["participant", "group"]


def test_what_is_not_given_leaves_no_trace():
    assert set(parse()) == {"bids_dir", "output_dir", "analysis_level"}


def test_every_option_has_a_field():
    actions = build_parser()._actions
    known = {*all_options(), "bids_dir", "output_dir", "analysis_level"}
    assert {action.dest for action in actions} - known == {"help", "version", "notrack"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--participant-label", "01,02"], "separated by spaces"),
        (["--nprocs", "0"], "1 or more"),
        (["--nprocs", "two"], "1 or more"),
        (["--mem", "lots"], "8G"),
        (["--device", "gpu"], "cuda:N"),
        (["--bias-correction", "yes"], "file:PATH"),
        (["--output-spaces", "MNI:2"], "res-N"),
        (["--skull-strip", "maybe"], "auto"),
        (["--explain", "occlusion,shap"], "'shap' is not one of none"),
        (["--cube-size", "0"], "between 0 and 100"),
        (["--viewer-mb", "-1"], "from 0 to 100"),
        (["--shapley-permutations", "1"], "2 or more"),
        (["--dry-run", "--reports-only"], "not allowed with"),
        (["--unknown"], "unrecognized"),
        (["--particip", "01"], "unrecognized"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == f"bidsapp-brainage v{__version__}"


def test_help_names_the_defaults(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    for word in ("BrainageDemo", "sfcn2mm", "--bids-filter-file", "Exit codes"):
        assert word in text


def test_help_lists_every_method_baseline_and_exit_code(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    offered = [card for card in METHODS if card.chosen != "automatic"]
    for card in (*offered, *BASELINES):
        assert card.key in text
        assert card.help in text
    for code in ExitCode:
        assert f"{code} {code.meaning}" in text


@pytest.mark.parametrize("card", METHODS, ids=lambda card: card.key)
def test_every_method_that_can_be_chosen_is_accepted(card):
    if card.chosen == "automatic":
        with pytest.raises(SystemExit):
            parse("--explain", card.key)
    else:
        assert parse("--explain", card.key)["explain"] == (card.key,)


def test_readers_of_messages_are_told_the_flags():
    assert in_flags("Check `models_dir` and `memory_gb`; `no_option` stays.") == (
        "Check --models-dir and --mem; `no_option` stays."
    )


def test_fetching_is_off_unless_it_is_asked_for_and_can_be_denied() -> None:
    parser = build_parser()
    line = ["bids", "out", "participant"]
    assert "datalad_get" not in vars(parser.parse_args(line))
    assert parser.parse_args([*line, "--datalad-get"]).datalad_get is True
    assert parser.parse_args([*line, "--no-datalad-get"]).datalad_get is False
    assert parser.parse_args([*line, "--datalad-get", "--no-datalad-get"]).datalad_get is False
