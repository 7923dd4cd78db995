from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv, write_tsv
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.training.crossval import CrossValidation, cross_validate
from bidsapp_brainage.training.data.cohort import find_cohort, load_volume
from bidsapp_brainage.training.data.pool import OUTSIDE, STEPS_PER_SD, make_pool
from bidsapp_brainage.training.fitting import loop, member
from bidsapp_brainage.training.fitting.loop import (
    Split,
    learning_rate_factor,
    predict_scans,
    train_network,
)
from bidsapp_brainage.training.fitting.losses import soft_labels
from bidsapp_brainage.training.publish import publish
from tests.model.tiny import card_dict
from tests.training.people import TINY, recipe, task, toys, write_people

AGE = heads(card_dict()["output"])[0]


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
    return toys(people)


def weights(network):
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(14, 88), min_size=1, max_size=5), st.floats(0.5, 6))
def test_soft_labels_are_distributions_around_the_age(ages, sd):
    soft = soft_labels(AGE, torch.tensor(ages), sd)
    assert torch.allclose(soft.sum(dim=1), torch.ones(len(ages)), atol=1e-5)
    inner = [i for i, age in enumerate(ages) if 14 + 4 * sd < age < 88 - 4 * sd]
    mean = soft @ torch.from_numpy(AGE.bin_centers).float()
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
    source = load_volume(cohort.paths[3], recipe().card["input"])
    assert np.allclose(original[0, 0].numpy(), source, atol=0.5 / STEPS_PER_SD + 1e-3)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("pool/*.npy")}
    assert len(made) == 2 * len(cohort)
    again = make_pool(cohort, recipe(), tmp_path)
    assert all((a == b).all() for a, b in zip(again.volumes, first.volumes, strict=True))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("pool/*.npy")} == made
    make_pool(cohort, recipe(seed=1), tmp_path)
    assert len(list(tmp_path.glob("pool/*.npy"))) == 4 * len(cohort)


def test_pool_follows_the_scaling_and_background_of_the_card(cohort, tmp_path):
    plan = recipe(copies=2)
    spec = {**plan.card["input"], "intensity": {"scaling": "divide_by_mean"}, "background": -1.0}
    # the inputs as an app with this card would write them
    other = []
    for path in cohort.paths[:2]:
        z = load_volume(path, plan.card["input"])
        mean_one = np.where(z != 0, 1 + 0.2 * z, -1.0).astype(np.float32)
        other.append(tmp_path / path.name.replace(".gz", ""))
        import nibabel as nib

        nib.Nifti1Image(mean_one, np.eye(4)).to_filename(other[-1])
    changed = dataclasses.replace(plan, card={**plan.card, "input": spec})
    pool = make_pool(dataclasses.replace(cohort, paths=tuple(other)), changed, tmp_path)
    for copy in range(3):
        volume = pool.batch(np.array([1]), np.array([copy]))[0, 0]
        inside = torch.from_numpy(pool.volumes[1][copy] != OUTSIDE)
        assert (volume[~inside] == -1.0).all()
        assert volume[inside].mean() == pytest.approx(1, abs=0.02)
        assert volume[inside].std() == pytest.approx(0.2, abs=0.03)


def test_simulated_ageing_moves_the_age_of_a_copy_only(cohort, tmp_path):
    plan = recipe(copies=3)
    bounds = dataclasses.replace(plan.augmentation, atrophy=0.4, atrophy_years=10.0)
    pool = make_pool(cohort, dataclasses.replace(plan, augmentation=bounds), tmp_path)
    years = pool.years(np.zeros(4, int), np.arange(4))
    assert years[0] == 0
    assert (np.abs(years[1:]) <= 10).all()
    assert len(set(years)) == 4


def test_a_network_learns_the_size_of_the_ventricles(cohort, tmp_path):
    plan = recipe(epochs=25, copies=0, learning_rate=1e-2, ema_decay=0.9)
    everyone = Split(np.arange(len(cohort)), np.array([], int))
    what = task(cohort, plan, tmp_path)
    network = train_network(what, everyone, folder=tmp_path, seed=0)
    assert not network.training
    _, predicted = AGE.decode(predict_scans(network, what.pool, everyone.train))
    assert np.corrcoef(predicted.numpy(), cohort.ages)[0, 1] > 0.8


class Killed(Exception):
    pass


def test_an_interrupted_training_goes_on_to_the_same_result(cohort, tmp_path, monkeypatch):
    plan = recipe(epochs=4, validation_fraction=0.25, patience=10)
    what = task(cohort, plan, tmp_path)
    split = Split(np.arange(8), np.arange(8, 12))
    whole = train_network(what, split, folder=tmp_path / "a", seed=5)
    save, calls = loop._save, []

    def save_twice(state, path):
        save(state, path)
        calls.append(path)
        if len(calls) == 2:
            raise Killed

    monkeypatch.setattr(loop, "_save", save_twice)
    with pytest.raises(Killed):
        train_network(what, split, folder=tmp_path / "b", seed=5)
    resumed = train_network(what, split, folder=tmp_path / "b", seed=5)
    assert len(calls) == 4
    assert torch.equal(weights(whole), weights(resumed))


def test_early_stopping_keeps_the_best_weights(cohort, tmp_path, monkeypatch):
    plan = recipe(epochs=10, patience=2)
    what = task(cohort, plan, tmp_path)
    scores = iter([9.0, 5.0, 7.0, 8.0])
    averages = []

    def scripted(_objective, _outputs, _targets):
        return next(scores)

    def predicted(network, pool, scans, device):
        averages.append(weights(network))
        return predict_scans(network, pool, scans, device)

    monkeypatch.setattr(loop, "predict_scans", predicted)
    monkeypatch.setattr(loop.Objective, "score", scripted)
    split = Split(np.arange(8), np.arange(8, 12))
    network = train_network(what, split, folder=tmp_path, seed=1)
    assert torch.equal(weights(network), averages[1])
    assert len((tmp_path / "curve.tsv").read_text().splitlines()) == 1 + 4


def test_mixing_mixes_ages_as_it_mixes_volumes(cohort, tmp_path):
    plan = recipe(mixing=1.0, copies=0)
    what = task(cohort, plan, tmp_path)
    scans = np.array([0, 1, 2])
    for seed in range(10):
        x, target = loop._mixed(what, scans, scans, np.random.default_rng(seed))
        assert x.shape == (3, 1, *plan.shape)
        low, high = cohort.ages[scans].min(), cohort.ages[scans].max()
        assert ((low - 1e-3 <= target.numpy()) & (target.numpy() <= high + 1e-3)).all()
    plain = dataclasses.replace(what, recipe=recipe(mixing=0.0, copies=0))
    _, target = loop._mixed(plain, scans, scans, np.random.default_rng(0))
    assert target.numpy()[:, 0] == pytest.approx(cohort.ages[scans], abs=1e-3)


def test_mixing_partners_are_of_similar_age_and_from_the_training_people(cohort, tmp_path):
    generator = np.random.default_rng(0)
    train = np.arange(0, 12, 2)
    what = task(cohort, recipe(mixing_years=5.0), tmp_path)
    partners = [loop._partner(0, what, train, generator) for _ in range(60)]
    assert set(partners) <= set(train)
    assert np.abs(cohort.ages[partners] - cohort.ages[0]).mean() < 10


def test_learning_curve_has_a_row_per_epoch(cohort, tmp_path):
    what = task(cohort, recipe(epochs=3), tmp_path)
    train_network(what, Split(np.arange(8), np.arange(8, 12)), folder=tmp_path, seed=1)
    lines = (tmp_path / "curve.tsv").read_text().splitlines()
    assert lines[0].split("\t") == [
        "epoch", "learning_rate", "loss", "age_error", "validation_score", "validation_age_error",
        "seconds",
    ]  # fmt: skip
    assert len(lines) == 4


def test_cross_validation_tests_everyone_once_by_networks_that_never_saw_them(
    cohort, tmp_path, monkeypatch
):
    seen = []
    train = loop.train_network

    def spy(what, split, **rest):
        seen.append({cohort.people[i] for i in [*split.train, *split.validation]})
        return train(what, split, **rest)

    monkeypatch.setattr(member, "train_network", spy)
    plan = recipe(validation_fraction=0.25, n_seeds=2)
    table = cross_validate(CrossValidation(cohort, plan, tmp_path))
    assert sorted(table.participant_id) == sorted(cohort.people)
    assert len(seen) == plan.n_folds * 2
    for index, train_people in enumerate(seen):
        assert not train_people & set(table.participant_id[table.fold == index // 2 + 1])
    # finished networks are not trained again
    again = cross_validate(CrossValidation(cohort, plan, tmp_path))
    assert len(seen) == plan.n_folds * 2
    assert np.allclose(again.predicted_age, table.predicted_age, atol=1e-3)


def test_a_work_folder_holds_one_training(cohort, tmp_path):
    cross_validate(CrossValidation(cohort, recipe(epochs=1), tmp_path))
    with pytest.raises(DataError, match="another recipe"):
        cross_validate(CrossValidation(cohort, recipe(epochs=2), tmp_path))


def test_too_few_people_are_refused(cohort, tmp_path):
    with pytest.raises(DataError, match="cannot fill 20 folds"):
        cross_validate(CrossValidation(cohort, recipe(n_folds=20), tmp_path))


def test_folds_side_by_side_give_the_same_as_one_after_the_other(cohort, tmp_path):
    plan = recipe(epochs=1)
    alone = cross_validate(CrossValidation(cohort, plan, tmp_path / "a"))
    together = cross_validate(CrossValidation(cohort, plan, tmp_path / "b", jobs=2))
    assert np.allclose(alone.predicted_age, together.predicted_age, atol=1e-3)


def test_scanners_left_out_and_simulated_scans_have_their_place(people, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(people[0], folder)
    first = sorted(folder.glob("sub-*/anat/*"))[0]
    copy = first.name.replace("_space-", "_rec-simulated1_space-")
    shutil.copyfile(first, first.with_name(copy))
    table = read_tsv(people[1])
    table["scanner"] = ["small" if index % 4 == 0 else "large" for index in range(len(table))]
    write_tsv(folder / "participants.tsv", table)
    cohort = find_cohort(folder, TINY, folder / "participants.tsv")
    plan = recipe(n_folds=2, scanner_column="scanner")
    run = CrossValidation(cohort, plan, tmp_path / "work")
    found = cross_validate(run)
    assert run.n_folds == 3
    assert set(found.loc[found["scanner"] == "small", "fold"]) == {3}
    assert len(found) == len(table)  # simulated scans are not reported
    card = publish(run, found, name="toys", models_dir=tmp_path / "models", external={})
    raw = json.loads(card.read_text())
    assert (raw["training"]["n_scans"], raw["training"]["n_simulated"]) == (len(table), 1)
    assert raw["metrics"]["cross_validation"]["n"] == len(table)
    assert raw["metrics"]["cross_validation"]["by_scanner"]["small"]["n"] == 3
    strangers = raw["metrics"]["leave_one_scanner_out"]
    assert (strangers["people"], strangers["n"]) == ("small (left out)", 3)
    assert len(raw["weights"]) == 3
