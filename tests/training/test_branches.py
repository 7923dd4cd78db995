"""Networks with a branch for every modality and part of the brain."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.io import load_nifti, save_nifti
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training.crossval import CrossValidation, cross_validate
from bidsapp_brainage.training.data.cohort import Cohort, beside, load_volume, regions_path
from bidsapp_brainage.training.evaluation import predict_cohort
from bidsapp_brainage.training.recipe import Recipe
from tests.model.tiny import SEX, card_dict, make_card
from tests.training.people import SHAPE, recipe, toys, write_people

BOTH = [{"modality": "T1w"}, {"modality": "T2w"}]
WITHOUT_T2W = "sub-03"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Toy people, all but one with a T2w, which is the inverted T1w, and with regions."""
    people = toys(write_people(tmp_path_factory.mktemp("branches")))
    for person, path in zip(people.people, people.paths, strict=True):
        image = load_nifti(path)
        data = image.get_fdata(dtype="float32")
        regions = np.where(data != 0, 100, 0).astype(np.int16)
        regions[: data.shape[0] // 2][data[: data.shape[0] // 2] != 0] = 38
        save_nifti(type(image)(regions, image.affine), regions_path(path))
        if person != WITHOUT_T2W:
            save_nifti(type(image)(-data, image.affine), beside(path, "T2w"))
    return people


def branched(channels: list[dict[str, Any]], names: list[str], **changes: Any) -> Recipe:
    plan = recipe(**changes)
    card = dict(plan.card)
    card["input"] = {**card["input"], "channels": channels, "segmentation": "muse2mm"}
    card["architecture"] = {
        "id": "branches",
        "parameters": dict.fromkeys(names, plan.card["architecture"]),
    }
    return dataclasses.replace(plan, card=card)


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("trained")
    run = CrossValidation(cohort, branched(BOTH, ["T1w", "T2w"]), folder)
    return cross_validate(run), folder


def test_the_answer_is_the_mean_of_the_branches_whose_image_is_there(
    trained: tuple[pd.DataFrame, Path],
) -> None:
    table = trained[0].set_index("participant_id")
    ages = table[["branch_age_T1w", "branch_age_T2w"]]
    assert np.allclose(table["predicted_age"], ages.mean(axis=1), atol=1e-4)
    assert ages["branch_age_T2w"].isna().to_dict() == {
        person: person == WITHOUT_T2W for person in table.index
    }
    assert table.loc[WITHOUT_T2W, "predicted_age"] == ages.loc[WITHOUT_T2W, "branch_age_T1w"]
    both = table.drop(WITHOUT_T2W)
    spread = (both["branch_age_T1w"] - both["branch_age_T2w"]).abs() / np.sqrt(2)
    assert np.allclose(both["member_sd"], spread, atol=1e-4)


def test_a_branch_is_what_a_network_of_its_modality_alone_becomes(
    cohort: Cohort, trained: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    """Nothing but its own image and its own scans goes into a branch."""
    whole = load_file(trained[1] / "fold-1_seed-1" / "network.safetensors")
    assert {name.split(".")[1] for name in whole} == {"T1w", "T2w"}
    alone = dataclasses.replace(recipe(), card={**recipe().card})
    alone.card["input"] = {**alone.card["input"], "channels": BOTH[:1], "segmentation": "muse2mm"}
    cross_validate(CrossValidation(cohort, alone, tmp_path))
    single = load_file(tmp_path / "fold-1_seed-1" / "network.safetensors")
    for name, value in single.items():
        assert value.equal(whole[f"branches.T1w.{name}"])


def test_a_part_of_the_brain_is_seen_on_background(cohort: Cohort) -> None:
    spec = branched([{"modality": "T1w", "region": "cerebellum"}], []).card["input"]
    volume = load_volume(cohort.paths[0], spec)
    assert volume[: volume.shape[0] // 2].any()
    assert not volume[volume.shape[0] // 2 :].any()


def test_a_finished_model_of_several_modalities_predicts_every_target(
    cohort: Cohort, tmp_path: Path
) -> None:
    raw = card_dict(shape=SHAPE)
    part = {"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 39}}
    card = make_card(
        tmp_path,
        shape=SHAPE,
        input={**raw["input"], "channels": BOTH, "any_subset": True},
        architecture={"id": "branches", "parameters": {"T1w": part, "T2w": part}},
        output={"heads": {"age": raw["output"], "sex": SEX}},
    )
    table = predict_cohort(card, cohort).set_index("participant_id")
    ages = table[["branch_age_T1w", "branch_age_T2w"]]
    both = ages.notna().all(axis=1)
    assert both.to_dict() == {person: person != WITHOUT_T2W for person in table.index}
    assert np.allclose(table.loc[both, "predicted_age"], ages[both].mean(axis=1))
    image = cohort.paths[0]
    volumes = {
        name: load_volume(path, raw["input"])
        for name, path in (("T1w", image), ("T2w", beside(image, "T2w")))
    }
    said = predict(load_members(card), volumes, card).answers["sex"].probabilities.mean(axis=0)
    found = table.loc[cohort.people[0], ["probability_sex_F", "probability_sex_M"]]
    assert found.to_list() == pytest.approx(said, abs=1e-6)
    assert set(table["sex"]) == {"F", "M"}


def test_a_modality_that_nobody_has_is_named(cohort: Cohort) -> None:
    with pytest.raises(NoInputError, match="No FLAIR image lies beside the 12 images"):
        cohort.showing("FLAIR")
