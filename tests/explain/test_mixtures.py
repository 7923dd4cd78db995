"""Mixtures such as the model that ships: their linear parts are sums, their members one network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from bidsapp_brainage.explain.engine.graph import Kind
from bidsapp_brainage.explain.engine.planning.plan import label_patches
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.networks.regional import RegionLinear, for_brain
from bidsapp_brainage.model.networks.sfcn import SFCN

GRID = (24, 28, 24)
LOWER, WIDTH, N_BINS = 14.0, 2.0, 37


def decode(logits):
    probabilities = torch.softmax(logits.double(), dim=1)
    centers = LOWER + WIDTH * (torch.arange(N_BINS, dtype=torch.float64) + 0.5)
    return probabilities, probabilities @ centers


def mixture(seed):
    torch.manual_seed(seed)
    tissue = TissueLinear(GRID, LOWER, WIDTH, N_BINS)
    tissue.set_sum(torch.randn(2 * 12 * 14 * 12) / 60, 40.0)
    regional = RegionLinear({"cortex": [1, 2], "deep": [3]}, {"rest": [4]}, LOWER, WIDTH, N_BINS)
    regional.set_weights(np.random.default_rng(seed).normal(size=3) * 90, 45.0)
    convolutional = SFCN((4, 8, 8), n_bins=N_BINS, stem_stride=2)
    return Mixture([convolutional, tissue, regional], [1, 1, 5]).eval()


@pytest.fixture(scope="module")
def brain():
    rng = np.random.default_rng(0)
    labels = np.zeros(GRID, np.int32)
    labels[3:-3, 3:-3, 3:-3] = rng.integers(1, 5, size=tuple(n - 6 for n in GRID))
    volume = np.where(labels > 0, rng.uniform(0, 2.2, size=GRID), 0).astype(np.float32)
    return volume, labels


@pytest.mark.parametrize("mirrored", [False, True])
def test_ages_are_those_of_full_passes_in_float64(brain, mirrored):
    volume, labels = brain
    members = for_brain([mixture(seed) for seed in range(3)], labels)
    if mirrored:
        members = [member.mirrored(0).eval() for member in members]
        volume, labels = volume[::-1].copy(), labels[::-1].copy()
    corners = np.zeros(GRID, np.int32)
    corners[:12, :14] = 1
    patches = [*label_patches(labels, [1, 2, 3, 4]), *label_patches(corners, [1])]
    ensemble = Ensemble(tuple(members), decode, engine="incremental")
    (network,) = ensemble.networks(GRID)
    assert [layer.kind for layer in network.layers].count(Kind.SUM) == 2
    assert all(len(operation.sums) <= 1 for operation in network.operations)
    wide = Ensemble(tuple(copy.deepcopy(m).double() for m in members), decode, engine="loop")
    exact, fast = wide.open(volume.astype(float), patches), ensemble.open(volume, patches)
    for fill in (0.0, np.random.default_rng(1).uniform(0, 2, size=GRID).astype(np.float32)):
        expected, found = exact.occlude(fill), fast.occlude(fill)
        np.testing.assert_allclose(found.member_ages, expected.member_ages, atol=1e-4)
        assert np.ptp(expected.ages) > 0.1
    np.testing.assert_allclose(fast.intact.ages, exact.intact.ages, atol=1e-5)
    fast.commit(4, 0.0)
    exact.commit(4, 0.0)
    np.testing.assert_allclose(fast.occlude(0.0).ages, exact.occlude(0.0).ages, atol=1e-4)
