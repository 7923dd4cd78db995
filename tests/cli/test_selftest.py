"""``brainage-model selftest``: what it runs, what it says, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.cli.models import main
from bidsapp_brainage.demo.references import IMAGES, prepared_input
from bidsapp_brainage.errors import ExitCode
from bidsapp_brainage.model.cards import bundled_folder, load_card
from tests.model.tiny import SHAPE, make_card

AGES = {"90": 35.0, "91": 30.0, "92": 70.0}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that choose a tiny model of the user."""
    monkeypatch.setenv("BRAINAGE_MODELS_DIR", str(tmp_path / "none"))
    volume = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    prepared = volume, np.ones(SHAPE, np.int16)
    monkeypatch.setattr("bidsapp_brainage.demo.references.prepared_input", lambda card: prepared)
    monkeypatch.setattr("bidsapp_brainage.demo.known_answers._template_digest", lambda: "abc")
    make_card(tmp_path / "models")
    return ["tiny", "--models-dir", str(tmp_path / "models"), "--device", "cpu"]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """In the place of the app: writes the tables of all references, or fails."""

    def install(code: int = 0, shift: float = 0.0, without: str = "") -> list[list[str]]:
        calls: list[list[str]] = []

        def run(arguments: list[str]) -> int:
            calls.append(list(arguments))
            for label, age in AGES.items():
                if label != without and code == 0:
                    write_tables(Path(arguments[1]), label, age + shift)
            return code

        monkeypatch.setattr("bidsapp_brainage.cli.run.main", run)
        monkeypatch.setattr(
            "bidsapp_brainage.demo.references.write_references", lambda folder: folder
        )
        return calls

    return install


def write_tables(output: Path, label: str, age: float) -> None:
    row = {"predicted_age": age, "ci95_lower": age - 10, "ci95_upper": age + 10}
    scan = {"sub": label}
    io.write_tsv(output_path(output, "brainage", scan, model="tiny"), pd.DataFrame([row]))
    names = [f"region {k}" for k in range(20)]
    regions = pd.DataFrame({"name": names, "abs_delta_age": [float(k) for k in range(20)]})
    labels = {"space": "MNI152NLin2009aSym", "atlas": "BrainageDemo"}
    io.write_tsv(output_path(output, "table", scan, model="tiny", **labels), regions)


def recorded(own: list[str]) -> dict:
    card = json.loads((Path(own[2]) / "tiny.json").read_text())
    return card["selftest"]


def test_recorded_answers_are_given_again(own, app, capsys) -> None:
    calls = app()
    assert main(["selftest", *own, "--record"]) == 0
    assert set(recorded(own)["answers"]) == {"prepared", *IMAGES}
    assert recorded(own)["answers"]["older"]["regions"][0] == "region 19"
    assert calls[0][2] == "participant"
    assert calls[0][calls[0].index("--model") + 1] == "tiny"
    capsys.readouterr()
    assert main(["selftest", *own, "--nprocs", "2"]) == 0
    out = capsys.readouterr().out
    assert "all 11 answers are as recorded" in out
    assert "DEVIATES" not in out
    assert calls[1][calls[1].index("--nprocs") + 1] == "2"


def test_a_deviation_has_its_own_exit_code_and_likely_causes(own, app, capsys) -> None:
    app()
    assert main(["selftest", *own, "--record"]) == 0
    path = Path(own[2]) / "tiny.json"
    card = json.loads(path.read_text())
    card["selftest"]["recorded_with"]["SimpleITK"] = "1.0"
    path.write_text(json.dumps(card))
    app(shift=5.0)
    assert main(["selftest", *own]) == ExitCode.DEVIATION == 76
    out = capsys.readouterr().out
    assert "DEVIATES  older: age 75.00, expected 70.00" in out
    assert "the network answers as it should" in out
    assert "1.0 when recorded" in out


def test_other_weights_are_the_likely_cause(own, app, capsys) -> None:
    app()
    assert main(["selftest", *own, "--record"]) == 0
    known = recorded(own)
    make_card(Path(own[2]), seed=7, selftest=known)
    assert main(["selftest", *own, "--quick"]) == 76
    assert "record anew" in capsys.readouterr().out


def test_quick_runs_the_network_alone(own, app, capsys) -> None:
    calls = app()
    assert main(["selftest", *own, "--record"]) == 0
    capsys.readouterr()
    assert main(["selftest", *own, "--quick"]) == 0
    assert len(calls) == 1
    assert "all 2 answers are as recorded" in capsys.readouterr().out


def test_without_known_answers_nothing_is_made_up(own, app, capsys) -> None:
    calls = app()
    assert main(["selftest", *own]) == 0
    assert calls == []
    assert "nothing to compare with" in capsys.readouterr().out


def test_failure_of_the_app_is_the_exit_code(own, app) -> None:
    app(code=72)
    assert main(["selftest", *own, "--record"]) == 72
    assert "selftest" not in json.loads((Path(own[2]) / "tiny.json").read_text())


def test_a_missing_table_is_named(own, app, capsys) -> None:
    app(without="91")
    assert main(["selftest", *own, "--record"]) == 65
    assert "lacks the tables of sub-91" in capsys.readouterr().err


def test_results_are_kept_where_asked_for(own, app, tmp_path) -> None:
    calls = app()
    assert main(["selftest", *own, "--record", "--out", str(tmp_path / "kept")]) == 0
    assert calls[0][1] == str(tmp_path / "kept" / "bidsapp_brainage")
    assert (tmp_path / "kept" / "bidsapp_brainage" / "sub-90").is_dir()


@pytest.mark.parametrize(("name", "words"), [("sfcnukb", "2952936 parameters"), ("nosa", "valid")])
def test_of_a_model_without_weights_its_card_and_network_are_checked(
    name, words, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("BRAINAGE_MODELS_DIR", str(tmp_path / "none"))
    assert main(["selftest", name]) == 72
    out, err = capsys.readouterr()
    assert words in out
    assert f"brainage-model fetch {name}" in err


def test_a_number_of_parameters_that_is_not_the_networks_is_found(tmp_path, capsys) -> None:
    card = make_card(tmp_path)
    raw = card.raw | {"architecture": card.architecture | {"n_parameters": 7}}
    (tmp_path / "tiny.json").write_text(json.dumps(raw))
    card.weights[0].path.unlink()
    assert main(["selftest", "tiny", "--models-dir", str(tmp_path)]) == 72
    assert "n_parameters: 7, but the network has" in capsys.readouterr().err


def test_an_import_ends_with_the_quick_self_test(own, tmp_path, capsys) -> None:
    file = tmp_path / "models" / "tiny_fold-1.safetensors"
    assert main(["import", str(file), "--card", "tiny", *own[1:3]]) == 0
    out = capsys.readouterr().out
    assert "complete" in out
    assert "nothing to compare with" in out


@pytest.mark.parametrize("name", ["sfcn2mm", "sfcnukb"])
def test_the_prepared_input_is_what_the_card_asks_for(name) -> None:
    card = load_card(bundled_folder() / f"{name}.json")
    volume, mask = prepared_input(card)
    assert (mask.max() > 1) == (name == "sfcn2mm")  # regions, or a mask
    assert volume.shape == card.shape
    assert np.isfinite(volume).all()
    assert volume.std() > 0.1


def test_the_shipped_model_answers_as_its_card_says() -> None:
    assert main(["selftest", "sfcn2mm", "--quick", "--device", "cpu"]) == 0


def test_the_card_that_ships_knows_the_answers_to_all_references() -> None:
    known = load_card(bundled_folder() / "sfcn2mm.json").raw["selftest"]
    assert set(known["answers"]) == {"prepared", *IMAGES}
    assert known["recorded_with"]["device"] == "cpu"
