from __future__ import annotations

import json

import pytest

from bidsapp_brainage.errors import DataError, NoInputError, ResourceError
from bidsapp_brainage.model.cards import find_card
from bidsapp_brainage.training.data.cohort import Source, find_cohort, load_volume
from bidsapp_brainage.training.recipe import bundled_recipe, load_recipe
from tests.training.people import SHAPE, TINY, recipe, write_people

SPEC = recipe().card["input"]


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
    with pytest.raises(NoInputError, match=r"desc-otherinput.*other models: tinyinput.*input_desc"):
        find_cohort(folder, Source("other"), table)
    with pytest.raises(NoInputError, match="Run the participant level there first"):
        find_cohort(folder, Source("other", modality="T2w"), table)


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
