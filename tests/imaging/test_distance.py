"""Distances from masks are those of scipy, and boxes hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bidsapp_brainage.imaging.distance import box_around, distance_to, within


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
