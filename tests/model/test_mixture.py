from __future__ import annotations

import numpy as np
import pytest
import torch

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.explain.engine.reading.trace import trace
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.linear import TissueLinear

SHAPE = (16, 20, 16)
BINS = {"lower": 10.0, "width": 2.0, "n_bins": 40}
SFCN = {"id": "sfcn", "parameters": {"channels": [3, 4], "n_bins": 40}}
LINEAR = {"id": "tissuelinear", "parameters": {"shape": list(SHAPE), **BINS}}


def mean_age(logits: torch.Tensor) -> torch.Tensor:
    return torch.softmax(logits, dim=1) @ (10 + 2 * (torch.arange(40) + 0.5))


def linear() -> TissueLinear:
    network = build_network(LINEAR)
    assert isinstance(network, TissueLinear)
    return network.eval()


def test_maps_hold_the_parts_of_grey_and_white_matter():
    x = torch.zeros(1, 1, *SHAPE)
    x[..., 4:12, :, :] = 1.0
    x[..., 4:8, :, :] = 2.0
    grey, white = linear().amount_maps(x)[0]
    assert white[3, 5, 4] == pytest.approx(2 / 3)  # of three blocks, two are white matter
    assert grey[4, 5, 4] == pytest.approx(2 / 3)
    assert grey[7, 5, 4] == 0


@pytest.mark.parametrize(("value", "expected"), [(-0.5, (0, 0)), (0.5, (0.5, 0)), (2.5, (0, 1))])
def test_what_lies_beyond_the_tissues_counts_as_the_nearest(value, expected):
    maps = linear().amount_maps(torch.full((1, 1, *SHAPE), value))
    assert maps[0, :, 4, 5, 4].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("age", [25.0, 47.3, 80.0])
def test_the_answer_is_the_sum_spread_over_bins(age):
    network = linear()
    network.set_sum(torch.zeros(2 * 8 * 10 * 8), age)
    assert mean_age(network(torch.rand(2, 1, *SHAPE))).tolist() == pytest.approx([age] * 2, abs=0.1)


def test_a_mixture_gives_the_mean_distribution():
    torch.manual_seed(0)
    mixture = build_network({"id": "mixture", "parameters": {"parts": [SFCN, LINEAR]}}).eval()
    x = torch.rand(3, 1, *SHAPE) * 2
    apart = [torch.softmax(part(x), dim=1) for part in mixture.parts]
    together = torch.softmax(mixture(x), dim=1)
    np.testing.assert_allclose(together.detach(), ((apart[0] + apart[1]) / 2).detach(), atol=1e-6)


def test_parts_count_by_their_weights():
    torch.manual_seed(0)
    parameters = {"parts": [SFCN, LINEAR, SFCN], "weights": [1, 2, 1]}
    mixture = build_network({"id": "mixture", "parameters": parameters}).eval()
    x = torch.rand(2, 1, *SHAPE) * 2
    one, two, three = (torch.softmax(part(x), dim=1) for part in mixture.parts)
    expected = (one + 2 * two + three) / 4
    np.testing.assert_allclose(
        torch.softmax(mixture(x), dim=1).detach(), expected.detach(), atol=1e-6
    )


def test_the_occlusion_engine_reads_a_mixture():
    mixture = build_network({"id": "mixture", "parameters": {"parts": [SFCN, LINEAR]}})
    assert trace(mixture, (1, *SHAPE)).layers


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ({"id": "mixture", "parameters": {"parts": [SFCN]}}, "two or more"),
        ({"id": "mixture", "parameters": {"parts": [SFCN, LINEAR], "weights": [1]}}, "weights"),
        ({"id": "mixture", "parameters": {"parts": [SFCN, LINEAR], "weights": [1, 0]}}, "weights"),
        (
            {"id": "tissuelinear", "parameters": {**LINEAR["parameters"], "shape": [15, 16, 16]}},
            "no multiple",
        ),
    ],
)
def test_what_cannot_be_built_is_said(architecture, words):
    with pytest.raises(ResourceError, match=words):
        build_network(architecture)
