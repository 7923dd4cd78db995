"""``brainage-model``: list, show, verify, and what a user sees of errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from bidsapp_brainage.cli.models import build_parser, main
from tests.model.tiny import make_card


@pytest.fixture(autouse=True)
def no_user_models(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINAGE_MODELS_DIR", str(tmp_path / "none"))


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "bidsapp_brainage.cli.models", *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


def test_help_is_quick_and_imports_nothing_heavy():
    seconds = []
    for _ in range(3):  # other processes may be in the way of one
        start = time.perf_counter()
        found = run("--help")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0
    assert found.returncode == 0
    for command in ("list", "show", "fetch", "import", "verify"):
        assert command in found.stdout


@pytest.mark.parametrize("command", ["list", "show", "fetch", "import", "verify"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    assert "--models-dir" in capsys.readouterr().out


def test_list_says_what_is_ready_and_what_must_be_fetched(tmp_path, capsys):
    make_card(tmp_path)
    assert main(["list", "--models-dir", str(tmp_path)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "ready" in rows["tiny"]
    assert "ready" in rows["sfcn2mm"]
    assert "to fetch" in rows["midi"]
    assert "5 x densenet" in rows["midi"]
    assert "~11.8 MB" in rows["sfcnukb"]  # from the number of parameters


def test_models_of_freesurfer_results_are_listed_and_shown(capsys):
    assert main(["list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "linear (FreeSurfer)" in rows["fsridge"]
    assert "6.70" in rows["fsridge"]
    assert main(["list", "--json"]) == 0
    sees = {row["name"]: row["sees"] for row in json.loads(capsys.readouterr().out)}
    assert (sees["fsridge"], sees["sfcn2mm"]) == ("FreeSurfer", "image")
    assert main(["show", "fsridge"]) == 0
    assert "a ridge regression on regional morphometry" in capsys.readouterr().out
    assert main(["verify", "fsridge"]) == 0
    assert "fsridge: ok" in capsys.readouterr().out
    assert main(["fetch", "fsridge"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_list_as_json(capsys):
    assert main(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sfcn2mm"]["state"] == "ready"
    assert rows["sfcn2mm"]["size_is_exact"] is True
    assert rows["pymentreg"]["non_commercial"] is True
    assert rows["pymentreg"]["mae"] == 3.9


def test_list_says_on_whose_people_an_error_was_measured(tmp_path, capsys):
    make_card(
        tmp_path,
        training={"cohort": "Somewhere"},
        metrics={"cross_validation": {"mae": 4.0}, "leave_one_scanner_out": {"mae": 6.0}},
    )
    assert main(["list", "--json", "--models-dir", str(tmp_path)]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["tiny"]["mae"], rows["tiny"]["people"]) == (6.0, "Somewhere (scanners left out)")
    assert rows["sfcnukb"]["people"] == "UK Biobank, test set of the authors"
    assert (rows["midi"]["mae"], rows["midi"]["people"]) == (None, None)
    assert all(row["people"] for row in rows.values() if row["mae"] is not None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "cannot be read as JSON"), ('{"name": "bad"}', "'weights' is a required property")],
)
def test_a_broken_card_says_why_in_its_row_and_hides_no_other(tmp_path, capsys, content, reason):
    make_card(tmp_path)
    (tmp_path / "bad.json").write_text(content)
    assert main(["list", "--models-dir", str(tmp_path)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "broken: Model card" in rows["bad"]
    assert reason in rows["bad"]
    assert "ready" in rows["tiny"]
    assert "ready" in rows["sfcn2mm"]
    assert main(["list", "--json", "--models-dir", str(tmp_path)]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert reason in found["bad"]["state"]
    assert main(["verify", "--models-dir", str(tmp_path)]) == 72
    out = capsys.readouterr().out
    assert "bad: FAILED" in out
    assert "tiny: ok" in out
    assert main(["show", "bad", "--models-dir", str(tmp_path)]) == 72


def test_show_tells_how_authors_preprocessed_and_how_the_app_differs(capsys):
    assert main(["show", "midi"]) == 0
    text = capsys.readouterr().out
    for part in ("preprocessing:", "  authors:", "    - HD-BET", "  differences:"):
        assert part in text


def test_show_prints_everything(tmp_path, capsys):
    assert main(["show", "nosa"]) == 0
    text = capsys.readouterr().out
    for part in ("Epoch_253_training_state.pkl", "n_parameters: 3085641", "state: to fetch", "LAS"):
        assert part in text
    make_card(tmp_path)
    assert main(["show", "tiny", "--json", "--models-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"


def test_verify_without_names_looks_at_all_that_are_there(tmp_path, capsys):
    card = make_card(tmp_path)
    assert main(["verify", "--models-dir", str(tmp_path)]) == 0
    assert "tiny: ok (2 files)" in capsys.readouterr().out
    with card.weights[1].path.open("ab") as stream:
        stream.write(b"0")
    assert main(["verify", "--models-dir", str(tmp_path)]) == 72
    out = capsys.readouterr().out
    assert "tiny: FAILED" in out
    assert "sfcn2mm: ok" in out  # one fault does not hide the rest


def test_a_missing_file_of_an_own_model_is_no_reason_to_skip_it(tmp_path, capsys):
    card = make_card(tmp_path)
    card.weights[0].path.unlink()
    assert main(["verify", "--models-dir", str(tmp_path)]) == 72
    assert "tiny: FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "nonsense"], 2, "Unknown model 'nonsense'"),
        (["fetch", "midi"], 2, "--accept-licence"),
        (["fetch", "nonsense"], 2, "Unknown model"),
        (["verify", "midi"], 72, ""),
    ],
)
def test_errors_are_one_line_with_the_documented_code(arguments, code, words, capsys):
    assert main(arguments) == code
    assert words in capsys.readouterr().err


def test_what_came_with_the_package_is_not_fetched(capsys):
    assert main(["fetch", "sfcn2mm"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_no_command_is_a_usage_error():
    assert run().returncode == 2


def test_a_reader_that_leaves_early_sees_no_traceback():
    command = f"{sys.executable} -m bidsapp_brainage.cli.models show midi | head -c 1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
