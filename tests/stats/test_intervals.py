"""The mean with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bidsapp_brainage.stats.intervals import mean_with_interval


def test_interval_and_test_are_those_of_scipy():
    values = np.random.default_rng(2).normal(1, 2, 12)
    got = mean_with_interval([*values, np.nan])
    wanted = stats.ttest_1samp(values, 0)
    bounds = wanted.confidence_interval(0.95)
    assert got.n == 12
    assert (got.lower, got.upper) == pytest.approx((bounds.low, bounds.high))
    assert (got.t, got.p) == pytest.approx((wanted.statistic, wanted.pvalue))
    assert got.tested["effect_size"] == pytest.approx(values.mean() / values.std(ddof=1))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [3.0, 3.0, 3.0]])
def test_small_and_constant_samples_have_no_interval(values):
    got = mean_with_interval(values)
    assert got.n == len(values)
    assert np.isnan(list(got.tested.values())).all()
    assert got.mean == pytest.approx(np.mean(values) if values else np.nan, nan_ok=True)
