"""CoVariance networks: no weight belongs to a region, so order and number of them are free."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.morphometry.models import CovarianceModel, LinearModel, completed
from bidsapp_brainage.morphometry.network import CovarianceNetwork

MANY = settings(max_examples=25, deadline=None)


def network(seed=0, widths=(5, 4), taps=3):
    torch.manual_seed(seed)
    return CovarianceNetwork(widths, taps).double()


def people(m, seed, n=7):
    x = np.random.default_rng(seed).normal(size=(n + 20, m))
    return torch.from_numpy(x[:n]), torch.from_numpy(np.atleast_2d(np.cov(x, rowvar=False)))


@MANY
@given(m=st.integers(2, 12), seed=st.integers(0, 10_000))
def test_regions_in_another_order_say_the_same(m, seed):
    x, covariance = people(m, seed)
    order = torch.randperm(m, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        plain = network(seed).regional(x, covariance)
        moved = network(seed).regional(x[:, order], covariance[order][:, order])
    torch.testing.assert_close(moved, plain[:, order])


@MANY
@given(m=st.integers(2, 12), seed=st.integers(0, 10_000))
def test_the_answer_is_the_mean_of_what_regions_say(m, seed):
    x, covariance = people(m, seed)
    with torch.no_grad():
        said = network().regional(x, covariance)
        torch.testing.assert_close(network()(x, covariance), said.mean(dim=1))
    assert said.shape == x.shape


def test_a_filter_is_the_polynomial_of_the_covariance():
    one = network(widths=(1,), taps=3)
    x, covariance = people(4, 1)
    with torch.no_grad():
        weights, bias = one.layers[0].weight[0], one.layers[0].bias
        filtered = sum(
            w * x @ torch.linalg.matrix_power(covariance, k) for k, w in enumerate(weights)
        )
        expected = one.readout(torch.nn.functional.leaky_relu(filtered + bias, 0.1)[..., None])
        torch.testing.assert_close(one.regional(x, covariance), expected[..., 0])


def tiny():
    """Two features that go together, and one alone; weights are written here, not drawn."""
    covariance = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    own = CovarianceNetwork((2,), 2)
    with torch.no_grad():
        own.layers[0].weight.copy_(torch.tensor([[1.0, 0.5], [-0.5, 2.0]]))
        own.layers[0].bias.copy_(torch.tensor([0.1, -0.2]))
        own.readout.weight.copy_(torch.tensor([[4.0, -3.0]]))
        own.readout.bias.fill_(30.0)
    return (
        LinearModel(np.array([3.0, -2.0, 1.0]), 40.0, covariance),
        CovarianceModel([own.eval()], covariance, np.array([31.0, 29.0, 30.0])),
    )


Z = np.array([[1.0, -0.5, 2.0], [0.0, 0.0, 0.0]])


def test_numbers_of_tiny_models():
    linear, networks = tiny()
    np.testing.assert_allclose(linear.ages(Z), [[46.0, 40.0]])
    np.testing.assert_allclose(linear.contributions(Z), [[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    assert linear.residuals(Z) is None
    # by hand: covariance over 1.5; first layer (1.35, -0.04, 2.7667) and (0.3, 0.05, 1.4667)
    np.testing.assert_allclose(networks.ages(Z), [[33.61889, 30.46]], atol=1e-4)
    np.testing.assert_allclose(
        networks.residuals(Z), [[0.88111, -3.92889, 3.04778], [0.0, 0.0, 0.0]], atol=1e-4
    )


def test_contributions_add_up_to_the_age_less_that_of_the_mean_person():
    linear, networks = tiny()
    for model, start in ((linear, 40.0), (networks, 30.0)):
        found = model.contributions(Z).sum(axis=1) + start
        np.testing.assert_allclose(found, model.ages(Z).mean(axis=0), atol=1e-4)


def test_a_missing_region_is_told_from_its_neighbours_or_left_out():
    linear, networks = tiny()
    z = np.array([[1.0, np.nan, 2.0]])
    np.testing.assert_allclose(completed(z, linear.covariance), [[1.0, 0.5, 2.0]], atol=0.01)
    assert linear.ages(z)[0, 0] == pytest.approx(44.0, abs=0.02)
    said = networks.contributions(z)[0]
    assert np.isfinite(said).tolist() == [True, False, True]
    alone = CovarianceModel(networks.networks, np.eye(2), np.zeros(2))
    assert networks.ages(z)[0, 0] == pytest.approx(alone.ages(z[:, [0, 2]])[0, 0])
