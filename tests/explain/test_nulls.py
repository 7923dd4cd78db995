"""Random parcels and scores against them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain import scores
from bidsapp_brainage.explain.engine.tables import count
from bidsapp_brainage.explain.nulls import COLUMNS, null_parcels, null_scores, random_parcel
from bidsapp_brainage.explain.occlusion import effects
from tests.explain.toy import ENGINES, FILL, make_toy


def mask_of(patch, shape):
    return patch.within((0, 0, 0), shape)


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    n_voxels=st.integers(1, 60),
    part=st.floats(0.2, 1),
    seed=st.integers(0, 99),
)
def test_parcels_are_connected_of_exact_size_and_allowed(shape, n_voxels, part, seed):
    rng = np.random.default_rng(seed)
    allowed = rng.random(shape) < part
    parcel = random_parcel(allowed, n_voxels, rng)
    components, _ = ndimage.label(allowed)
    largest = np.bincount(components[allowed]).max(initial=0)
    assert (parcel is None) == (largest < n_voxels)
    if parcel is not None:
        mask = mask_of(parcel, shape)
        assert mask.sum() == count(parcel) == n_voxels
        assert not mask[~allowed].any()
        assert ndimage.label(mask)[1] == 1


def test_parcels_are_compact_and_not_all_alike():
    allowed = np.ones((40, 40, 40), bool)
    rng = np.random.default_rng(0)
    spreads = []
    for _ in range(10):
        places = random_parcel(allowed, 1000, rng).coordinates()
        spreads.append(np.sqrt(places.var(axis=0).sum()))
    ball = np.sqrt(3 / 5) * (3 * 1000 / (4 * np.pi)) ** (1 / 3)  # radius of gyration
    assert min(spreads) > 0.98 * ball
    assert max(spreads) < 1.6 * ball
    assert np.std(spreads) > 0


def test_a_part_that_is_too_small_is_left_for_another():
    allowed = np.zeros((9, 9, 9), bool)
    allowed[::2, ::2, ::2] = True  # 125 parts of one voxel
    allowed[8, 8, 4:9] = True
    parcel = random_parcel(allowed, 5, np.random.default_rng(0))
    assert set(parcel.coordinates()[:, 2]) == {4, 5, 6, 7, 8}


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


def test_regions_of_similar_size_share_parcels(blocks):
    allowed = np.ones(blocks.shape, bool)
    indices = [1, 2, 3, 4, 5, 7]
    found = null_parcels(
        blocks, indices, compartments=allowed, n_per_region=3, seed=1, size_tolerance=0.1
    )
    assert [part.tolist() for part in found.assignment] == [
        [0, 1, 2], [3, 4, 5], [0, 1, 2], [], [3, 4, 5], [6, 7, 8],
    ]  # fmt: skip
    assert [count(patch) for patch in found.patches] == [8] * 3 + [40] * 3 + [500] * 3
    exact = null_parcels(
        blocks, indices, compartments=allowed, n_per_region=3, seed=1, size_tolerance=0
    )
    assert len(exact.patches) == 15


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    tolerance=st.floats(0, 0.5),
)
def test_parcels_have_the_size_of_their_region(sizes, tolerance):
    labels = np.zeros((10, 10, 10), dtype=int)
    labels.reshape(-1)[: sum(sizes)] = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    found = null_parcels(
        labels, range(1, len(sizes) + 1), compartments=labels >= 0, n_per_region=2, seed=0,
        size_tolerance=tolerance,
    )  # fmt: skip
    for size, parcels in zip(sizes, found.assignment, strict=True):
        for parcel in parcels:
            n = count(found.patches[parcel])
            assert abs(n - size) <= tolerance * max(n, size) + 0.5 + 1e-9


def test_a_bin_ends_where_a_region_would_be_too_far_from_its_middle():
    labels = np.repeat([1, 2, 3, 0], [100, 121, 122, 57]).reshape(10, 10, 4)
    found = null_parcels(
        labels, [1, 2, 3], compartments=labels >= 0, n_per_region=2, seed=0, size_tolerance=0.1
    )
    assert [count(patch) for patch in found.patches] == [110, 110, 122, 122]


def test_each_compartment_has_its_own_parcels(blocks):
    front, back = np.zeros(blocks.shape, bool), np.zeros(blocks.shape, bool)
    front[:10], back[15:17] = True, True
    found = null_parcels(
        blocks, [1, 2, 3, 7], compartments={1: front, 3: back, 7: back}, n_per_region=4, seed=1
    )
    for number, allowed in [(0, front), (2, back)]:
        for parcel in found.assignment[number]:
            assert not mask_of(found.patches[parcel], blocks.shape)[~allowed].any()
    assert [len(part) for part in found.assignment] == [4, 0, 4, 0]  # 7 does not fit into `back`
    assert len(found.patches) == 8


def test_the_seed_decides(blocks):
    allowed = np.ones(blocks.shape, bool)

    def draw(seed):
        found = null_parcels(blocks, [1, 2], compartments=allowed, n_per_region=3, seed=seed)
        return [patch.coordinates().tolist() for patch in found.patches]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_scores_of_signed_changes():
    table = pd.DataFrame({"index": [4, 9, 2, 7], "delta_age": [-3.0, 0.5, 1.0, np.nan]})
    null = pd.DataFrame({"delta_age": [0.0, 1.0, 2.0, 1.0, 1.0]})
    parcels = [np.array([0, 1, 2]), np.array([], dtype=int), np.array([1, 3, 4]), np.arange(5)]
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


def test_p_is_honest_where_regions_are_random_parcels():
    rng = np.random.default_rng(0)
    ages, null = rng.gamma(2, size=400), rng.gamma(2, size=(400, 39))
    table = pd.DataFrame({"index": range(400), "delta_age": ages})
    found = null_scores(
        table,
        pd.DataFrame({"delta_age": null.ravel()}),
        list(np.arange(null.size).reshape(null.shape)),
    )
    assert found["p_null"].min() == pytest.approx(2 / 40)
    for level in (0.05, 0.1, 0.2):
        assert (found["p_null"] <= level + 1e-9).mean() == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize("engine", ENGINES)
def test_regions_and_parcels_in_one_run(engine):
    toy = make_toy()
    allowed = toy.labels > 0
    nulls = null_parcels(toy.labels, toy.indices, compartments=allowed, n_per_region=5, seed=2)
    patches = [*toy.patches, *nulls.patches]
    occluder = toy.occluder(engine, patches)
    sizes = [count(patch) for patch in patches]
    both = effects(range(len(patches)), sizes, occluder.intact, occluder.occlude(FILL))
    found = null_scores(both.iloc[:6], both.iloc[6:], nulls.assignment)
    own = [
        toy.age_of(np.where(mask_of(nulls.patches[k], allowed.shape), FILL, toy.volume))
        for k in nulls.assignment[0]
    ]
    assert found["null_mean"][0] == pytest.approx(np.mean(own) - toy.age(), abs=1e-9)
    assert found["null_sd"][0] == pytest.approx(np.std(own, ddof=1), abs=1e-9)


def test_impossible_requests_are_refused(blocks):
    allowed = np.ones(blocks.shape, bool)
    with pytest.raises(UsageError, match="at least 2 parcels"):
        null_parcels(blocks, [1], compartments=allowed, n_per_region=1, seed=0)
    with pytest.raises(UsageError, match="tolerance"):
        null_parcels(blocks, [1], compartments=allowed, n_per_region=2, seed=0, size_tolerance=-0.1)
    with pytest.raises(UsageError, match="at least 1 voxel"):
        random_parcel(allowed, 0, np.random.default_rng(0))
