"""Fills of occluded regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.baselines import make_fill


@pytest.fixture
def ball():
    grid = np.indices((21, 21, 21)) - 10
    brain = (grid**2).sum(0) <= 64
    volume = np.where(brain, 5.0, -1.0)
    labels = np.zeros(volume.shape, int)
    labels[8:12, 8:12, 8:12] = 3
    volume[labels == 3] = 9.0
    labels[0:2, 0:2, 0:2] = 2  # a region that lies wholly outside the brain
    return volume, labels


def test_background_is_the_cards_constant(ball):
    volume, labels = ball
    assert np.all(make_fill(volume, labels, [3], background=-1.0) == -1.0)


def test_mean_takes_the_neighbourhood_not_the_region(ball):
    volume, labels = ball
    fill = make_fill(volume, labels, [3, 2, 7], baseline="mean", background=-1.0)
    assert fill[labels == 3] == pytest.approx(5.0)
    assert (fill[labels == 2] == -1.0).all()


def test_mean_of_the_whole_brain_when_a_region_has_no_neighbours(ball):
    volume, _ = ball
    everything = np.ones(volume.shape, int)
    fill = make_fill(volume, everything, [1], baseline="mean", background=-1.0)
    brain = volume != -1.0
    assert fill[brain] == pytest.approx(volume[brain].mean())


def test_blur_smooths_the_brain_and_never_leaks(ball):
    volume, labels = ball
    fill = make_fill(volume, labels, [3], baseline="blur", background=-1.0)
    outside = volume == -1.0
    assert (fill[outside] == -1.0).all()
    assert fill[~outside].min() >= 5.0 - 1e-4
    assert fill[labels == 3].max() < 9.0


def test_array_is_taken_as_it_is_and_shapes_are_checked(ball):
    volume, labels = ball
    mine = np.arange(volume.size, dtype=np.float32).reshape(volume.shape)
    assert (make_fill(volume, labels, [3], baseline=mine) == mine).all()
    with pytest.raises(UsageError, match="baseline"):
        make_fill(volume, labels, [3], baseline=mine[1:])


@settings(max_examples=30, deadline=None)
@given(labels=arrays(np.int8, (5, 6, 4), elements=st.integers(0, 3)))
def test_closed_takes_the_nearest_voxel_outside_the_region(labels):
    volume = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    fill = make_fill(volume, labels.astype(int), [1, 2], baseline="closed")
    elsewhere = (labels == 0) | (labels == 3)
    assert np.array_equal(fill[elsewhere], volume[elsewhere])
    places = np.argwhere(np.ones_like(labels, dtype=bool))
    for index in (1, 2):
        outside = places[(labels != index).ravel()]
        for place in np.argwhere(labels == index) if len(outside) else ():
            taken = places[int(fill[tuple(place)])]
            assert labels[tuple(taken)] != index
            distance = ((outside - place) ** 2).sum(axis=1).min()
            assert ((taken - place) ** 2).sum() == distance


@pytest.mark.parametrize("name", ["mean", "blur", "closed"])
def test_a_volume_without_brain_stays_as_it_is(name):
    empty = np.zeros((4, 4, 4))
    labels = np.ones((4, 4, 4), int)
    assert (make_fill(empty, labels, [1], baseline=name) == 0).all()
