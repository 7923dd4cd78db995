"""Pairs of regions against full passes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.methods.pairs import COLUMNS, pairwise
from tests.explain.toy import EMPTY, ENGINES, FILL, bits, make_toy

REGIONS = [3, 0, EMPTY, 5]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def test_pairs_match_full_passes_and_leave_no_trace(engine):
    toy = make_toy()
    occluder = toy.occluder(engine)
    before, seen = bits(occluder), []
    found = pairwise(
        occluder, FILL, REGIONS, toy.n_voxels, progress=lambda *step: seen.append(step)
    )
    assert bits(occluder) == before
    assert seen == [(3, 6), (5, 6), (6, 6)]
    assert tuple(found.columns) == COLUMNS
    pairs = list(zip(found["a"], found["b"], strict=True))
    assert pairs == list(itertools.combinations(REGIONS, 2))
    for row in found.itertuples():
        if EMPTY in (row.a, row.b):
            assert np.isnan([row.delta_both, row.interaction]).all()
            continue
        alone = [toy.age([region]) - toy.age() for region in (row.a, row.b)]
        both = toy.age([row.a, row.b]) - toy.age()
        expected = [*alone, both, both - sum(alone)]
        found_values = [row.delta_a, row.delta_b, row.delta_both, row.interaction]
        np.testing.assert_allclose(found_values, expected, atol=1e-9)


def test_the_order_of_a_pair_does_not_matter(engine):
    toy = make_toy()
    occluder = toy.occluder(engine)
    there = pairwise(occluder, FILL, [0, 1], toy.n_voxels)["interaction"][0]
    back = pairwise(occluder, FILL, [1, 0], toy.n_voxels)["interaction"][0]
    assert there == pytest.approx(back, abs=1e-9)


@pytest.mark.parametrize("regions", [[], [1]])
def test_fewer_than_two_regions_have_no_pairs(engine, regions):
    toy = make_toy()
    found = pairwise(toy.occluder(engine), FILL, regions, toy.n_voxels)
    assert found.empty
    assert tuple(found.columns) == COLUMNS


def test_a_region_twice_is_refused():
    toy = make_toy()
    with pytest.raises(UsageError, match="twice"):
        pairwise(toy.occluder("loop"), FILL, [1, 1], toy.n_voxels)
