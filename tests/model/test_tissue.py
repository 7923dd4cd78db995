from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.intensity import scale_intensity
from bidsapp_brainage.model.tissue import three_levels, tissue_units

SHAPE = (40, 48, 40)
ELLIPSOID = {"center": [19.5, 23.5, 19.5], "radii": [15.0, 18.0, 15.0]}


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A brain in tissue units with folded cortex and ventricles, its mask, and its tissue."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    folds = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
    mask = radius < 0.95
    units = np.where(folds > 0.0, 2.0, 1.0)
    units = np.where((folds < -0.07) | (radius < 0.3), 0.0, units)
    return units, mask, np.where(mask, units, np.nan)


def scanned(contrast: tuple[float, float, float], noise: float = 0.01) -> np.ndarray:
    values = np.interp(head()[0], (0, 1, 2), contrast)
    return values * (1 + noise * np.random.default_rng(1).normal(size=SHAPE))


def test_fluid_grey_and_white_matter_get_their_numbers():
    units, mask, _ = head()
    found = tissue_units(scanned((30, 80, 110)), mask, ELLIPSOID)
    for level in (0, 1, 2):
        assert np.median(found[mask & (units == level)]) == pytest.approx(level, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(
    fluid=st.floats(5, 40),
    grey=st.floats(25, 60),
    white=st.floats(12, 60),
    gain=st.floats(0.01, 99),
)
def test_contrast_and_gain_of_the_scanner_make_little_difference(fluid, grey, white, gain):
    _, mask, _ = head()
    usual = tissue_units(scanned((30, 80, 110)), mask, ELLIPSOID)
    levels = tuple(gain * level for level in (fluid, fluid + grey, fluid + grey + white))
    other = tissue_units(scanned(levels), mask, ELLIPSOID)
    assert np.median(np.abs(other - usual)[mask]) < 0.15


def test_a_field_over_white_matter_is_made_flat():
    units, mask, _ = head()
    field = np.exp(0.1 * np.linspace(-1, 1, SHAPE[0]))[:, None, None]
    image = scanned((30, 80, 110)) * field
    found = tissue_units(image, mask, ELLIPSOID)
    white = mask & (units == 2)
    left, right = (np.median(found[part][white[part]]) for part in np.s_[4:12, 28:36])
    dark, bright = (np.median(image[part][white[part]]) for part in np.s_[4:12, 28:36])
    assert bright / dark > 1.12
    assert right - left < 0.3 * (bright - dark) / 30  # 30: from grey to white matter


def test_levels_do_not_depend_on_the_masks_edge():
    _, mask, _ = head()
    image = scanned((30, 80, 110))
    tight = ndimage.binary_erosion(mask, iterations=1)
    wide, narrow = (tissue_units(image, edge, ELLIPSOID) for edge in (mask, tight))
    assert np.abs(wide - narrow)[tight].mean() < 0.03


def test_the_card_asks_for_it():
    _, mask, _ = head()
    spec = {"scaling": "tissue", "ellipsoid": ELLIPSOID, "clip": [-0.5, 2.5]}
    scaled = scale_intensity(scanned((30, 80, 110)), mask, spec)
    assert scaled.dtype == np.float32
    assert (scaled[~mask] == 0).all()
    assert scaled.min() >= -0.5
    assert scaled.max() <= 2.5


def test_levels_of_three_gaussians():
    rng = np.random.default_rng(0)
    sample = np.concatenate([rng.normal(m, 4, n) for m, n in ((20, 3000), (60, 6000), (90, 5000))])
    assert three_levels(sample) == pytest.approx([20, 60, 90], abs=2)


def test_what_is_no_brain_is_said():
    mask = np.ones(SHAPE, bool)
    with pytest.raises(DataError, match="same intensity"):
        tissue_units(np.ones(SHAPE), mask, ELLIPSOID)
    with pytest.raises(DataError, match="registration has failed"):
        tissue_units(np.ones(SHAPE), ~mask, ELLIPSOID)
