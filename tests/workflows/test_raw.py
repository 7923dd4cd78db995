"""Models of raw images: their graph, and the levels that they go with."""

from __future__ import annotations

import dataclasses

import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.model import cards
from bidsapp_brainage.settings import FAST_MODEL, build_settings
from bidsapp_brainage.workflows.base import init_brainage_wf
from bidsapp_brainage.workflows.plan import RunPlan, check_level, find_fast_card
from tests.model.tiny import make_card, make_quick_card, make_raw_card
from tests.workflows.stand_ins import kept_outputs


@pytest.fixture
def raw_plan(plan: RunPlan, tmp_path) -> RunPlan:
    card = make_raw_card(tmp_path / "raw")
    changes = {"card": card, "card_path": card.folder / "tinyraw.json", "segmentation": None}
    return dataclasses.replace(plan, **changes, atlas=None, atlas_table=None)


def test_a_raw_image_passes_few_steps(raw_plan, scans) -> None:
    workflow = init_brainage_wf(scans[:1], raw_plan)
    nodes = {name.rpartition(".")[2] for name in workflow.list_node_names()}
    steps = nodes - {"inputnode", "outputnode"}
    assert {name for name in steps if not name.startswith("ds_")} == {
        "conform", "model_input", "predict", "age",
    }  # fmt: skip
    outputs = {kept.key: kept for kept in kept_outputs(workflow).values()}
    assert set(outputs) == {"input", "brainage", "agedist", "input_figure", "age_figure"}
    assert outputs["input"].labels["space"] == "T1w"


def test_other_predictions_are_checked_on_the_raw_image(plan, raw_plan, scans) -> None:
    def nodes(plan: RunPlan) -> set[str]:
        found = init_brainage_wf(scans[:1], plan).list_node_names()
        return {name.rpartition(".")[2] for name in found}

    checked = nodes(dataclasses.replace(plan, fast_card=raw_plan.card))
    assert checked - nodes(plan) == {"fast_age"}


def test_regions_are_kept_of_a_model_that_asks_for_them(raw_plan, scans, tmp_path) -> None:
    card = make_quick_card(tmp_path / "quick")
    changes = {"card": card, "card_path": card.path}
    workflow = init_brainage_wf(scans[:1], dataclasses.replace(raw_plan, **changes))
    outputs = {kept.key: kept for kept in kept_outputs(workflow).values()}
    assert outputs["input"].labels["space"] == card.input["template"]
    assert outputs["input_regions"].labels["space"] == card.input["template"]


def test_a_model_of_raw_images_checks_others_not_itself(raw_plan, tmp_path, monkeypatch) -> None:
    registered = make_card(tmp_path / "registered")
    folder = tmp_path / "models"
    models = {(FAST_MODEL, folder): raw_plan.card}
    monkeypatch.setattr(cards, "find_card", lambda *chosen: models[chosen])
    assert find_fast_card(registered, folder) is raw_plan.card
    assert find_fast_card(raw_plan.card) is None
    sex = {"heads": {"sex": {"coding": "classes", "classes": ["F", "M"]}}}
    assert find_fast_card(dataclasses.replace(registered, output=sex)) is None


@pytest.mark.parametrize(("level", "fits"), [("fast", True), ("full", False), ("minimal", False)])
def test_levels_and_models_go_together(raw_plan, tmp_path, level, fits) -> None:
    registered = make_card(tmp_path / "registered")
    refused, taken = (registered, raw_plan.card) if fits else (raw_plan.card, registered)
    check_level(taken, level)
    with pytest.raises(UsageError, match="fast"):
        check_level(refused, level)


def test_the_fast_level_has_a_model_of_its_own(tmp_path) -> None:
    def model(**options: str) -> str:
        folders = (tmp_path / "bids", tmp_path / "out")
        return build_settings(*folders, ("participant",), options).processing.model

    assert model(level="fast") == FAST_MODEL
    assert model(level="fast", model="mine") == "mine"
    assert model() != FAST_MODEL
