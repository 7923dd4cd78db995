"""Intraclass correlations against a published example."""

from __future__ import annotations

import numpy as np
import pytest

from bidsapp_brainage.stats.agreement.repeatability import reliability

# Shrout and Fleiss (1979), Psychological Bulletin 86:420, table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def test_shrout_and_fleiss():
    """Values as published; intervals as R's psych::ICC prints them for this table."""
    got = reliability(SHROUT_FLEISS)
    assert got.icc21[0] == pytest.approx(0.29, abs=0.005)
    assert got.icc31[0] == pytest.approx(0.71, abs=0.006)
    assert got.icc21[1:] == pytest.approx((0.019, 0.761), abs=0.003)
    assert got.icc31[1:] == pytest.approx((0.342, 0.946), abs=0.003)
    # Their analysis of variance has a residual mean square of 1.02.
    assert got.smallest_detectable_change == pytest.approx(1.96 * np.sqrt(2 * 1.019), abs=0.01)
    assert got.within_sd == pytest.approx(np.sqrt(6.264), abs=0.001)


def test_planted_reliability_is_recovered():
    rng = np.random.default_rng(3)
    true = rng.normal(0, 3, (4000, 1))
    got = reliability(true + rng.normal(0, 1, (4000, 2)))
    assert got.icc21[0] == pytest.approx(0.9, abs=0.01)
    assert got.icc31[1] < 0.9 < got.icc31[2]
    assert got.within_sd == pytest.approx(1, abs=0.03)
    assert got.smallest_detectable_change == pytest.approx(1.96 * np.sqrt(2), abs=0.08)


def test_a_shift_between_sessions_lowers_agreement_not_consistency():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 3, (50, 1)) + rng.normal(0, 0.5, (50, 2)) + np.array([0, 4])
    got = reliability(values)
    assert got.icc31[0] > 0.95 > got.icc21[0] + 0.2


@pytest.mark.parametrize("values", [np.zeros((1, 3)), np.zeros((4, 1)), np.full((4, 2), np.nan)])
def test_tables_that_tell_nothing_are_refused(values):
    with pytest.raises(ValueError, match="full table"):
        reliability(values)


def test_identical_scans_have_no_undefined_warning():
    values = np.repeat(np.arange(6.0)[:, None], 2, axis=1)
    got = reliability(values)
    assert got.within_sd == 0
    assert np.isnan(got.icc21[0])
