"""Deletion and insertion against full passes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.methods.curves import (
    STEP_COLUMNS,
    beside_random,
    curve_area,
    deletion_curve,
    emptied,
    insertion_curve,
    random_order_curves,
)
from bidsapp_brainage.explain.walks import temporary_commits
from tests.explain.toy import EMPTY, ENGINES, FILL, bits, make_toy

ORDER = [3, 0, EMPTY, 5, 1, 2]
WITHOUT_EMPTY = [3, 0, 5, 1, 2]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def toy():
    return make_toy()


def test_deletion_matches_full_passes_and_leaves_no_trace(toy, engine):
    occluder = toy.occluder(engine)
    before = bits(occluder)
    curve = deletion_curve(occluder, FILL, ORDER, toy.n_voxels)
    assert bits(occluder) == before
    assert tuple(curve.columns) == STEP_COLUMNS
    assert curve["step"].tolist() == list(range(6))
    assert curve["region"].isna().tolist() == [True] + [False] * 5
    assert curve["region"].tolist()[1:] == WITHOUT_EMPTY
    ages = [toy.age(WITHOUT_EMPTY[:n]) for n in range(6)]
    np.testing.assert_allclose(curve["predicted_age"], ages, atol=1e-9)
    np.testing.assert_allclose(curve["delta_age"], np.subtract(ages, ages[0]), atol=1e-9)
    shares = np.cumsum([0] + [toy.n_voxels[r] for r in WITHOUT_EMPTY]) / sum(toy.n_voxels)
    np.testing.assert_allclose(curve["fraction_occluded"], shares)
    assert curve["js_divergence"][0] == 0
    assert (curve["js_divergence"][1:] > 0).all()


@pytest.mark.parametrize("as_volume", [False, True])
def test_insertion_runs_from_everything_occluded_to_the_volume(toy, engine, as_volume):
    fill = np.random.default_rng(1).normal(size=toy.volume.shape) if as_volume else FILL
    before_volume = toy.volume.copy()
    occluder = toy.ensemble(engine).open(emptied(toy.volume, toy.patches, fill), toy.patches)
    before = bits(occluder)
    curve = insertion_curve(occluder, toy.volume, ORDER, toy.n_voxels)
    assert bits(occluder) == before
    ages = [toy.age(WITHOUT_EMPTY[n:], fill) for n in range(6)]
    np.testing.assert_allclose(curve["predicted_age"], ages, atol=1e-9)
    assert curve["predicted_age"].iloc[-1] == pytest.approx(toy.age(), abs=1e-9)
    assert curve["fraction_occluded"].iloc[[0, -1]].tolist() == [1, 0]
    assert curve["fraction_occluded"].is_monotonic_decreasing
    np.testing.assert_array_equal(toy.volume, before_volume)


def test_area_of_trapezoids_is_the_same_in_both_directions():
    curve = pd.DataFrame({"fraction_occluded": [0, 0.5, 1], "delta_age": [0.0, -2.0, 4.0]})
    assert curve_area(curve) == pytest.approx(0.5 * 1 + 0.5 * 3)
    assert curve_area(curve[::-1]) == curve_area(curve)


def test_order_without_effect_has_no_area(toy, engine):
    occluder = toy.occluder(engine)
    assert curve_area(deletion_curve(occluder, toy.volume, ORDER, toy.n_voxels)) == 0


def test_random_orders_depend_on_the_seed_alone(toy):
    areas = [
        [
            curve_area(curve)
            for curve in random_order_curves(
                toy.occluder(engine), FILL, order, toy.n_voxels, n_orders=4, seed=seed
            )
        ]
        for engine, order, seed in [
            ("loop", ORDER, 1), ("incremental", ORDER[::-1], 1), ("loop", ORDER, 2),
        ]
    ]  # fmt: skip
    np.testing.assert_allclose(areas[0], areas[1], atol=1e-9)
    assert not np.allclose(areas[0], areas[2])


def test_a_curve_stands_beside_random_ones(toy, engine):
    occluder = toy.occluder(engine)
    before, seen = bits(occluder), []
    random = random_order_curves(
        occluder,
        FILL,
        ORDER,
        toy.n_voxels,
        n_orders=8,
        seed=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    own = deletion_curve(occluder, FILL, ORDER, toy.n_voxels)
    found = beside_random(own, random)
    assert bits(occluder) == before
    assert seen == [(n, 8) for n in range(1, 9)]
    areas = np.array([curve_area(curve) for curve in random])
    row = found.iloc[0]
    assert row["area"] == curve_area(own)
    assert row["random_area_mean"] == pytest.approx(areas.mean())
    assert row["area_between"] == pytest.approx(curve_area(own) - areas.mean())
    assert row["z_area"] == pytest.approx((curve_area(own) - areas.mean()) / areas.std(ddof=1))
    ends = found["random_abs_delta_age"].iloc[[0, -1]].tolist()
    assert ends == pytest.approx([0, abs(own["delta_age"].iloc[-1])], abs=1e-9)


def test_random_insertion_is_compared_at_the_restored_part(toy):
    occluder = toy.ensemble().open(emptied(toy.volume, toy.patches, FILL), toy.patches)
    curve = insertion_curve(occluder, toy.volume, ORDER, toy.n_voxels)
    same = deletion_curve(occluder, toy.volume, ORDER, toy.n_voxels)
    found = beside_random(curve, [same, same])
    np.testing.assert_allclose(found["random_abs_delta_age"], curve["delta_age"].abs())
    assert found["area_between"][0] == pytest.approx(0)
    assert np.isnan(found["z_area"]).all()


def test_commits_are_undone_after_an_error(toy, engine):
    occluder = toy.occluder(engine)
    before = bits(occluder)
    with pytest.raises(KeyError), temporary_commits(occluder) as commit:
        commit(0, FILL)
        commit(1, FILL)
        raise KeyError
    assert bits(occluder) == before


def test_impossible_orders_are_refused(toy):
    occluder = toy.occluder("loop")
    with pytest.raises(UsageError, match="twice"):
        deletion_curve(occluder, FILL, [1, 2, 1], toy.n_voxels)
    with pytest.raises(UsageError, match="voxels"):
        deletion_curve(occluder, FILL, [EMPTY], toy.n_voxels)
    with pytest.raises(UsageError, match="random order"):
        random_order_curves(occluder, FILL, ORDER, toy.n_voxels, n_orders=0, seed=0)
