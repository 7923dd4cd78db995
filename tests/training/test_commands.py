"""The commands of ``brainage-model`` that train, end to end on toy brains."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bidsapp_brainage.cli.models import build_parser, main
from bidsapp_brainage.io import read_tsv, save_nifti, write_tsv
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.plausibility.flags import raised
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.model.weights.files import verify_weights
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training.crossval import CrossValidation
from bidsapp_brainage.training.data.cohort import find_cohort
from bidsapp_brainage.training.evaluation import change_table, predict_cohort
from tests.training.people import SHAPE, TINY, brain, recipe, toys, write_people

ALL_EPOCHS = ["--epochs", "40", "--learning-rate", "0.03", "--copies", "0"]
QUICK = {"ema_decay": 0.9, "mixing": 0.3, "mean_weight": 0.2}


def write_recipe(folder: Path, **changes) -> str:
    plan = recipe(**changes)
    path = folder / "mine.json"
    path.write_text(json.dumps({"card": plan.card, "training": plan.choices()}))
    return str(path)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("ten"), n=10)[0]


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    """Ten people, five folds, through the command line: the folder with the model."""
    out = tmp_path_factory.mktemp("trained")
    started = time.process_time()
    plan = write_recipe(out, **QUICK)
    code = main(["train", str(people), str(out), "--recipe", plan, "--folds", "5",
                 "--cohort-name", "toys", "--external", "same", str(people),
                 str(people / "participants.tsv"), *ALL_EPOCHS])  # fmt: skip
    assert code == 0
    assert time.process_time() - started < 110
    return out


def test_ten_people_are_enough_for_the_planted_effect(trained):
    table = read_tsv(trained / "tiny_oof.tsv")
    assert len(table) == 10
    assert np.corrcoef(table.age, table.predicted_age)[0, 1] > 0.8
    error = (table.predicted_age - table.age).abs().mean()
    assert error < 0.6 * (table.age - table.age.mean()).abs().mean()


def test_the_card_is_whole_and_tells_how_it_was_made(trained):
    card = load_card(trained / "tiny.json")
    verify_weights(card)
    assert len(card.weights) == 5
    assert card.age_range == (20.0, 80.0)
    assert card.metrics["cross_validation"]["n"] == 10
    assert card.metrics["external"]["same"]["n"] == 10
    assert card.bias_correction is not None
    assert card.calibration["sd_scale"] > 0
    assert card.training["cohort"] == "toys"
    assert card.training["recipe"]["n_folds"] == 5
    curve = read_tsv(trained / "work" / "fold-1_seed-1" / "curve.tsv")
    assert len(curve) == 40
    assert curve.loss.iloc[-1] < curve.loss.iloc[0]


def test_evaluate_prints_and_writes_the_table(people, trained, tmp_path, capsys):
    code = main(["evaluate", str(trained / "tiny.json"), f"toys={people}", "--n-boot", "50",
                 "--out", str(tmp_path), "--oof", str(trained / "tiny_oof.tsv"),
                 "--robustness", "again", str(people)])  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert "mae_mean_age" in printed
    assert "coverage95" in printed
    found = read_tsv(tmp_path / "accuracy.tsv")
    assert set(found.cohort) == {"toys", "out-of-fold"}
    assert {"all", "sex=F", "sex=M"} <= set(found.subset)
    table = read_tsv(tmp_path / "toys.tsv")
    value = found[(found.cohort == "toys") & (found.metric == "mae") & (found.subset == "all")]
    assert float(value.value.iloc[0]) == pytest.approx(
        (table.predicted_age - table.age).abs().mean(), rel=1e-4
    )
    changes = read_tsv(tmp_path / "robustness.tsv")
    assert changes.median_abs_change.tolist() == [0]
    assert changes.n.tolist() == [10]


def test_evaluate_reads_the_tables_of_other_tools(tmp_path, capsys):
    ages = np.linspace(20, 80, 12)
    write_tsv(
        tmp_path / "theirs.tsv",
        pd.DataFrame(
            {
                "participant_id": [f"sub-{i}" for i in range(12)],
                "chronological_age": ages,
                "predicted_age": ages + np.resize([3.0, -3.0], 12),
            }
        ),
    )
    assert main(["evaluate", "-", str(tmp_path / "theirs.tsv"), "--n-boot", "50"]) == 0
    assert "3.00" in capsys.readouterr().out


def test_evaluate_tells_when_a_version_flattens_the_scale(tmp_path, capsys):
    ages = np.linspace(20, 80, 12)
    people = [f"sub-{i}" for i in range(12)]
    for name, predicted in (("first", ages + 1), ("flat", 50 + (ages - 50) / 2)):
        table = pd.DataFrame({"participant_id": people, "age": ages, "predicted_age": predicted})
        write_tsv(tmp_path / f"{name}.tsv", table)
    unknown = table.drop(columns="age")
    write_tsv(tmp_path / "unknown.tsv", unknown)
    versions = ["--robustness", "flat", str(tmp_path / "flat.tsv")]
    arguments = ["evaluate", "-", str(tmp_path / "first.tsv"), *versions, "--n-boot", "20"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    changes = read_tsv(tmp_path / "out" / "robustness.tsv")
    assert changes.reference_slope.tolist() == pytest.approx([1])
    assert changes.slope.tolist() == pytest.approx([0.5])
    assert "reference_slope" in capsys.readouterr().out
    ageless = change_table(unknown, {"flat": unknown})
    assert ageless[["reference_slope", "slope"]].isna().all(axis=None)


def test_finetune_reports_against_training_from_scratch(people, trained, tmp_path, capsys):
    card = load_card(trained / "tiny.json")
    code = main(["finetune", str(trained / "tiny.json"), str(people), str(tmp_path), "--target",
                 "sex,age", "--epochs", "2", "--freeze", "2", "--tta"])  # fmt: skip
    assert code == 0
    new = load_card(tmp_path / "tinySexAge.json")
    assert [head.name for head in new.heads] == ["sex", "age"]
    assert new.prediction["tta"]["flip"]
    assert new.licence.startswith("derived from tiny: CC0")
    old, tuned = (load_file(model.weights[0].path) for model in (card, new))
    first, later = "feature_extractor.conv_0.0.weight", "feature_extractor.conv_2.0.weight"
    assert torch.allclose(old[first], tuned[first], atol=1e-6)
    assert not torch.allclose(old[later], tuned[later])
    found = read_tsv(tmp_path / "comparison.tsv")
    assert set(found.cohort) == {"fine-tuned", "from scratch"}
    assert {"balanced_accuracy", "auc", "mae", "r2"} <= set(found.metric)
    folds = [read_tsv(tmp_path / work / "oof.tsv").fold for work in ("work", "work-scratch")]
    assert folds[0].tolist() == folds[1].tolist()
    assert "from scratch" in capsys.readouterr().out
    # the app predicts the age of a network with several heads
    result = predict(load_members(new), np.zeros(SHAPE, np.float32), new)
    assert result.n_tta == 8
    assert main(["evaluate", str(tmp_path / "tinySexAge.json"), str(people), "--n-boot", "20"]) == 0
    assert "balanced_accuracy" in capsys.readouterr().out


def test_networks_start_from_those_of_the_same_fold(tmp_path):
    start = tuple(tmp_path / f"{fold}-{seed}" for fold in range(3) for seed in range(2))
    run = CrossValidation(toys(write_people(tmp_path)), recipe(n_seeds=3), tmp_path, start)
    for fold, seed in run.members:
        assert run.start_of(fold, seed).name == f"{fold}-{seed % 2}"
    few = dataclasses.replace(run, start=start[:1])
    assert {few.start_of(*member) for member in few.members} == {start[0]}


def test_other_folds_than_the_models_are_warned_of(people, trained, tmp_path, caplog):
    base = ["finetune", str(trained / "tiny.json"), str(people), "--target", "sex", "--epochs", "1",
            "--no-scratch"]  # fmt: skip
    assert main([*base, str(tmp_path / "a")]) == 0
    assert "was not made with these folds" not in caplog.text
    assert main([*base, str(tmp_path / "b"), "--folds", "2"]) == 0
    assert "was not made with these folds" in caplog.text


def test_a_model_without_age_can_be_trained_and_evaluated(people, tmp_path, capsys):
    plan = write_recipe(tmp_path)
    out = tmp_path / "out"
    assert main(["train", str(people), str(out), "--recipe", plan, "--target", "sex:binary",
                 "--epochs", "1", "--folds", "2", "--name", "sexer"]) == 0  # fmt: skip
    assert main(["evaluate", str(out / "sexer.json"), str(people), "--n-boot", "20"]) == 0
    assert "auc" in capsys.readouterr().out


def test_two_stages_through_the_command_line(people, tmp_path):
    plan = write_recipe(tmp_path)
    assert main(["train", str(people), str(tmp_path), "--recipe", plan, "--epochs", "2",
                 "--folds", "2", "--refine", "5", "--seeds", "2"]) == 0  # fmt: skip
    card = load_card(tmp_path / "tiny.json")
    assert card.architecture["id"] == "refined"
    assert len(card.weights) == 4
    result = predict(load_members(card), np.zeros(SHAPE, np.float32), card)
    assert len(result.member_ages) == 4


def test_other_modalities_are_brought_to_the_grid_of_the_recipe(tmp_path):
    folder = tmp_path / "bids"
    spec = recipe().card["input"]
    half = np.array(spec["affine"]) @ np.diag([0.5, 0.5, 0.5, 1])
    ages = np.linspace(20, 80, 6)
    for index, age in enumerate(ages):
        fine = np.kron(brain(age, index), np.ones((2, 2, 2), np.float32))
        image = nib.Nifti1Image(np.where(fine != 0, 100 + 10 * fine, 0).astype("f4"), half)
        save_nifti(image, folder / f"sub-{index}" / "anat" / f"sub-{index}_space-MNI_FLAIR.nii.gz")
    names = [f"sub-{i}" for i in range(6)]
    write_tsv(folder / "participants.tsv", pd.DataFrame({"participant_id": names, "age": ages}))
    plan = write_recipe(tmp_path)
    out = tmp_path / "out"
    arguments = [str(folder), str(out), "--recipe", plan, "--epochs", "1", "--folds", "2"]
    assert main(["train", *arguments, "--input-suffix", "FLAIR", "--name", "flair"]) == 0
    assert load_card(out / "flair.json").training["inputs"]["suffix"] == "FLAIR"
    assert main(["evaluate", str(out / "flair.json"), str(folder), "--n-boot", "20"]) == 0


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--jobs", "0"], 2, "--jobs"),
        (["--target", "iq"], 65, "lacks the column iq"),
        (["--target", "age:number"], 2, "NAME:KIND"),
        (["--architecture", "vgg"], 72, "'vgg' is unknown"),
        (["--folds", "30"], 65, "cannot fill 30 folds"),
        (["--epochs", "0"], 2, "epochs is too small"),
        (["--refine", "5", "--target", "sex"], 2, "--refine"),
        (["--input-desc", "nothing"], 66, "desc-nothing"),
        (["--participants", "/nowhere.tsv"], 65, "does not exist"),
    ],
)
def test_train_says_what_is_wrong(people, tmp_path, capsys, more, code, message):
    base = ["train", str(people), str(tmp_path), "--recipe", write_recipe(tmp_path)]
    assert main([*base, *more]) == code
    assert message in capsys.readouterr().err


def test_raw_images_are_sent_to_the_participant_level(tmp_path, capsys):
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4))
    save_nifti(image, tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-1\t30\n")
    assert main(["train", str(tmp_path), str(tmp_path / "out")]) == 66
    assert "participant --explain none" in capsys.readouterr().err


def test_calibrate_and_evaluate_say_what_is_missing(trained, capsys):
    card = str(trained / "tiny.json")
    assert main(["calibrate", card]) == 2
    assert main(["calibrate", card, "--oof", str(trained / "tiny_oof.tsv")]) == 65
    assert "a 95 % interval needs 22" in capsys.readouterr().err
    assert main(["evaluate", card]) == 2
    assert main(["evaluate", "-", str(trained)]) == 2


def test_calibrate_on_new_people(tmp_path, capsys, trained):
    folder = write_people(tmp_path, n=24)[0]
    card = str(trained / "tiny.json")
    assert main(["calibrate", card, str(folder), "--out", str(tmp_path / "new")]) == 0
    assert "24 people" in capsys.readouterr().out
    assert load_card(tmp_path / "new" / "tiny.json").calibration["n"] == 24


def test_features_of_the_same_people_make_the_interval_grow(tmp_path, capsys, trained):
    card = str(trained / "tiny.json")
    tables, places = [], []
    for name, n in (("near", 26), ("far", 24)):
        folder = write_people(tmp_path / name, n=n)[0]
        places.append(f"{name}={folder}")
        cohort = find_cohort(folder, TINY, folder / "participants.tsv")
        tables.append(predict_cohort(load_card(trained / "tiny.json"), cohort))
        write_tsv(tmp_path / f"{name}.tsv", tables[-1])
    features = str(tmp_path / "features.tsv")
    assert main(["features", card, *places, "--out", features]) == 0
    described = read_tsv(Path(features))
    assert described.scanner.value_counts().to_dict() == {"near": 26, "far": 24}
    assert {"input_p50", "encoder_000"} <= set(described)
    given = [f"{name}={tmp_path / name}.tsv" for name in ("near", "far")]
    made = ["--features", features, "--out", str(tmp_path / "new")]
    assert main(["calibrate", card, "--oof", *given, *made]) == 0
    printed = capsys.readouterr().out
    assert "conformal_distance" in printed
    assert re.search(r"near +26 +\d+\.\d %", printed)
    new = load_card(tmp_path / "new" / "tiny.json")
    assert set(new.calibration["coverage_by_scanner"]) == {"near", "far"}
    volume = brain(50.0, 0)
    usual, noise = (
        predict(load_members(new), picture, new)
        for picture in (volume, np.random.default_rng(0).normal(0, 3, SHAPE))
    )
    assert noise.distance > max(1.0, 3 * usual.distance)
    assert noise.ci95_upper - noise.ci95_lower > usual.ci95_upper - usual.ci95_lower
    assert "unlike_training" in [flag.key for flag in raised(noise.findings)]


def test_a_killed_training_goes_on_to_the_same_result(people, tmp_path):
    plan = write_recipe(tmp_path, n_folds=2)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "bidsapp_brainage.cli.models", "train", str(people)]
    options = ["--recipe", plan, "--epochs", "25", "--copies", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command, str(killed), *options], env=environment, stderr=subprocess.DEVNULL
    )
    checkpoint = killed / "work" / "fold-1_seed-1" / "checkpoint.pt"
    until = time.monotonic() + 60
    while not checkpoint.is_file() and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "tiny.json").exists()
    for out in (killed, whole):
        assert main(["train", str(people), str(out), *options]) == 0
    hashes = [[weight.sha256 for weight in load_card(out / "tiny.json").weights]
              for out in (killed, whole)]  # fmt: skip
    assert hashes[0] == hashes[1]


def test_options_that_the_page_on_training_names_exist() -> None:
    parser = build_parser()
    commands = next(action for action in parser._actions if action.choices)
    known = {
        option
        for command in ("train", "finetune", "prune", "calibrate", "evaluate")
        for action in commands.choices[command]._actions
        for option in action.option_strings
    }
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    foreign = {"--explain", "--level", "--models-dir", "--model"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - foreign <= known
