from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bidsapp_brainage.training.__main__ import main
from bidsapp_brainage.training.report import accuracy, bias_line, sd_scale
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.cards import load_card, verify_weights
from bidsapp_brainage.training import crossval, loop
from bidsapp_brainage.training.cohort import find_cohort, load_volume
from bidsapp_brainage.training.loop import (
    Labels,
    Split,
    learning_rate_factor,
    predict_scans,
    train_network,
)
from bidsapp_brainage.training.pool import STEPS_PER_SD, make_pool
from tests.model.tiny import card_dict
from tests.training.people import recipe, write_people

OUTPUT = card_dict()["output"]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def cohort(people):
    return find_cohort(*people, "tiny")


def weights(network):
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(14, 88), min_size=1, max_size=5), st.floats(0.5, 6))
def test_soft_labels_are_distributions_around_the_age(ages, sd):
    labels = Labels(OUTPUT, sd)
    soft = labels.soft(torch.tensor(ages))
    assert torch.allclose(soft.sum(dim=1), torch.ones(len(ages)), atol=1e-5)
    inner = [i for i, age in enumerate(ages) if 14 + 4 * sd < age < 88 - 4 * sd]
    mean = soft @ labels.centers
    assert torch.allclose(mean[inner], torch.tensor(ages)[inner], atol=0.2)


def test_learning_rate_rises_and_falls():
    rates = [learning_rate_factor(p) for p in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.05
    assert rates[-1] == pytest.approx(0)


def test_the_average_follows_the_network():
    network, average = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    network.weight.data.fill_(3.0)
    loop.update_average(average, network, 0.5)
    assert average.weight.tolist() == [2.0, 2.0]


def test_pool_keeps_the_scan_and_is_reused(cohort, tmp_path):
    first = make_pool(cohort, recipe(), tmp_path)
    original = first.batch(np.array([3]), np.array([0]))
    source = load_volume(cohort.paths[3], recipe().shape)
    assert np.allclose(original[0, 0].numpy(), source, atol=0.5 / STEPS_PER_SD + 1e-4)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("pool/*.npy")}
    assert len(made) == len(cohort)
    again = make_pool(cohort, recipe(), tmp_path)
    assert all((a == b).all() for a, b in zip(again.volumes, first.volumes, strict=True))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("pool/*.npy")} == made
    make_pool(cohort, recipe(seed=1), tmp_path)
    assert len(list(tmp_path.glob("pool/*.npy"))) == 2 * len(cohort)


def test_a_network_learns_the_size_of_the_ventricles(cohort, tmp_path):
    plan = recipe(epochs=25, copies=0, learning_rate=1e-2, ema_decay=0.9)
    pool = make_pool(cohort, plan, tmp_path)
    everyone = Split(np.arange(len(cohort)), np.array([], int))
    network = train_network(pool, cohort.ages, everyone, plan, folder=tmp_path, seed=0)
    assert not network.training
    predicted = Labels(OUTPUT, 3.0).mean(predict_scans(network, pool, everyone.train))
    assert np.corrcoef(predicted.numpy(), cohort.ages)[0, 1] > 0.8


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_result(cohort, tmp_path, monkeypatch):
    plan = recipe(epochs=4, validation_fraction=0.25, patience=10)
    pool = make_pool(cohort, plan, tmp_path)
    split = Split(np.arange(8), np.arange(8, 12))
    whole = train_network(pool, cohort.ages, split, plan, folder=tmp_path / "a", seed=5)
    save, calls = loop._save, []

    def save_twice(state, path):
        save(state, path)
        calls.append(path)
        if len(calls) == 2:
            raise Killed

    monkeypatch.setattr(loop, "_save", save_twice)
    with pytest.raises(Killed):
        train_network(pool, cohort.ages, split, plan, folder=tmp_path / "b", seed=5)
    resumed = train_network(pool, cohort.ages, split, plan, folder=tmp_path / "b", seed=5)
    assert len(calls) == 4
    assert torch.equal(weights(whole), weights(resumed))


def test_early_stopping_keeps_the_best_weights(cohort, tmp_path, monkeypatch):
    plan = recipe(epochs=10, patience=2)
    pool = make_pool(cohort, plan, tmp_path)
    errors = iter([9.0, 5.0, 7.0, 8.0])
    averages = []

    def predicted(network, _pool, scans):
        averages.append(weights(network))
        age = torch.full((len(scans), 1), next(errors))
        return torch.where(torch.arange(37) == 0, age, torch.zeros(1))

    monkeypatch.setattr(loop, "predict_scans", predicted)
    # the scripted number itself is the error: everyone is "0 years old"
    monkeypatch.setattr(Labels, "mean", lambda _, logits: logits[:, 0])
    ages = np.where(np.arange(12) < 8, cohort.ages, 0.0)
    split = Split(np.arange(8), np.arange(8, 12))
    network = train_network(pool, ages, split, plan, folder=tmp_path, seed=1)
    assert torch.equal(weights(network), averages[1])
    assert len((tmp_path / "curve.tsv").read_text().splitlines()) == 1 + 4


def test_mixing_mixes_ages_as_it_mixes_volumes(cohort, tmp_path):
    plan = recipe(mixing=1.0, copies=0)
    pool = make_pool(cohort, plan, tmp_path)
    scans = np.array([0, 1, 2])
    for seed in range(10):
        generator = np.random.default_rng(seed)
        x, age = loop._mixed(pool, cohort.ages, scans, scans, plan, generator)
        assert x.shape == (3, 1, *plan.shape)
        low, high = cohort.ages[scans].min(), cohort.ages[scans].max()
        assert ((low - 1e-3 <= age.numpy()) & (age.numpy() <= high + 1e-3)).all()
    plain = recipe(mixing=0.0, copies=0)
    _, age = loop._mixed(pool, cohort.ages, scans, scans, plain, np.random.default_rng(0))
    assert age.numpy() == pytest.approx(cohort.ages[scans], abs=1e-3)


def test_mixing_partners_are_of_similar_age_and_from_the_training_people(cohort):
    generator = np.random.default_rng(0)
    train = np.arange(0, 12, 2)
    plan = recipe(mixing_years=5.0)
    partners = [loop._partner(20.0, cohort.ages, train, plan, generator) for _ in range(60)]
    assert set(partners) <= set(train)
    assert np.abs(cohort.ages[partners] - 20.0).mean() < 10


def test_learning_curve_has_a_row_per_epoch(cohort, tmp_path):
    plan = recipe(epochs=3)
    pool = make_pool(cohort, plan, tmp_path)
    train_network(
        pool, cohort.ages, Split(np.arange(8), np.arange(8, 12)), plan, folder=tmp_path, seed=1
    )
    lines = (tmp_path / "curve.tsv").read_text().splitlines()
    assert lines[0].split("\t") == [
        "epoch", "learning_rate", "loss", "mae", "validation_mae", "seconds",
    ]  # fmt: skip
    assert len(lines) == 4


def test_cross_validation_tests_everyone_once_by_a_network_that_never_saw_them(
    cohort, tmp_path, monkeypatch
):
    seen = []
    train = loop.train_network

    def spy(pool, ages, split, plan, **rest):
        seen.append({cohort.people[i] for i in [*split.train, *split.validation]})
        return train(pool, ages, split, plan, **rest)

    monkeypatch.setattr(crossval, "train_network", spy)
    plan = recipe(validation_fraction=0.25)
    table = crossval.cross_validate(cohort, plan, tmp_path)
    assert sorted(table.participant_id) == sorted(cohort.people)
    for fold, train_people in enumerate(seen, start=1):
        assert not train_people & set(table.participant_id[table.fold == fold])
    # finished folds are not trained again
    again = crossval.cross_validate(cohort, plan, tmp_path)
    assert len(seen) == plan.n_folds
    assert np.allclose(again.predicted_age, table.predicted_age, atol=1e-3)


def test_a_work_folder_holds_one_training(cohort, tmp_path):
    crossval.cross_validate(cohort, recipe(epochs=1), tmp_path)
    with pytest.raises(DataError, match="another recipe"):
        crossval.cross_validate(cohort, recipe(epochs=2), tmp_path)


def test_folds_side_by_side_give_the_same_as_one_after_the_other(cohort, tmp_path):
    plan = recipe(epochs=1)
    alone = crossval.cross_validate(cohort, plan, tmp_path / "a")
    together = crossval.cross_validate(cohort, plan, tmp_path / "b", jobs=2)
    assert np.allclose(alone.predicted_age, together.predicted_age, atol=1e-3)


def test_accuracy_is_that_of_the_textbook():
    age = np.array([20.0, 40.0, 60.0])
    figures = accuracy(age, age + np.array([2.0, 0.0, -2.0]))
    assert figures["mae"] == pytest.approx(4 / 3, abs=1e-3)
    assert figures["r2"] == pytest.approx(1 - 8 / 800)
    assert figures["gap_slope"] == pytest.approx(-0.1)
    assert figures["mae_mean_predictor"] == pytest.approx(40 / 3, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.3, 1.2), st.floats(-20, 20))
def test_bias_line_finds_its_line(slope, intercept):
    age = np.linspace(20, 80, 30)
    noise = np.resize([1.0, -1.0, -1.0, 1.0], 30)
    line = bias_line(age, slope * age + intercept + noise, "test")
    assert line["slope"] == pytest.approx(slope, abs=0.02)
    assert line["intercept"] == pytest.approx(intercept, abs=1)
    assert line["residual_sd"] == pytest.approx(1, abs=0.1)


def test_sd_scale_makes_distributions_as_wide_as_errors():
    age = np.array([20.0, 40.0])
    assert sd_scale(age, age + np.array([4.0, -4.0]), np.array([2.0, 2.0])) == 2.0


def test_command_trains_publishes_and_evaluates(people, tmp_path, capsys):
    inputs, table = map(str, people)
    plan = recipe(epochs=1)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"card": plan.card, "training": plan.choices()}))
    command = [
        "train", "--recipe", str(path), "--inputs", inputs, "--participants", table,
        "--cohort-name", "toys", "--work-dir", str(tmp_path / "work"),
        "--models-dir", str(tmp_path / "models"), "--external", "same", inputs, table,
    ]  # fmt: skip
    assert main(command) == 0
    card = load_card(tmp_path / "models" / "tiny.json")
    verify_weights(card)
    assert len(card.weights) == plan.n_folds
    assert card.age_range == (20.0, 80.0)
    assert card.metrics["cross_validation"]["n"] == 12
    assert card.metrics["external"]["same"]["n"] == 12
    assert card.bias_correction is not None
    assert card.calibration["sd_scale"] > 0
    assert card.training["cohort"] == "toys"
    capsys.readouterr()
    out = tmp_path / "tables"
    again = ["evaluate", "--card", str(card.folder / "tiny.json"), "--out", str(out)]
    assert main([*again, "--external", "same", inputs, table]) == 0
    assert "same n=12 mae=" in capsys.readouterr().out
    assert len((out / "same.tsv").read_text().splitlines()) == 13


def test_command_says_what_is_wrong(people, tmp_path, capsys):
    command = [
        "train", "--inputs", str(people[0]), "--participants", str(people[1]),
        "--cohort-name", "x", "--work-dir", str(tmp_path), "--models-dir", str(tmp_path),
    ]  # fmt: skip
    assert main(command) == 66
    assert "error: No *_desc-sfcn2mminput_T1w.nii.gz" in capsys.readouterr().err
    assert main([*command, "--jobs", "0"]) == 2
