"""``brainage-model predict-table`` and ``train-table``: what they write, and what they refuse."""

from __future__ import annotations

import json
import shutil

import pytest

from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.cli.models import main
from bidsapp_brainage.errors import ExitCode
from bidsapp_brainage.io import read_json, read_tsv, write_tsv
from bidsapp_brainage.morphometry.card import find_card, list_cards, load_card
from bidsapp_brainage.morphometry.prediction import load_predictor

from .freesurfer import VERSIONS, write_person

SEVEN = VERSIONS[1]


@pytest.fixture(scope="module")
def card(table, tmp_path_factory):
    """A linear model of the small table."""
    folder = tmp_path_factory.mktemp("models")
    code = main([
        "train-table", str(table), str(folder), "--name", "tiny", "--scanner-column", "dataset",
        "--licence", "CC0",
    ])  # fmt: skip
    assert code == ExitCode.DONE
    return folder / "tiny.json"


def predict(card, *arguments):
    return main(["predict-table", *map(str, arguments), "--model", str(card)])


def row(out, subject, key="brainage"):
    (file,) = Derivatives(out, participants=[subject]).select(key)
    return read_tsv(file.path)


def test_training_leaves_datasets_out_and_tells_it_on_the_card(card):
    found = load_card(card)
    measured = found.raw["metrics"]["leave_one_scanner_out"]
    assert measured["n"] == 120
    assert measured["mae"] < 8, "the mean age errs by 15 years"
    assert 0.9 < found.calibration["coverage95"] <= 1
    assert found.training["n_scanners"] == 6
    assert {"thickness", "fraction", "size"} == {feature.kind for feature in found.features}
    names = {feature.name for feature in found.features}
    assert "5th-Ventricle" not in names, "hardly anybody has one"
    assert not names & {"eTIV", "age", "IQ"}, "a number is not yet a region"
    assert len(read_tsv(card.with_name("tiny_leftout.tsv"))) == 120


def test_a_table_is_predicted_like_its_ages(card, table, tmp_path):
    some = [f"{k:03d}" for k in range(20)]
    ages = ("--age-file", table, "--participant-label", *some)
    assert predict(card, table, tmp_path, *ages) == ExitCode.DONE
    errors = [abs(row(tmp_path, label)["gap"].iloc[0]) for label in some]
    assert sum(errors) / len(errors) < 8
    told = read_json(tmp_path / "sub-000/anat/sub-000_desc-tiny_brainage.json")
    assert told["Model"]["Name"] == "tiny"
    assert "unlike theirs" in told["Model"]["Interval"]
    assert undescribed("brainage", row(tmp_path, "000").columns) == []


def test_contributions_add_up_and_are_described(card, table, tmp_path):
    assert predict(card, table, tmp_path, "--participant-label", "007") == ExitCode.DONE
    regions, age = row(tmp_path, "007", "morphometry"), row(tmp_path, "007")
    assert undescribed("morphometry", regions.columns) == []
    start = load_predictor(load_card(card)).model.intercept
    assert regions["contribution"].sum() + start == pytest.approx(
        age["predicted_age"].iloc[0], abs=0.01
    )
    assert age["chronological_age"].isna().all()
    assert [f.scan for f in Derivatives(tmp_path).select("brainage")] == [(("sub", "007"),)]


def test_folders_of_every_version_get_an_age_and_sessions_keep_theirs(card, tmp_path, capsys):
    for place, version in enumerate(VERSIONS):
        write_person(tmp_path / "fs" / f"sub-{place}_ses-a", version)
    assert predict(card, tmp_path / "fs", tmp_path / "out") == ExitCode.DONE
    assert "Measured by FastSurfer 2.4.2, FreeSurfer 6," in capsys.readouterr().err
    seven, fast = row(tmp_path / "out", "1"), row(tmp_path / "out", "3")
    assert seven["session_id"].tolist() == ["ses-a"]
    assert "missing_regions" not in seven["flags"].iloc[0]
    assert "missing_regions" in fast["flags"].iloc[0]
    assert "lh_bankssts_thickness" in fast["flag_reasons"].iloc[0]
    path = tmp_path / "out/sub-1/ses-a/anat/sub-1_ses-a_desc-tiny_brainage.json"
    assert read_json(path)["MorphometrySoftware"] == "FreeSurfer 7.3.2"


def test_unusual_volumes_are_flagged_with_their_names(card, tmp_path):
    write_person(tmp_path / "fs/sub-1", SEVEN, {"Left-Hippocampus": 100.0})
    assert predict(card, tmp_path / "fs", tmp_path / "out") == ExitCode.DONE
    found = row(tmp_path / "out", "1")
    assert "unlike_training" in found["flags"].iloc[0]
    assert "Left-Hippocampus" in found["flag_reasons"].iloc[0]
    assert found["verdict"].iloc[0] == "do not use"


def test_one_broken_person_does_not_stop_the_others(card, tmp_path, capsys):
    for name in ("sub-1", "sub-2"):
        write_person(tmp_path / "fs" / name, SEVEN)
    path = tmp_path / "fs/sub-1/stats/aseg.stats"
    path.write_text(path.read_text()[:-60])
    assert predict(card, tmp_path / "fs", tmp_path / "out") == ExitCode.INCOMPLETE
    assert f"Left out: sub-1: {path}" in capsys.readouterr().err
    assert row(tmp_path / "out", "2")["predicted_age"].notna().all()
    shutil.rmtree(tmp_path / "fs/sub-2")
    assert predict(card, tmp_path / "fs", tmp_path / "other") == ExitCode.DATA
    assert not (tmp_path / "other").exists()


def test_too_few_measures_get_no_age(card, table, tmp_path, capsys):
    few = read_tsv(table)[["participant_id", "BrainSegVolNotVent", "Left-Hippocampus"]].head(2)
    write_tsv(tmp_path / "few.tsv", few)
    assert predict(card, tmp_path / "few.tsv", tmp_path / "out") == ExitCode.DATA
    assert "60 % are needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing", "out"], ExitCode.DATA, "missing does not exist"),
        (["", "out"], ExitCode.NO_INPUT, "holds no folder stats"),
        (["people.tsv", "out", "--participant-label", "x"], ExitCode.NO_INPUT, "none of x"),
        (["", "people.tsv", "out"], ExitCode.USAGE, "Give one folder"),
        (["people.tsv", "out", "--model", "nobody"], ExitCode.USAGE, "Known: fsridge"),
    ],
    ids=["no file", "no stats", "nobody of this name", "folder and table", "no model"],
)
def test_what_cannot_be_predicted_is_refused(table, tmp_path, capsys, arguments, code, words):
    shutil.copy(table, tmp_path)
    given = [
        str(tmp_path / one) if one in ("missing", "", "people.tsv", "out") else one
        for one in arguments
    ]
    assert main(["predict-table", *given]) == code
    assert words in capsys.readouterr().err


def test_training_refuses_tables_without_what_it_needs(table, tmp_path, capsys):
    start = ["train-table", str(table), str(tmp_path), "--name", "x", "--scanner-column"]
    assert main([*start, "site"]) == ExitCode.DATA
    assert "has no column site" in capsys.readouterr().err
    alone = tmp_path.parent / "alone.tsv"
    write_tsv(alone, read_tsv(table).assign(dataset="one"))
    assert main(["train-table", str(alone), *start[2:], "dataset"]) == ExitCode.DATA
    assert "names one dataset only" in capsys.readouterr().err
    write_tsv(alone, read_tsv(table).assign(lh_insula_thickness="2,5"))
    assert main(["train-table", str(alone), *start[2:], "dataset"]) == ExitCode.DATA
    assert "words where numbers belong, in lh_insula_thickness." in capsys.readouterr().err
    assert main([*start, "dataset", "--name", "a_b"]) == ExitCode.USAGE
    assert "--name a_b: use letters and digits" in capsys.readouterr().err
    assert main([*start, "dataset", "--parts", "1"]) == ExitCode.USAGE
    assert "--parts is 0, 2 or more" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_covariance_networks_give_residuals_of_regions(table, tmp_path):
    assert main([
        "train-table", str(table), str(tmp_path), "--name", "vnn", "--scanner-column", "dataset",
        "--architecture", "covariance", "--members", "1", "--parts", "2",
    ]) == ExitCode.DONE  # fmt: skip
    out = tmp_path / "out"
    label = ("--participant-label", "003")
    assert predict(tmp_path / "vnn.json", table, out, *label) == ExitCode.DONE
    regions = row(out, "003", "morphometry")
    assert regions["residual"].mean() == pytest.approx(0, abs=1e-3)
    assert regions["residual_z"].abs().max() < 10


def test_altered_weights_and_broken_cards_are_refused(card, tmp_path, capsys):
    for path in (card, card.with_suffix(".safetensors")):
        shutil.copy(path, tmp_path)
    weights = tmp_path / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    given = ["predict-table", str(tmp_path), str(tmp_path / "out"), "--model"]
    assert main([*given, str(tmp_path / "tiny.json")]) == ExitCode.RESOURCE
    assert "are not those of model card tiny" in capsys.readouterr().err
    raw = json.loads(card.read_text())
    raw["architecture"]["id"] = "forest"
    (tmp_path / "broken.json").write_text(json.dumps(raw))
    assert main([*given, str(tmp_path / "broken.json")]) == ExitCode.RESOURCE
    assert "architecture.id: 'forest' is not one of" in capsys.readouterr().err


@pytest.mark.parametrize("name", list_cards())
def test_models_that_come_with_the_app_load_and_say_what_they_are(name):
    found = find_card(name)
    assert load_predictor(found).center.shape == (len(found.features),)
    assert "CC0" in found.licence
    assert found.raw["metrics"]["leave_one_scanner_out"]["n"] == found.training["n_people"]
