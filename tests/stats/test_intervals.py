"""The mean with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bidsapp_brainage.stats.intervals import mean_with_interval, means_with_intervals


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


def test_many_means_at_once_are_those_of_each():
    values = np.random.default_rng(3).normal(1, 2, (12, 5))
    values[:4, 1] = np.nan
    values[:, 2] = np.nan
    values[:, 3] = 0.1  # whose sum is not exact
    values[1:, 4] = np.nan
    got = means_with_intervals(values)
    for place, column in enumerate(values.T):
        one = mean_with_interval(column)
        expected = [one.n, one.mean, one.sd, *one.tested.values()]
        names = ["n", "mean", "sd", *one.tested]
        np.testing.assert_allclose(got.loc[place, names].to_numpy(float), expected, atol=1e-15)
