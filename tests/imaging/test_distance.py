"""Distances from masks are those of scipy, and boxes hold what they should."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy import ndimage

from bidsapp_brainage.imaging.distance import (
    box_around,
    distance_to,
    filled,
    grown,
    near_to,
    within,
)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((24, 20, 18), dtype=bool)
    mask[6:14, 5:12, 7:10] = True
    mask[20, 16, 3] = True
    return mask


@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (1.0, 1.33, 0.94)])
def test_distances_are_scipys(mask: np.ndarray, zooms: tuple[float, ...]) -> None:
    expected = ndimage.distance_transform_edt(~mask, sampling=zooms)
    assert np.allclose(distance_to(mask, np.array(zooms)), expected, atol=1e-4)


def test_nothing_is_infinitely_far() -> None:
    assert np.isinf(distance_to(np.zeros((3, 3, 3), bool), np.ones(3))).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("reach", [1.0, 4.0, 100.0])
def test_near_distances_are_the_same(
    mask: np.ndarray, reach: float, order: Literal["C", "F"]
) -> None:
    zooms = np.array([1.0, 1.33, 0.94])
    expected = ndimage.distance_transform_edt(~mask, sampling=zooms)
    found = near_to(np.asarray(mask, order=order), zooms, reach)
    near = expected <= reach
    assert np.allclose(found[near], expected[near], atol=1e-4)
    assert np.isinf(found[~near]).all()
    assert np.isinf(near_to(np.zeros_like(mask), zooms, reach)).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_are_grown_and_filled_as_by_scipy(order: Literal["C", "F"]) -> None:
    noise = np.random.default_rng(3).random((20, 15, 12)) < 0.6
    noise[8:12, 5:10, 4:8] = True
    noise[9:11, 6:9, 5:7] = False
    mask = np.asarray(noise, order=order)
    assert np.array_equal(filled(mask), ndimage.binary_fill_holes(noise))
    sparse = np.asarray(np.random.default_rng(4).random((9, 8, 7)) < 0.02, order=order)
    assert np.array_equal(grown(sparse, 2), ndimage.binary_dilation(sparse, iterations=2))
    assert filled(np.ones_like(mask)).all()
    assert not filled(np.zeros_like(mask)).any()


@pytest.mark.parametrize("mm", [0.0, 2.5, 40.0])
def test_within(mask: np.ndarray, mm: float) -> None:
    zooms = np.array([1.0, 2.0, 1.5])
    expected = ndimage.distance_transform_edt(~mask, sampling=zooms) <= mm
    assert np.array_equal(within(mask, zooms, mm), expected)


def test_box_has_a_margin_and_ends_at_the_image(mask: np.ndarray) -> None:
    assert box_around(mask, np.array([2, 5, 2])) == (slice(4, 23), slice(0, 20), slice(1, 12))
    assert box_around(np.zeros((4, 5, 6), bool), np.ones(3)) == tuple(
        slice(0, n) for n in (4, 5, 6)
    )
