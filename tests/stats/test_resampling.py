"""Intervals from sums are those of scipy's bootstrap, which knows nothing of sums."""

from __future__ import annotations

import numpy as np
import pytest

from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.intervals import Paired
from bidsapp_brainage.stats.resampling import Resampled

#: Each metric by its definition.
METRICS = {
    "mae": accuracy.mae,
    "rmse": accuracy.rmse,
    "r2": accuracy.r_squared,
    "pearson_r": accuracy.pearson_r,
    "mean_gap": accuracy.mean_gap,
    "bias_slope": accuracy.bias_slope,
    "mae_mean_age": accuracy.mae_mean_age,
    "mae_gain": accuracy.mae_gain,
}


def sample(n_people: int, n_scans: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ages, predictions and participants in no order."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), n_scans)
    rng.shuffle(people)
    age = np.round(rng.uniform(18, 80, len(people)), 1)
    return age, 12 + 0.75 * age + rng.normal(0, 5, len(people)), people


@pytest.mark.parametrize(("n_people", "n_scans"), [(80, 1), (25, 3), (6, 1)])
def test_every_interval_is_that_of_scipy(n_people, n_scans):
    age, predicted, people = sample(n_people, n_scans, seed=n_people)
    table = accuracy.metrics(age, predicted, people, n_boot=300, seed=7).table.set_index("metric")
    reference = Paired.of(age, predicted, people)
    for name, statistic in METRICS.items():
        lower, upper, method = reference.interval(statistic, 300, 7)
        row = table.loc[name]
        assert (row["ci95_lower"], row["ci95_upper"]) == pytest.approx((lower, upper), rel=1e-9)
        assert row["ci_method"] == method


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    drawn = sample(30, 2, seed=1)
    whole = accuracy.metrics(*drawn, n_boot=200, seed=3).table
    monkeypatch.setattr("bidsapp_brainage.stats.resampling._AT_ONCE", 100)
    np.testing.assert_allclose(
        accuracy.metrics(*drawn, n_boot=200, seed=3).table["ci95_lower"], whole["ci95_lower"]
    )


def test_a_measure_that_is_undefined_in_some_resample_has_no_interval():
    paired = Paired.of(np.array([20.0, 30, 40]), np.array([21.0, 30, 44]), np.arange(3))
    resampled = Resampled(paired, 100, 0)  # some draw one person three times
    assert resampled.interval(lambda s: s.error2 / s.true_spread)[2] == "n/a"
    assert resampled.interval(lambda s: s.abs_error / s.n)[2] == "BCa"
