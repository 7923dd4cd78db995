"""Connected pieces that grow in a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.planning.regions import count
from bidsapp_brainage.explain.nulls.growing import Grower


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
    components, _ = ndimage.label(allowed)
    grower = Grower(allowed, rng)
    assert grower.largest == np.bincount(components[allowed]).max(initial=0)
    if n_voxels > grower.largest:
        with pytest.raises(UsageError, match="at most"):
            grower.parcel(n_voxels)
        return
    parcel = grower.parcel(n_voxels)
    mask = parcel.within((0, 0, 0), shape)
    assert mask.sum() == count(parcel) == n_voxels
    assert not mask[~allowed].any()
    assert ndimage.label(mask)[1] == 1


def test_parcels_are_compact_and_not_all_alike():
    grower = Grower(np.ones((40, 40, 40), bool), np.random.default_rng(0))
    spreads, middles = [], []
    for _ in range(20):
        places = grower.parcel(1000).coordinates()
        spreads.append(np.sqrt(places.var(axis=0).sum()))
        middles.append(places.mean(axis=0))
    ball = np.sqrt(3 / 5) * (3 * 1000 / (4 * np.pi)) ** (1 / 3)  # radius of gyration
    assert min(spreads) > 0.98 * ball
    assert max(spreads) < 1.6 * ball
    assert np.std(spreads) > 0
    assert np.std(middles, axis=0).min() > 5


def test_a_part_that_is_too_small_is_left_for_another():
    allowed = np.zeros((9, 9, 9), bool)
    allowed[::2, ::2, ::2] = True  # 125 parts of one voxel
    allowed[8, 8, 4:9] = True
    parcel = Grower(allowed, np.random.default_rng(0)).parcel(5)
    assert set(parcel.coordinates()[:, 2]) == {4, 5, 6, 7, 8}


def test_a_parcel_follows_a_long_thin_part():
    allowed = np.zeros((3, 3, 200), bool)
    allowed[1, 1] = True
    parcel = Grower(allowed, np.random.default_rng(0)).parcel(150)
    ends = parcel.coordinates()[:, 2]
    assert ends.max() - ends.min() == 149


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="at least 1 voxel"):
        Grower(np.ones((3, 3, 3), bool), np.random.default_rng(0)).parcel(0)
