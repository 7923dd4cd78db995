"""Random parcels and scores against them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain import scores
from bidsapp_brainage.explain.engine.planning.regions import count
from bidsapp_brainage.explain.nulls import SizeLaw, null_parcels, null_scores
from bidsapp_brainage.explain.nulls.scores import COLUMNS
from bidsapp_brainage.explain.occlusion import effects
from tests.explain.toy import ENGINES, FILL, make_toy


def mask_of(patch, shape):
    return patch.within((0, 0, 0), shape)


@pytest.fixture
def blocks():
    """Regions of 8, 9, 40, 41 and 500 voxels, and one without."""
    labels = np.zeros((20, 12, 10), dtype=int)
    flat = labels.reshape(-1)
    start = 0
    for index, size in [(1, 8), (2, 40), (3, 9), (5, 41), (7, 500)]:
        flat[start : start + size] = index
        start += size
    return labels


def test_regions_of_a_compartment_share_parcels_of_all_their_sizes(blocks):
    allowed = np.ones(blocks.shape, bool)
    indices = [1, 2, 3, 4, 5, 7]
    found = null_parcels(blocks, indices, compartments=allowed, n_parcels=10, seed=1)
    assert [len(part) for part in found.assignment] == [10, 10, 10, 0, 10, 10]
    assert found.assignment[0].tolist() == found.assignment[5].tolist() == list(range(10))
    sizes = [count(patch) for patch in found.patches]
    assert sizes == [8, 8, 9, 9, 40, 40, 41, 41, 500, 500]
    few = null_parcels(blocks, indices, compartments=allowed, n_parcels=2, seed=1)
    assert [count(patch) for patch in few.patches] == [8, 40]


def test_each_compartment_has_its_own_parcels(blocks):
    front, back = np.zeros(blocks.shape, bool), np.zeros(blocks.shape, bool)
    front[:10], back[15:17] = True, True
    found = null_parcels(
        blocks, [1, 2, 3, 7], compartments={1: front, 3: back, 7: back}, n_parcels=4, seed=1
    )
    for number, allowed in [(0, front), (2, back)]:
        for parcel in found.assignment[number]:
            assert not mask_of(found.patches[parcel], blocks.shape)[~allowed].any()
    assert [len(part) for part in found.assignment] == [4, 0, 4, 0]  # 7 does not fit into `back`
    assert len(found.patches) == 8


def test_the_seed_decides(blocks):
    allowed = np.ones(blocks.shape, bool)

    def draw(seed):
        found = null_parcels(blocks, [1, 2], compartments=allowed, n_parcels=3, seed=seed)
        return [patch.coordinates().tolist() for patch in found.patches]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_scores_of_signed_changes():
    table = pd.DataFrame(
        {"index": [4, 9, 2, 7], "n_voxels": 5, "delta_age": [-3.0, 0.5, 1.0, np.nan]}
    )
    null = pd.DataFrame({"n_voxels": 5, "delta_age": [0.0, 1.0, 2.0, 1.0, 1.0, 1.0]})
    parcels = [np.arange(3), np.array([], dtype=int), np.arange(3, 6), np.arange(3)]
    found = null_scores(table, null, parcels)
    assert tuple(found.columns) == COLUMNS
    assert set(COLUMNS) <= set(scores.COLUMNS)
    assert found["index"].tolist() == [4, 9, 2, 7]
    assert found.loc[0, list(COLUMNS[1:])].tolist() == [1.0, 1.0, -4.0, 0.5, 0.0]
    assert found.loc[[1, 3], list(COLUMNS[1:])].isna().all(axis=None)
    assert found.loc[2, "null_sd"] == 0
    assert np.isnan(found.loc[2, "z_null"])
    assert found.loc[2, "p_null"] == 1
    assert found.loc[2, "percentile_null"] == 50


def drawn(sizes, rng, *, average, power):
    """Changes of parcels that follow the law of sizes."""
    return average * sizes + sizes**power * rng.standard_t(5, size=len(sizes))


@pytest.mark.parametrize("power", [0.5, 0.9])
def test_the_law_of_sizes_is_found(power):
    rng = np.random.default_rng(3)
    sizes = np.exp(rng.uniform(np.log(50), np.log(5000), size=4000))
    group = np.repeat([0, 1], 2000)
    changes = np.where(
        group == 0,
        drawn(sizes, rng, average=0.01, power=power),
        drawn(sizes, rng, average=-0.002, power=power),
    )
    law = SizeLaw.of(sizes, changes, group)
    assert law.power == pytest.approx(power, abs=0.05)
    assert law.average[[0, -1]] == pytest.approx([0.01, -0.002], abs=5 * 1000 ** (power - 1) / 40)
    again = law.carried(changes, sizes, np.array([3]), float(sizes[3]))
    assert again == pytest.approx(changes[[3]])


def test_nulls_of_all_sizes_from_parcels_of_all_sizes():
    rng = np.random.default_rng(0)
    sizes = np.repeat([100.0, 300.0, 900.0, 2700.0], 100)
    changes = drawn(sizes, rng, average=0.01, power=0.7)
    regions = pd.DataFrame({"index": [1, 2], "n_voxels": [150, 2000], "delta_age": 0.0})
    null = pd.DataFrame({"n_voxels": sizes, "delta_age": changes})
    found = null_scores(regions, null, [np.arange(400)] * 2)
    expected = regions["n_voxels"] ** 0.7 * np.sqrt(5 / 3)
    np.testing.assert_allclose(found["null_sd"], expected, rtol=0.2)
    away = found["null_mean"] - 0.01 * regions["n_voxels"]
    assert (away.abs() < 3 * expected / 20).all()


def test_p_is_honest_where_regions_are_random_parcels_of_any_size():
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(40):
        size = np.exp(rng.uniform(np.log(100), np.log(3000), size=59))
        change = drawn(size, rng, average=0.01, power=0.7)
        regions = pd.DataFrame(
            {"index": range(20), "n_voxels": size[:20], "delta_age": change[:20]}
        )
        null = pd.DataFrame({"n_voxels": size[20:], "delta_age": change[20:]})
        ps.append(null_scores(regions, null, [np.arange(39)] * 20)["p_null"])
    found = np.concatenate(ps)
    assert found.min() == pytest.approx(2 / 40)
    for level in (0.05, 0.1, 0.2):
        assert (found <= level + 1e-9).mean() == pytest.approx(level, abs=0.04)


@pytest.mark.parametrize("engine", ENGINES)
def test_regions_and_parcels_in_one_run(engine):
    toy = make_toy()
    allowed = toy.labels > 0
    nulls = null_parcels(toy.labels, toy.indices, compartments=allowed, n_parcels=5, seed=2)
    patches = [*toy.patches, *nulls.patches]
    occluder = toy.occluder(engine, patches)
    sizes = [count(patch) for patch in patches]
    both = effects(range(len(patches)), sizes, occluder.intact, occluder.occlude(FILL))
    own = [
        toy.age_of(np.where(mask_of(patch, allowed.shape), FILL, toy.volume)) - toy.age()
        for patch in nulls.patches
    ]
    np.testing.assert_allclose(both["delta_age"].iloc[6:], own, atol=1e-9)
    found = null_scores(both.iloc[:6], both.iloc[6:], nulls.assignment)
    assert found["null_sd"][0] > 0


def test_impossible_requests_are_refused(blocks):
    allowed = np.ones(blocks.shape, bool)
    with pytest.raises(UsageError, match="at least 2 parcels"):
        null_parcels(blocks, [1], compartments=allowed, n_parcels=1, seed=0)
