"""A linear network on volumes of regions: what it sums, and what occlusion makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods.lrp import relevance
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.regional import RegionLinear, for_brain

REGIONS = {"cortex": [100, 101], "thalamus": [59, 60], "white matter": [81]}
FLUID = {"sulcal fluid": [1], "ventricles": [51, 52]}
CENTERS = 14.0 + 2.0 * (torch.arange(37) + 0.5)
CORTEX, SULCI = 0, 3  # places among the regions


BINS = {"lower": 14.0, "width": 2.0, "n_bins": 37}


def network(weight: np.ndarray, age: float = 50.0, full: float = 1.0) -> RegionLinear:
    parameters = {"regions": REGIONS, "fluid": FLUID, **BINS, "full": full}
    made = build_network({"id": "regionlinear", "parameters": parameters})
    assert isinstance(made, RegionLinear)
    made.set_weights(weight, age)
    return made


def brain(seed: int, shape: tuple[int, ...] = (6, 5, 4)) -> tuple[np.ndarray, np.ndarray]:
    """Tissue units and labels at random; 7 is a region without a weight."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 7, 51, 59, 60, 81, 100, 101], size=shape)
    labels[0, 0, 0] = 100
    units = np.where(labels > 0, rng.uniform(0, 2.2, shape), 0).astype(np.float32)
    return units, labels


def sum_of(bound: torch.nn.Module, units: np.ndarray) -> float:
    """The age before it is spread over bins."""
    spread, bound.spread = bound.spread, torch.nn.Identity()
    age = float(bound(torch.from_numpy(units)[None, None])) + float(CENTERS.mean())
    bound.spread = spread
    return age


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    region=st.sampled_from([100, 59, 81, 51, 1, 7]),
    full=st.sampled_from([0.25, 1.0]),
)
def test_voxels_add_up_to_the_volumes_also_where_some_are_occluded(seed, region, full):
    units, labels = brain(seed)
    weight = np.random.default_rng(seed).normal(0, 30, 5)
    made = network(weight, full=full)
    bound = made.bound(labels)
    hidden = np.where(labels == region, 0, units).astype(np.float32)
    for volume in (units, hidden):
        expected = 50 + made.fractions(volume, labels) @ weight
        assert sum_of(bound, volume) == pytest.approx(expected, abs=2e-4)


def test_fractions_are_parts_of_everything_inside():
    units, labels = brain(0)
    parts = network(np.zeros(5)).fractions(units, labels)
    inside = (labels > 0).sum()
    cortex = np.isin(labels, REGIONS["cortex"])
    assert parts[CORTEX] == pytest.approx(np.minimum(units, 1)[cortex].sum() / inside)
    without = np.where(cortex, 0, units)
    lost = network(np.zeros(5)).fractions(without, labels) - parts
    assert lost[CORTEX] == pytest.approx(-parts[CORTEX])
    assert lost[SULCI] == pytest.approx(parts[CORTEX])  # fluid takes the place of tissue
    assert lost[[1, 2, 4]] == pytest.approx(0)


def test_the_mean_of_the_distribution_is_the_age():
    units, labels = brain(1)
    bound = network(np.zeros(5), age=50.0).bound(labels)
    probabilities = torch.softmax(bound(torch.from_numpy(units)[None, None]), dim=1)
    assert float(probabilities @ CENTERS) == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize("engine", ["incremental", "loop"])
def test_occlusion_adds_up_over_regions(engine):
    units, labels = brain(2, (8, 8, 8))
    member = network(np.array([-20.0, -50, 30, 15, 25])).bound(labels)

    def decode(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities = torch.softmax(logits.double(), dim=1)
        return probabilities, probabilities @ CENTERS.double()

    cut = np.where(labels > 0, 1 + (np.arange(8) > 3), 0)  # two halves
    both = np.where(labels > 0, 1, 0)
    ensemble = Ensemble((member,), decode, engine=engine)
    halves = occlude(ensemble, units, cut, [1, 2])["delta_age"]
    whole = occlude(ensemble, units, both, [1])["delta_age"]
    assert halves.sum() == pytest.approx(float(whole.iloc[0]), abs=1e-3)
    assert abs(float(whole.iloc[0])) > 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_mirror_image_has_the_same_age(axis):
    units, labels = brain(3)
    bound = network(np.array([-20.0, -50, 30, 15, 25])).bound(labels)
    flipped = np.ascontiguousarray(np.flip(units, axis))
    assert sum_of(bound.mirrored(axis), flipped) == pytest.approx(sum_of(bound, units), abs=1e-4)
    assert sum_of(bound, flipped) != pytest.approx(sum_of(bound, units), abs=1e-2)


def mixed(shape: tuple[int, ...]) -> torch.nn.Module:
    """A mixture of a small network, and volumes that count three times."""
    torch.manual_seed(0)
    parts = [
        {"id": "sfcn", "parameters": {"channels": [3, 4], "n_bins": 37}},
        {"id": "regionlinear", "parameters": {"regions": REGIONS, "fluid": FLUID, **BINS}},
    ]
    made = build_network({"id": "mixture", "parameters": {"parts": parts, "weights": [1, 3]}})
    made.parts[1].set_weights(np.array([-20.0, -50, 30, 15, 25]), 50.0)
    return made.eval()


def test_a_mixture_is_bound_with_its_parts():
    units, labels = brain(4, (16, 16, 16))
    x = torch.from_numpy(units)[None, None]
    mixture = mixed(units.shape)
    (bound,) = for_brain([mixture], labels)
    apart = [torch.softmax(part(x), dim=1) for part in (mixture.parts[0],
             mixture.parts[1].bound(labels))]  # fmt: skip
    together = torch.softmax(bound(x), dim=1)
    torch.testing.assert_close(together, 0.25 * apart[0] + 0.75 * apart[1], atol=1e-6, rtol=0)
    flipped = bound.mirrored(0)
    turned = torch.softmax(flipped.parts[1](x.flip(2)), dim=1)
    torch.testing.assert_close(turned, apart[1], atol=1e-5, rtol=0)
    assert flipped.parts[0] is mixture.parts[0]
    assert not torch.equal(flipped.parts[1].sum.weight, bound.parts[1].sum.weight)
    with pytest.raises(DataError, match="run the app on the image itself"):
        for_brain([mixture], None)


def test_the_engine_is_exact_for_a_mixture_that_is_bound():
    units, labels = brain(5, (16, 16, 16))
    (member,) = for_brain([mixed(units.shape)], labels)
    cut = 1 + np.indices(units.shape).sum(axis=0) // 16

    def decode(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities = torch.softmax(logits.double(), dim=1)
        return probabilities, probabilities @ CENTERS.double()

    answers = [
        occlude(Ensemble((member,), decode, engine=engine), units, cut, [1, 2, 3])["delta_age"]
        for engine in ("incremental", "loop")
    ]
    np.testing.assert_allclose(*answers, atol=1e-4)


def test_without_regions_there_is_no_answer():
    made = network(np.zeros(5))
    with pytest.raises(DataError, match="run the app on the image itself"):
        for_brain([made], None)
    with pytest.raises(DataError, match="bound to the regions"):
        made(torch.zeros(1, 1, 4, 4, 4))
    other = torch.nn.Identity()
    assert for_brain([other], None) == [other]


def test_a_brain_that_is_empty_has_the_age_of_no_region():
    bound = network(np.ones(5), age=44.0).bound(np.zeros((4, 4, 4), int))
    assert sum_of(bound, np.zeros((4, 4, 4), np.float32)) == pytest.approx(44)


def test_relevance_of_volumes_is_what_occlusion_by_fluid_takes_away():
    units, labels = brain(4)
    bound = network(np.array([-20.0, -50, 30, 15, 25])).bound(labels)
    found = relevance(bound, units, lambda logits: (logits, logits[:, 0]))
    occluded = units.copy()
    occluded[:3] = 0
    change = sum_of(bound, occluded) - sum_of(bound, units)
    assert found[:3].sum() == pytest.approx(change, abs=1e-4)
    assert abs(change) > 0.1
