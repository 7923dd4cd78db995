"""Rules of relevance propagation: against zennit, on branches, on functions of single voxels."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from bidsapp_brainage.explain.methods import lrp
from bidsapp_brainage.explain.methods.lrp import USUAL, relevance
from bidsapp_brainage.explain.methods.randomisation import randomisation_table
from bidsapp_brainage.explain.relevance import COMPOSITES, prepared, propagate
from bidsapp_brainage.explain.session import ExplanationSession
from bidsapp_brainage.model.networks.regional import RegionLinear
from bidsapp_brainage.settings import LrpRules
from tests.explain.toy import decode, explain, make_input, planted


def waves(shape, step):
    """Numbers of both signs that every version of a library makes alike."""
    count = int(np.prod(shape))
    return torch.sin(step * torch.arange(1, count + 1, dtype=torch.float64)).reshape(shape)


def waving():
    layers = (
        *(nn.Conv3d(1, 3, 3, padding=1), nn.MaxPool3d(2), nn.ReLU()),
        *(nn.Conv3d(3, 4, 2), nn.ReLU(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(4, 5)),
    )
    network = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(waves(parameter.shape, 1.3 + number))
    return network


@pytest.mark.parametrize(
    ("rules", "numbers"),
    [
        ("epsilon_plus", (7.070199807802624, 9.388241724615721, 0.012131132274717883)),
        ("epsilon_plus_flat", (7.408979590851631, 9.272124918188297, -0.015630431019115897)),
        ("epsilon_alpha2_beta1", (8.734462687190591, 54.34760320333273, 0.2729887309124164)),
        (
            "epsilon_alpha2_beta1_flat",
            (7.448657574904391, 19.159524582733205, -0.07458043580896483),
        ),
    ],
)
def test_composites_give_the_numbers_of_zennit(rules, numbers):
    """Sum, sum of sizes and one voxel by zennit 0.5.1 with epsilon and stabilizer 1e-9."""
    network, batch = waving(), waves((1, 1, 6, 6, 6), 0.7)
    start = network(batch).detach() * torch.arange(5.0)
    found = propagate(prepared(network), batch, start, COMPOSITES[rules])[0, 0]
    got = (float(found.sum()), float(found.abs().sum()), float(found[2, 3, 1]))
    assert got == pytest.approx(numbers, rel=1e-9)


def test_the_option_offers_all_rules_and_chooses_among_them():
    assert get_args(LrpRules) == tuple(COMPOSITES)
    inputs = make_input(planted())
    maps = {rules: explain("lrp", inputs, lrp_rules=rules)["lrp_map"] for rules in COMPOSITES}
    np.testing.assert_array_equal(explain("lrp", inputs)["lrp_map"], maps[USUAL])
    assert np.abs(maps["epsilon_plus_flat"] - maps[USUAL]).max() > 0


def test_randomised_networks_are_explained_by_the_chosen_rules(monkeypatch):
    used = []

    def recorded(*args, rules, **keywords):
        used.append(rules)
        return relevance(*args, rules=rules, **keywords)

    monkeypatch.setattr(lrp, "relevance", recorded)
    rules = {"lrp": {"lrp_rules": "epsilon_alpha2_beta1"}}
    session = ExplanationSession(make_input(planted(), seed=1, options=rules))
    session.unrounded["lrp"] = lrp.explain(session, **rules["lrp"])
    table = randomisation_table(session, ["lrp"])
    assert len(used) == len(table) > 1  # the trained network once, and each randomised one
    assert set(used) == {"epsilon_alpha2_beta1"}


class Branches(nn.Module):
    """A sum of the image's own channels and what layers make of them, then a join."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 2, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.second = nn.Conv3d(2, 2, 3, padding=1, bias=False)
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(4, 7, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.relu(self.first(x))
        both = one + self.relu(self.second(one))
        return self.head(self.pool(torch.cat([one, both], dim=1)).flatten(1))


def test_relevance_passes_sums_joins_and_layers_used_twice():
    torch.manual_seed(0)
    network = Branches().double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    batch = torch.rand(1, 1, 5, 5, 5).double()
    start = network(batch).detach() * torch.linspace(-1, 2, 7).double()
    found = propagate(prepared(network), batch, start, COMPOSITES[USUAL])
    assert float(found.sum()) == pytest.approx(float(start.sum()), rel=1e-6)
    # without the layers of the second branch only the way around them is left
    with torch.no_grad():
        network.second.weight.zero_()
    left = propagate(prepared(network), batch, start, COMPOSITES[USUAL])
    assert not torch.allclose(found, left)


def test_a_network_on_regions_gives_each_voxel_its_own_part():
    """What a voxel adds compared with fluid, however the network writes the sum."""
    labels = np.zeros((4, 4, 4), int)
    labels[1:3, 1:3, 1:3] = 1
    labels[1, 1, 1] = 2
    parts = RegionLinear({"grey": [1]}, {"fluid": [2]}, 14.0, 2.0, 7)  # the bins of decode
    parts.set_weights(np.array([8.0, -6.0]), 15.0)
    bound = parts.bound(labels).eval()
    units = np.zeros(labels.shape, np.float32)
    units[labels == 1] = (1.0, 0.2, 1.0, 1.0, 0.6, 1.0, 1.0)
    units[labels == 2] = 0.3
    found = relevance(bound, units, decode)
    weights = bound.sum.weight.view(2, *labels.shape).numpy()
    tissue = np.minimum(units, 1)
    np.testing.assert_allclose(found, -(weights[0] - weights[1]) * tissue, rtol=1e-5, atol=1e-6)
    assert np.count_nonzero(found) == 8
