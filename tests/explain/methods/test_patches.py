"""Ages of patches: what the network computes, and what regions get."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession
from bidsapp_brainage.model.networks.patches import PatchLinear, region_means
from bidsapp_brainage.training.patch_errors import patch_facts

SHAPE = (16, 20, 16)
PLACES = (3, 4, 3)


def made(seed=0):
    """A network of patches with random weights, which has no age in one corner."""
    network = PatchLinear(SHAPE, 10.0, 2.0, 40, block=2, window=4, step=2).eval()
    rng = np.random.default_rng(seed)
    fitted = np.ones(PLACES, dtype=bool)
    fitted[0, 0, 0] = False
    network.set_patches(rng.normal(size=(*PLACES, 128)) / 20, rng.uniform(40, 60, PLACES), fitted)
    return network


def decode(logits):
    probabilities = torch.softmax(logits.double(), dim=1)
    return probabilities, probabilities @ (11.0 + 2.0 * torch.arange(40, dtype=torch.float64))


@pytest.fixture
def volume():
    return np.random.default_rng(1).uniform(0, 2, SHAPE).astype(np.float32)


def test_the_age_of_a_brain_is_the_mean_of_its_patches(volume):
    network = made()
    x = torch.from_numpy(volume)[None, None]
    ages = network.patch_ages(x)[0].numpy()
    assert ages.shape == PLACES
    assert np.isnan(ages).sum() == 1
    assert float(decode(network(x))[1]) == pytest.approx(np.nanmean(ages), abs=0.01)


def test_a_patch_sees_what_lies_in_it_and_nothing_else(volume):
    network = made()
    before = network.patch_ages(torch.from_numpy(volume)[None, None])[0].numpy()
    changed = volume.copy()
    changed[:4] = 2 - changed[:4]  # the first two blocks: patches at the first place
    after = network.patch_ages(torch.from_numpy(changed)[None, None])[0].numpy()
    moved = ~np.isclose(before, after, equal_nan=True)
    assert moved[0].sum() == PLACES[1] * PLACES[2] - 1
    assert not moved[1:].any()


def test_values_of_patches_lie_at_their_middles():
    network = made()
    values = np.arange(np.prod(PLACES), dtype=float).reshape(PLACES)
    spread = network.spread_over_voxels(values)
    assert spread.shape == SHAPE
    # the middle of place (1, 2, 1) lies between voxels 7 and 8, 11 and 12, 7 and 8
    assert spread[7:9, 11:13, 7:9].mean() == pytest.approx(values[1, 2, 1], abs=1e-4)
    values[0] = np.nan
    spread = network.spread_over_voxels(values)
    assert np.isnan(spread[:4]).all()
    assert spread[5, 11:13, 7:9].mean() == pytest.approx(values[1, 2, 1], abs=1e-4)


def session(members, volume, **changes):
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[:8, :10], labels[8:, 10:] = 1, 2
    atlas = pd.DataFrame({"index": [1, 2, 3], "name": ["one", "two", "none"]})
    facts = {"volume": volume, "labels": labels, "atlas": atlas, "voxel_ml": 0.1, **changes}
    return ExplanationSession(ExplanationInput(ensemble=Ensemble(members, decode), **facts))


def test_regions_have_age_gap_and_error(volume):
    members = (made(0), made(1))
    rng = np.random.default_rng(2)
    true = rng.uniform(20, 80, 30)
    said = 20 + 0.5 * true[:, None, None, None] + rng.normal(0, 4, (30, *PLACES))
    said[:, 0, 0, 0] = np.nan
    asked = session(members, volume, age=50.0, patches=patch_facts(true, said))
    results = find("patches")(asked)
    card = lookup.method("patches")
    assert list(results) == [output.key for output in card.outputs]
    assert list(results["patches"]) == [column.name for column in card.outputs[0].columns]
    table = results["patches"].set_index("index")
    found = [m.patch_ages(torch.from_numpy(volume)[None, None])[0].numpy() for m in members]
    of_voxels = members[0].spread_over_voxels(np.mean(found, axis=0))
    for index in (1, 2):
        row, where = table.loc[index], asked.inputs.labels == index
        assert row["n_voxels"] == where.sum()
        assert row["patch_age"] == pytest.approx(np.nanmean(of_voxels[where]), abs=1e-4)
        assert row["patch_gap"] == pytest.approx(row["patch_age"] - 50)
        assert row["patch_age_sd_members"] > 0
        # usual for somebody of 50 is 45
        assert row["patch_gap_corrected"] == pytest.approx(row["patch_age"] - 45, abs=1.5)
        errors = np.abs(said - true[:, None, None, None]).mean(axis=0)
        assert np.nanmin(errors) <= row["patch_mae"] <= np.nanmax(errors)
    assert table.loc[3, ["patch_age", "patch_gap", "patch_mae"]].isna().all()
    shown = results["patches_map"]
    assert shown[np.isfinite(of_voxels)] == pytest.approx(of_voxels[np.isfinite(of_voxels)])
    assert not shown[np.isnan(of_voxels)].any()


def test_without_errors_on_the_card_there_are_ages_all_the_same(volume):
    table = find("patches")(session((made(),), volume))["patches"]
    assert table["patch_age"].iloc[:2].notna().all()
    assert table[["patch_gap", "patch_gap_corrected", "patch_mae"]].isna().all(axis=None)


def test_errors_are_those_of_people_left_out():
    true = np.array([20.0, 40, 60, 80])
    said = np.stack([true + 2, 10 + 0.5 * true], axis=1).reshape(4, 1, 1, 2)
    facts = patch_facts(true, said)
    assert facts["shape"] == [1, 1, 2]
    assert facts["mae"] == [2, 15]
    assert facts["slope"] == pytest.approx([1, 0.5])
    assert facts["intercept"] == pytest.approx([2, 10])
    said[0, 0, 0, 1] = np.nan
    assert patch_facts(true, said)["mae"] == [2, None]


def test_regions_without_voxels_have_no_mean():
    labels = np.array([1, 1, 3, 0])
    assert region_means(np.array([2.0, 4.0, np.nan, 9.0]), labels) == {1: 3.0}
