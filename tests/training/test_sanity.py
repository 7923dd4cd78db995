"""What must hold for any training: no skill from nothing, no leak, left is like right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.stats.accuracy import mae, mae_mean_age, pearson_r
from bidsapp_brainage.training.crossval import CrossValidation, cross_validate
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.data.pool import Pool
from bidsapp_brainage.training.fitting.loop import Split, predict_scans, train_network
from bidsapp_brainage.training.fitting.member import _split
from tests.training.people import recipe, task, toys, write_people

PLAN = recipe(epochs=40, copies=0, learning_rate=3e-2, ema_decay=0.9, mixing=0.3, mean_weight=0.2)
#: person, family (0: none) and number of scans
persons = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=8, max_size=30)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    torch.set_num_threads(1)
    return toys(write_people(tmp_path_factory.mktemp("many"), n=24))


def test_ages_are_learnt_and_shuffled_ages_are_not(cohort, tmp_path):
    found = cross_validate(CrossValidation(cohort, PLAN, tmp_path / "true"))
    assert pearson_r(found.age.to_numpy(), found.predicted_age.to_numpy()) > 0.8
    shuffled = cohort.facts.assign(age=np.random.default_rng(2).permutation(cohort.ages))
    nothing = dataclasses.replace(cohort, facts=shuffled)
    found = cross_validate(CrossValidation(nothing, PLAN, tmp_path / "shuffled"))
    age, predicted = found.age.to_numpy(), found.predicted_age.to_numpy()
    assert mae(age, predicted) > 0.85 * mae_mean_age(age, predicted)
    assert pearson_r(age, predicted) < 0.5


def mirrored(pool: Pool) -> Pool:
    return Pool([np.ascontiguousarray(v[:, ::-1]) for v in pool.volumes], pool.levels)


def test_a_network_of_mirrored_brains_predicts_the_same(cohort, tmp_path):
    what = task(cohort, PLAN, tmp_path)
    other = dataclasses.replace(what, pool=mirrored(what.pool))
    split = Split(np.arange(0, 24, 2), np.array([], int))
    tested = np.arange(1, 24, 2)
    head = heads(PLAN.card["output"])[0]
    ages = []
    for index, one in enumerate((what, other)):
        network = train_network(one, split, folder=tmp_path / str(index), seed=3)
        ages += [head.decode(predict_scans(network, p.pool, tested))[1] for p in (what, other)]
    spread = float(np.std(cohort.ages[tested]))
    for found in ages[1:]:
        assert float((found - ages[0]).abs().mean()) < 0.2 * spread


@settings(deadline=None, max_examples=60)
@given(persons, st.integers(2, 4), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 5))
def test_no_person_and_no_family_is_on_two_sides(listed, n_folds, fraction, seed):
    people, families, ages = [], [], []
    for number, (family, n_scans) in enumerate(listed):
        people += [f"sub-{number}"] * n_scans
        families += [f"f{family}" if family else None] * n_scans
        ages += [20.0 + number] * n_scans
    facts = pd.DataFrame({"age": ages, "family_id": families})
    cohort = Cohort(tuple(people), (), facts)
    plan = recipe(n_folds=n_folds, validation_fraction=fraction, seed=seed)
    run = CrossValidation(cohort, plan, None)
    sides = [{"fold": f, "scans": np.flatnonzero(run.folds == f)} for f in range(n_folds)]
    assert sum(len(side["scans"]) for side in sides) == len(people)
    for side in sides:
        split = _split(run, run.folds != side["fold"], seed)
        parts = (side["scans"], split.train, split.validation)
        assert len(np.unique(np.concatenate(parts))) == len(people)
        for names in (people, families):
            groups = [{names[scan] for scan in part} - {None} for part in parts]
            assert not groups[0] & groups[1]
            assert not groups[0] & groups[2]
            assert not groups[1] & groups[2]


def test_families_that_share_a_member_are_one():
    facts = pd.DataFrame({"family_id": ["a", "b", "b", None, 7.0]})
    cohort = Cohort(("sub-1", "sub-1", "sub-2", "sub-3", "sub-4"), (), facts)
    units = cohort.units
    assert units[0] == units[1] == units[2]
    assert len(set(units)) == 3
