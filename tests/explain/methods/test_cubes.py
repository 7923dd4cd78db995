"""Sliding cubes: what they cover, and maps of their effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.planning.regions import count
from bidsapp_brainage.explain.methods.cubes import cube_map, sliding_cubes
from bidsapp_brainage.explain.occlusion import effects
from tests.explain.toy import ENGINES, FILL, make_toy

shapes = st.tuples(*[st.integers(1, 8)] * 3)


def covered(shape, cubes):
    times = np.zeros(shape, dtype=int)
    for cube in cubes:
        times += cube.within((0, 0, 0), shape)
    return times


@settings(max_examples=100, deadline=None)
@given(
    shape=shapes,
    edge=st.integers(1, 5),
    step=st.integers(1, 7),
    part=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_cubes_stay_inside_and_cover_it(shape, edge, step, part, seed):
    inside = np.random.default_rng(seed).random(shape) < part
    cubes = sliding_cubes(inside, edge=edge, step=step)
    times = covered(shape, cubes)
    assert not times[~inside].any()
    if step <= edge:
        assert (times[inside] > 0).all()
    if step >= edge:
        assert times.max(initial=0) <= 1
    for cube in cubes:
        assert count(cube) > 0
        assert all(start % step == 0 for start in cube.origin)
        assert max(cube.box.shape) <= edge
    constant = pd.DataFrame({"delta_age": np.full(len(cubes), 0.7)})
    painted = cube_map(shape, cubes, constant)
    assert painted.dtype == np.float32
    np.testing.assert_allclose(painted, np.where(times > 0, 0.7, 0), rtol=1e-6)


def test_no_cube_repeats_its_neighbour_at_the_border():
    ends = [cube.end[2] for cube in sliding_cubes(np.ones((1, 1, 10), bool), edge=4, step=2)]
    assert ends == [4, 6, 8, 10]


def test_map_is_the_mean_of_the_cubes_that_cover_a_voxel():
    cubes = sliding_cubes(np.ones((1, 1, 5), bool), edge=3, step=1)
    painted = cube_map((1, 1, 5), cubes, pd.DataFrame({"delta_age": [3.0, 6.0, 12.0]}))
    np.testing.assert_allclose(painted[0, 0], [3, 4.5, 7, 9, 12])


@pytest.mark.parametrize("engine", ENGINES)
def test_map_says_what_a_full_pass_says(engine):
    toy = make_toy()
    inside = toy.labels > 0
    cubes = sliding_cubes(inside, edge=4, step=4)
    occluder = toy.occluder(engine, cubes)
    sizes = [count(cube) for cube in cubes]
    found = effects(range(len(cubes)), sizes, occluder.intact, occluder.occlude(FILL))
    assert found["n_voxels"].sum() == inside.sum()
    window = np.zeros(inside.shape, bool)
    window[4:, :4, 4:] = True
    expected = toy.age_of(np.where(window & inside, FILL, toy.volume)) - toy.age()
    painted = cube_map(inside.shape, cubes, found)
    assert painted[window & inside] == pytest.approx(expected, abs=1e-6)


def test_nothing_inside_gives_empty_results():
    cubes = sliding_cubes(np.zeros((4, 4, 4), bool), edge=2, step=2)
    assert cubes == []
    found = pd.DataFrame(
        columns=["index", "n_voxels", "delta_age", "delta_entropy", "js_divergence"]
    )
    assert not cube_map((4, 4, 4), cubes, found).any()


@pytest.mark.parametrize(("edge", "step"), [(0, 1), (1, 0)])
def test_impossible_cubes_are_refused(edge, step):
    with pytest.raises(UsageError, match="at least 1"):
        sliding_cubes(np.ones((2, 2, 2), bool), edge=edge, step=step)
