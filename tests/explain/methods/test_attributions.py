"""Attributions: sum rules, planted effects, one table for all of them, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import MissingExecutableError, UsageError
from bidsapp_brainage.explain.methods import library
from bidsapp_brainage.explain.methods.ig import integrated_gradients
from bidsapp_brainage.explain.methods.lrp import relevance
from bidsapp_brainage.explain.methods.noise import noise_importance
from bidsapp_brainage.model.networks import build_network
from tests.explain.toy import decode, explain, make_input, planted, tiny_network

METHODS = ("lrp", "ig", "noise")


def age(member: nn.Module, volume: np.ndarray) -> float:
    batch = torch.as_tensor(volume, dtype=next(member.parameters()).dtype)[None, None]
    with torch.no_grad():
        return float(decode(member(batch))[1])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_integrated_gradients_are_complete(seed):
    member = tiny_network(seed).double()
    rng = np.random.default_rng(seed)
    volume, reference = rng.normal(size=(2, 6, 7, 6))
    found = integrated_gradients(member, volume, reference, decode, n_steps=100)
    change = age(member, reference) - age(member, volume)
    assert found.sum() == pytest.approx(change, abs=0.02 + 0.02 * abs(change))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_a_reference_that_is_the_image_explains_nothing(seed):
    volume = np.random.default_rng(seed).normal(size=(6, 7, 6))
    assert not integrated_gradients(tiny_network(seed), volume, volume, decode, n_steps=2).any()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_relevance_is_conserved_without_biases(seed):
    parts = list(tiny_network(seed, inplace=True).double())
    member = nn.Sequential(*parts[:5], nn.ReLU(), *parts[5:]).eval()
    with torch.no_grad():
        for module in member.modules():
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
        member[-1].weight.abs_().mul_(torch.linspace(-1, 1, 7)[:, None].double())
    volume = np.random.default_rng(seed).uniform(0.5, 1, size=(6, 7, 6))
    batch = torch.as_tensor(volume)[None, None]
    logits = member(batch).detach().requires_grad_(requires_grad=True)
    slope = torch.autograd.grad(decode(logits)[1].sum(), logits)[0]
    found = relevance(member, volume, decode)
    whole = float((slope * logits.detach()).sum())
    assert found.sum() == pytest.approx(-whole, rel=1e-4, abs=1e-6)


def test_relevance_of_a_mixture_is_the_mean_of_its_parts():
    shape = [8, 10, 8]
    bins = {"shape": shape, "lower": 20.0, "width": 10.0, "n_bins": 7}
    parts = [
        {"id": "sfcn", "parameters": {"channels": [3, 4], "n_bins": 7}},
        {"id": "tissuelinear", "parameters": bins},
    ]
    torch.manual_seed(0)
    mixture = build_network({"id": "mixture", "parameters": {"parts": parts}}).eval()
    mixture.parts[1].set_sum(torch.randn(2 * 4 * 5 * 4), 40.0)
    volume = np.random.default_rng(0).uniform(0, 2, size=shape).astype(np.float32)
    apart = [relevance(part, volume, decode) for part in mixture.parts]
    assert all(np.abs(part).max() > 0 for part in apart)
    np.testing.assert_allclose(relevance(mixture, volume, decode), (apart[0] + apart[1]) / 2)


def test_relevance_does_not_change_the_network():
    member = tiny_network(3, inplace=True)
    before = {name: value.clone() for name, value in member.state_dict().items()}
    volume = np.random.default_rng(0).normal(size=(6, 7, 6)).astype(np.float32)
    relevance(member, volume, decode)
    assert all(torch.equal(before[name], value) for name, value in member.state_dict().items())
    assert member[2].inplace


@pytest.mark.parametrize("method", METHODS)
def test_the_planted_region_is_found(method):
    # Only a steep network feels the noise in a mean.
    steep = {"gain": 5.0, "centre": 64 / 576} if method == "noise" else {}
    inputs = make_input(planted(**steep))
    table = explain(method, inputs)[method]
    assert list(table) == columns_of("lrp")
    first = table.set_index("index")["importance_per_ml"].drop(9)
    assert first.idxmax() == 1
    rest = first.drop(1).max()
    assert rest < (0.9 if method == "noise" else 0.01) * first[1]
    assert table.loc[4, ["importance", "rank"]].isna().all()


@pytest.mark.parametrize("method", ["lrp", "ig"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_sign_is_that_of_occlusion(method, sign):
    inputs = make_input(planted(gain=sign))
    occluded = explain("occlusion", inputs)["table"]
    table = explain(method, inputs)[method]
    assert np.sign(table["delta_age"][0]) == np.sign(occluded["delta_age"][0]) == -sign


@pytest.mark.parametrize("method", METHODS)
def test_members_are_averaged_and_their_spread_told(method):
    one, other, volume = tiny_network(1), tiny_network(2), f"{method}_map"
    alone = [explain(method, make_input(member)) for member in (one, other)]
    both = explain(method, make_input(one, other))
    np.testing.assert_allclose(
        both[volume], (alone[0][volume] + alone[1][volume]) / 2, atol=1e-6, rtol=1e-4
    )
    sizes = np.std([found[method]["importance"] for found in alone], axis=0, ddof=1)
    np.testing.assert_allclose(both[method]["importance_sd_members"][:4], sizes[:4], rtol=1e-3)
    spread = both[method]["delta_age_sd_members"]
    if method == "noise":
        assert both[method][["delta_age", "delta_age_sd_members"]].isna().all(axis=None)
        assert both[volume].min() >= 0
        assert both[volume].max() <= 1
        return
    values = [found[method]["delta_age"] for found in alone]
    np.testing.assert_allclose(spread[:4], np.std(values, axis=0, ddof=1)[:4], rtol=1e-3)
    assert alone[0][method]["delta_age_sd_members"].isna().all()


def test_ig_has_rows_for_every_baseline_and_the_map_is_of_the_first():
    inputs = make_input(tiny_network(1), baselines=("background", "mean"))
    found = explain("ig", inputs)
    assert found["ig"]["baseline"].unique().tolist() == ["background", "mean"]
    inside = found["ig_map"][inputs.labels == 2].sum()
    assert found["ig"]["delta_age"][1] == pytest.approx(inside, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_regions_are_compared_with_parcels(method):
    inputs = make_input(planted(), null_parcels=6, ood_flag="x")
    table = explain(method, inputs)[method]
    assert table["null_sd"][:4].gt(0).all()
    assert table["percentile_null"][:4].between(0, 100).all()
    assert table["ood_flag"].eq("x").all()


def test_noise_depends_on_the_seed_alone_and_stays_in_the_brain():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(6, 7, 6)).astype(np.float32)
    brain = rng.random(volume.shape) < 0.5
    maps = [
        noise_importance(tiny_network(1), volume, brain, decode, seed=seed, n_steps=3)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert (maps[0] != maps[2]).any()
    assert not maps[0][~brain].any()
    nothing = np.zeros_like(brain)
    assert not noise_importance(tiny_network(1), volume, nothing, decode, seed=0).any()


def test_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExecutableError, match=r"bidsapp-brainage\[xai\]") as caught:
        explain("ig", make_input(tiny_network(1)))
    assert caught.value.exit_code == 127


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :7] if x.sum() > 0 else x.flatten(1)[:, 1:8]


class Residual(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 1, 1)
        self.odd = nn.Softplus()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, self.layer(x)).flatten(1)[:, :7]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Branching(), "symbolically traced"),
        (Residual(lambda _, x: x + 1), "operation add"),
        (Residual(lambda net, x: net.odd(x)), "layer odd is of type Softplus"),
        (Residual(lambda _, x: x * x), "operation mul"),
    ],
)
def test_relevance_refuses_what_it_cannot_pass(network, reason):
    volume = np.ones((6, 7, 6), np.float32)
    with pytest.raises(UsageError, match=f"{reason}.*leave lrp out"):
        relevance(network.eval(), volume, decode)


def test_gradients_say_which_method_needs_captum(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExecutableError, match="`explain` ig"):
        library("captum.attr", "ig")
