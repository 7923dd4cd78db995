from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError, NoInputError, ResourceError
from bidsapp_brainage.model.cards import find_card
from bidsapp_brainage.training.cohort import Source, find_cohort, load_volume
from bidsapp_brainage.training.folds import assign_folds, hold_out
from bidsapp_brainage.training.recipe import bundled_recipe, load_recipe
from tests.training.people import SHAPE, TINY, recipe, write_people

SPEC = recipe().card["input"]

scans = st.lists(st.integers(0, 15), min_size=1, max_size=60)


def test_inputs_are_found_with_their_ages(tmp_path):
    folder, table = write_people(tmp_path, n=3, sessions=2)
    cohort = find_cohort(folder, TINY, table)
    assert cohort.people == ("sub-00", "sub-00", "sub-01", "sub-01", "sub-02", "sub-02")
    assert cohort.ages.tolist() == [20, 20, 50, 50, 80, 80]
    assert load_volume(cohort.paths[0], SPEC).shape == SHAPE
    with pytest.raises(DataError, match="has shape"):
        load_volume(cohort.paths[0], {**SPEC, "shape": [1, 2, 3]})


def test_people_without_age_or_input_are_left_out_and_named(tmp_path):
    folder, table = write_people(tmp_path, n=2)
    table.write_text("participant_id\tage\nsub-00\tn/a\n01\t30.5\nsub-09\t89+\n")
    cohort = find_cohort(folder, TINY, table)
    assert cohort.people == ("sub-01",)
    assert cohort.left_out == ("sub-00", "sub-09")


@pytest.mark.parametrize(
    ("content", "message"),
    [("participant_id\nsub-00\n", "lacks the column age"),
     ("participant_id\tage\nsub-00\t1\nsub-00\t2\n", "twice")],
)  # fmt: skip
def test_unusable_tables_are_refused(tmp_path, content, message):
    folder, table = write_people(tmp_path, n=1)
    table.write_text(content)
    with pytest.raises(DataError, match=message):
        find_cohort(folder, TINY, table)


def test_no_inputs_is_said(tmp_path):
    folder, table = write_people(tmp_path, n=1)
    with pytest.raises(NoInputError, match="desc-otherinput"):
        find_cohort(folder, Source("other"), table)


@settings(deadline=None, max_examples=80)
@given(scans, st.integers(2, 6), st.integers(0, 5))
def test_no_person_is_in_two_folds(numbers, n_folds, seed):
    people = [f"sub-{n:02d}" for n in numbers]
    ages = np.array([20.0 + 3 * n for n in numbers])
    folds = assign_folds(people, ages, n_folds, seed)
    assert folds.min() >= 0
    assert folds.max() < n_folds
    for fold in range(n_folds):
        inside = {p for p, f in zip(people, folds, strict=True) if f == fold}
        outside = {p for p, f in zip(people, folds, strict=True) if f != fold}
        assert not inside & outside
    sizes = [len({p for p, f in zip(people, folds, strict=True) if f == k}) for k in range(n_folds)]
    assert max(sizes) - min(sizes) <= 1
    assert (assign_folds(people, ages, n_folds, seed) == folds).all()


@settings(deadline=None, max_examples=40)
@given(scans, st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_nobody_is_both_learnt_from_and_held_out(numbers, fraction):
    people = [f"sub-{n:02d}" for n in numbers]
    held = hold_out(people, np.array(numbers, float), fraction, seed=1)
    inside = {p for p, h in zip(people, held, strict=True) if h}
    outside = {p for p, h in zip(people, held, strict=True) if not h}
    assert not inside & outside
    assert fraction > 0 or not inside


def test_every_fold_covers_the_ages():
    ages = np.linspace(20, 82, 141)
    folds = assign_folds([f"sub-{n}" for n in range(141)], ages, 5, seed=0)
    for fold in range(5):
        assert ages[folds == fold].min() < 24
        assert ages[folds == fold].max() > 78


def test_the_bundled_recipe_is_whole():
    recipe = load_recipe(bundled_recipe("sfcn2mm"))
    assert recipe.label == "sfcn2mm"
    parts = recipe.card["architecture"]["parameters"]["parts"]
    assert {part["parameters"]["n_bins"] for part in parts} == {recipe.card["output"]["n_bins"]}
    assert recipe.card["architecture"] == find_card("sfcn2mm").architecture
    assert recipe.card["input"] == find_card("sfcn2mm").input


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"card": {}, "training": {"epoch": 1}})])
def test_faulty_recipes_are_refused_by_name(tmp_path, content):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ResourceError, match=r"mine\.json"):
        load_recipe(path)
