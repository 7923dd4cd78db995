"""Fills of occluded regions."""

from __future__ import annotations

import numpy as np
import pytest

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


@pytest.mark.parametrize("name", ["mean", "blur"])
def test_a_volume_without_brain_stays_as_it_is(name):
    empty = np.zeros((4, 4, 4))
    labels = np.ones((4, 4, 4), int)
    assert (make_fill(empty, labels, [1], baseline=name) == 0).all()
