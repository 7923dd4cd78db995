"""Shapley values against the definition: the mean over all orders, by full passes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.methods.shapley import COLUMNS, marginal_effects, shapley_values
from tests.explain.toy import EMPTY, ENGINES, FILL, Toy, bits, make_toy

FOUR = [5, 0, 3, 1]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def toy():
    return make_toy()


@pytest.fixture(scope="module")
def exact(toy):
    """By coalitions: weights s! (n - s - 1)! / n! of what a region adds to each set of others."""
    n = len(FOUR)
    values = dict.fromkeys(FOUR, 0.0)
    for region in FOUR:
        others = [other for other in FOUR if other != region]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for coalition in itertools.combinations(others, size):
                gain = toy.age([*coalition, region]) - toy.age(coalition)
                values[region] += weight * gain
    return values


def test_all_orders_give_the_exact_values(toy, exact, engine):
    occluder = toy.occluder(engine)
    sums = dict.fromkeys(FOUR, 0.0)
    for order in itertools.permutations(FOUR):
        gains = marginal_effects(occluder, FILL, order).mean(axis=0)
        for region, gain in zip(order, gains, strict=True):
            sums[region] += gain
    for region in FOUR:
        assert sums[region] / 24 == pytest.approx(exact[region], abs=1e-9)


def test_one_pair_of_walks_is_exact_for_two_regions(toy, engine):
    found = shapley_values(toy.occluder(engine), FILL, [2, 0], toy.n_voxels, n_permutations=2)
    first = (toy.age([2]) - toy.age() + toy.age([0, 2]) - toy.age([0])) / 2
    assert found["shapley_age"][0] == pytest.approx(first, abs=1e-9)
    assert found["standard_error"].isna().all()


def test_the_spread_is_that_of_the_values_of_single_members(toy):
    together = shapley_values(toy.occluder("loop"), FILL, FOUR, toy.n_voxels, n_permutations=4)
    alone = [
        shapley_values(
            Toy([member], toy.volume, toy.labels).occluder("loop"), FILL, FOUR, toy.n_voxels,
            n_permutations=4,
        )
        for member in toy.members
    ]  # fmt: skip
    values = np.array([table["shapley_age"] for table in alone])
    np.testing.assert_allclose(together["shapley_age"], values.mean(axis=0), atol=1e-9)
    spread = together["shapley_age_sd_members"]
    np.testing.assert_allclose(spread, values.std(axis=0, ddof=1), atol=1e-9)
    assert (spread > 0).all()
    assert all(table["shapley_age_sd_members"].isna().all() for table in alone)


def test_samples_come_close_to_the_exact_values(toy, exact):
    found = shapley_values(
        toy.occluder("incremental"), FILL, FOUR, toy.n_voxels, n_permutations=80, seed=1
    )
    for row in found.itertuples():
        assert abs(row.shapley_age - exact[row.region]) < 4 * row.standard_error
        assert 0 < row.standard_error < 0.3 * max(abs(value) for value in exact.values())


def test_standard_error_is_that_of_a_mean_of_pairs(toy):
    occluder = toy.occluder("incremental")
    one, two = (
        shapley_values(occluder, FILL, FOUR, toy.n_voxels, n_permutations=n) for n in (2, 4)
    )
    # With pairs p and q: the mean is (p + q) / 2 and its standard error |p - q| / 2.
    expected = (one["shapley_age"] - two["shapley_age"]).abs()
    np.testing.assert_allclose(two["standard_error"], expected, atol=1e-12)


def test_values_sum_to_the_effect_of_all_regions(toy, engine):
    occluder = toy.occluder(engine)
    before, seen = bits(occluder), []
    found = shapley_values(
        occluder,
        FILL,
        [0, EMPTY, 1, 2, 3, 5],
        toy.n_voxels,
        n_permutations=4,
        progress=lambda *step: seen.append(step),
    )
    assert bits(occluder) == before
    assert seen == [(10, 20), (20, 20)]
    assert tuple(found.columns) == COLUMNS
    assert found["region"].tolist() == [0, EMPTY, 1, 2, 3, 5]
    assert found[["shapley_age", "standard_error"]].isna().all(axis=1).tolist() == [
        region == EMPTY for region in found["region"]
    ]
    total = toy.age([0, 1, 2, 3, 5]) - toy.age()
    assert found["shapley_age"].sum() == pytest.approx(total, abs=1e-9)
    assert found.attrs == {"n_permutations": 4, "total": pytest.approx(total, abs=1e-9)}


def test_the_seed_decides(toy):
    first, again, other = (
        shapley_values(toy.occluder(engine), FILL, FOUR, toy.n_voxels, n_permutations=4, seed=seed)[
            "shapley_age"
        ]
        for engine, seed in [("incremental", 1), ("loop", 1), ("loop", 2)]
    )
    np.testing.assert_allclose(first, again, atol=1e-9)
    assert not np.allclose(first, other)
    same = shapley_values(toy.occluder("loop"), FILL, FOUR, toy.n_voxels, n_permutations=4, seed=1)
    assert same["shapley_age"].equals(again)


def test_work_on_top_of_a_commit_is_kept(toy, engine):
    occluder = toy.occluder(engine)
    occluder.commit(2, FILL)
    found = shapley_values(occluder, FILL, [0], toy.n_voxels, n_permutations=2)
    assert found["shapley_age"][0] == pytest.approx(toy.age([0, 2]) - toy.age([2]), abs=1e-9)
    assert occluder.intact.ages[0] == pytest.approx(toy.age([2]), abs=1e-9)


@pytest.mark.parametrize("regions", [[], [EMPTY]])
def test_without_voxels_there_is_nothing_to_share(toy, regions):
    found = shapley_values(toy.occluder("loop"), FILL, regions, toy.n_voxels, n_permutations=4)
    assert tuple(found.columns) == COLUMNS
    assert len(found) == len(regions)
    assert found["shapley_age"].isna().all()
    assert found.attrs["total"] == 0


def test_impossible_requests_are_refused(toy):
    occluder = toy.occluder("loop")
    for number in (0, 3):
        with pytest.raises(UsageError, match="even number"):
            shapley_values(occluder, FILL, FOUR, toy.n_voxels, n_permutations=number)
    with pytest.raises(UsageError, match="twice"):
        shapley_values(occluder, FILL, [1, 1], toy.n_voxels)
