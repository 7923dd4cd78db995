"""A linear network on volumes of regions: what it sums, and what occlusion makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.regional import RegionLinear, for_brain

REGIONS = {"cortex": [100, 101], "thalamus": [59, 60], "white matter": [81]}
FLUID = {"sulcal fluid": [1], "ventricles": [51, 52]}
CENTERS = 14.0 + 2.0 * (torch.arange(37) + 0.5)
CORTEX, SULCI = 0, 3  # places among the regions


def network(weight: np.ndarray, age: float = 50.0) -> RegionLinear:
    parameters = {"regions": REGIONS, "fluid": FLUID, "lower": 14.0, "width": 2.0, "n_bins": 37}
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
@given(seed=st.integers(0, 2**16), region=st.sampled_from([100, 59, 81, 51, 1, 7]))
def test_voxels_add_up_to_the_volumes_also_where_some_are_occluded(seed, region):
    units, labels = brain(seed)
    weight = np.random.default_rng(seed).normal(0, 30, 5)
    made = network(weight)
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
