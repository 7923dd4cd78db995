"""Cards of methods and baselines match the functions that do the work."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.explain import baselines
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.session import ExplanationSession
from bidsapp_brainage.settings import Processing, method_options
from tests.explain.toy import make_input, planted

CHOICES = Processing(cube_mm=4.0, shapley_permutations=2)


@pytest.fixture(scope="module")
def session() -> ExplanationSession:
    return ExplanationSession(make_input(planted(), baselines=("background", "mean")))


@pytest.mark.parametrize("card", METHODS, ids=lambda card: card.key)
def test_the_options_of_a_method_are_the_keywords_of_its_function(card) -> None:
    _, *keywords = inspect.signature(find(card.key)).parameters.values()
    required = {word.name for word in keywords if word.default is inspect.Parameter.empty}
    assert required <= set(method_options(CHOICES, card.key)) <= {word.name for word in keywords}


def test_every_method_makes_the_outputs_of_its_card(session) -> None:
    for key in lookup.in_running_order(card.key for card in METHODS if not card.architecture):
        card = lookup.method(key)
        results = find(key)(session, **method_options(CHOICES, key))
        assert list(results) == [output.key for output in card.outputs]
        for output in card.outputs:
            shape = results[output.key].shape
            assert len(shape) == 2 if output.is_table else shape == session.inputs.volume.shape
            if output.columns:
                assert list(results[output.key]) == [column.name for column in output.columns]
        session.results[key] = results
    checked = set(session.results["randomisation"]["randomisation"]["method"])
    assert checked == {card.key for card in METHODS if card.randomised}
    described = {column.name: column for column in lookup.output("randomisation").columns}
    assert checked == set(described["method"].levels)
    assert set(session.results["curves"]["curves"]["ranking"]) == {
        "occlusion", *(card.key for card in lookup.methods("attribution")),
    }  # fmt: skip


def test_every_baseline_has_a_function_and_every_function_a_card() -> None:
    functions = {name for name in vars(baselines) if name.startswith("fill_")}
    assert functions == {f"fill_{card.key}" for card in BASELINES}


@pytest.mark.parametrize("card", BASELINES, ids=lambda card: card.key)
def test_every_baseline_changes_the_brain_where_no_region_is_occluded(card) -> None:
    inputs = make_input(planted())
    template = np.full_like(inputs.volume, 0.5)
    inputs = dataclasses.replace(inputs, baselines=(card.key,), template=template)
    changed = ExplanationSession(inputs).brainless(card.key) != inputs.volume
    assert changed[(inputs.labels > 0) & inputs.brain].mean() > 0.5
    assert not changed[~inputs.brain].any()


def test_outputs_of_methods_have_names_of_their_own() -> None:
    keys = [output.key for output in lookup.method_outputs()]
    assert len(keys) == len(set(keys))
