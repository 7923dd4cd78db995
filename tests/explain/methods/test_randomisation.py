"""Weight randomisation: nested, reproducible, and explanations of a trained network change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bidsapp_brainage.explain.methods.randomisation import (
    COLUMNS,
    randomisation_table,
    randomised,
    weight_layers,
)
from bidsapp_brainage.explain.session import ExplanationSession
from tests.explain.toy import make_input, planted, tiny_network


def changed(one, other) -> set[str]:
    return {
        name
        for name, value in one.state_dict().items()
        if not torch.equal(value, other.state_dict()[name])
    }


def test_layers_go_from_the_output_down_and_norms_are_left_out():
    assert weight_layers(tiny_network(0)) == ["7", "4", "0"]


def test_the_cascade_is_nested_and_keeps_the_weights_of_a_layer_together():
    network = tiny_network(0)
    one, two = randomised(network, 1, seed=3), randomised(network, 2, seed=3)
    assert changed(network, randomised(network, 0, seed=3)) == set()
    assert changed(network, one) == {"7.weight"}
    assert changed(one, two) == {"4.weight"}
    for before, after in zip(network.parameters(), two.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)


@pytest.mark.parametrize("methods", [["occlusion"], ["lrp", "ig"]])
def test_the_trained_network_agrees_with_itself_and_the_destroyed_one_does_not(methods):
    session = ExplanationSession(make_input(planted(), seed=1))
    table = randomisation_table(session, methods)
    assert list(table) == list(COLUMNS)
    assert table["method"].unique().tolist() == methods
    trained = table[table["step"] == 0]
    assert trained["layer"].isna().all()
    assert trained["spearman_abs"].tolist() == pytest.approx([1.0] * len(methods))
    last = table[table["step"] == table["step"].max()]
    assert not np.isclose(last["spearman"], 1).any()
    again = randomisation_table(session, methods)
    np.testing.assert_array_equal(again["spearman"], table["spearman"])
