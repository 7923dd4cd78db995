"""Calibration of a site on its reference people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.stats.correction import site

HOME = BiasCorrection(slope=0.76, intercept=11.4, source="its own scanner", residual_sd=6.4)


def people(n, *, slope=0.6, offset=20.0, sd=6.0, ages=(20, 80), seed=0):
    rng = np.random.default_rng(seed)
    age = rng.uniform(*ages, n)
    return age, offset + slope * age + rng.normal(0, sd, n)


def facts(fit):
    line = fit.line
    return np.array([line.intercept, line.slope, line.pull, fit.half_width, fit.gap_sd], float)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(10, 45),
    st.integers(0, 1000),
    st.floats(-60, 60, allow_nan=False),
    st.sampled_from([HOME, None]),
    st.data(),
)
def test_a_persons_own_age_and_prediction_change_nothing_said_of_this_person(
    n, seed, change, home, data
):
    who = data.draw(st.integers(0, n - 1))
    age, predicted = people(n, seed=seed)
    before = site.fit_each_without(age, predicted, home)
    age[who] += change
    predicted[who] -= 2 * change
    after = site.fit_each_without(age, predicted, home)
    np.testing.assert_array_equal(facts(after[who]), facts(before[who]))
    if abs(change) > 1:
        other = (who + 1) % n
        assert (facts(after[other]) != facts(before[other])).all()


def test_each_person_gets_the_line_of_the_others():
    age, predicted = people(12)
    fits = site.fit_each_without(age, predicted, None)
    for i, fit in enumerate(fits):
        slope, intercept = np.polyfit(np.delete(age, i), np.delete(predicted, i), 1)
        assert fit.line.slope == pytest.approx(slope)
        assert fit.line.intercept == pytest.approx(intercept)


def test_without_a_card_line_the_best_age_is_the_regression_of_age_on_prediction():
    age, predicted = people(200)
    line = site.fit_site(age, predicted, None).line
    slope, intercept = np.polyfit(predicted, age, 1)
    new = np.array([30.0, 50.0, 70.0])
    np.testing.assert_allclose(line.best_age(new), intercept + slope * new, atol=1e-6)
    off = predicted - np.polyval(np.polyfit(age, predicted, 1), age)
    np.testing.assert_allclose(line.gap(predicted, age), off / line.slope, atol=1e-6)


def test_many_people_overrule_the_card_and_few_lean_on_it():
    many, few = (site.fit_site(*people(n, ages=(40, 60)), HOME).line for n in (20_000, 12))
    assert many.slope == pytest.approx(0.6, abs=0.01)
    assert abs(few.slope - HOME.slope) < abs(few.own_slope - HOME.slope)
    unshrunk = BiasCorrection(0.76, 11.4, "no SD", residual_sd=None)
    assert site.fit_site(*people(12), unshrunk).line.slope == pytest.approx(
        site.fit_site(*people(12), None).line.slope
    )


def test_gaps_are_on_the_scale_of_home_and_do_not_depend_on_age():
    age, predicted = people(5000, slope=0.4, sd=3.0)
    line = site.fit_site(age, predicted, HOME).line
    gap = line.gap(predicted, age)
    assert gap.mean() == pytest.approx(0, abs=0.05)
    assert np.polyfit(age, gap, 1)[0] == pytest.approx(0, abs=0.01)
    older = line.gap(predicted + 0.4 * 5, age)  # what five years do to predictions here
    assert (older - gap).mean() == pytest.approx(5 * HOME.slope, rel=0.02)


@pytest.mark.parametrize("n", [10, 20, 38, 39, 80])
def test_intervals_of_new_people_hold_what_they_promise(n):
    inside = []
    for seed in range(60):
        fit = site.fit_site(*people(n, seed=seed), HOME)
        age, predicted = people(200, seed=10_000 + seed)
        inside.append(np.abs(fit.line.best_age(predicted) - age) <= fit.half_width)
    assert 0.93 < np.mean(inside) < 0.98


def test_the_half_width_is_a_conformal_rank_of_many_and_wider_for_few():
    errors = np.arange(1, 40) * np.where(np.arange(39) % 2, 1.0, -1.0)
    assert site.half_width(errors) == 38
    assert site.half_width(np.ones(10)) == pytest.approx(2.306, abs=0.001)


@pytest.mark.parametrize(
    ("sample", "home", "words"),
    [
        (people(9), HOME, "9 reference people of known age, and at least 10"),
        (people(30, ages=(40, 44)), HOME, "an SD of 1."),
        ((np.r_[np.full(11, 40.0), 80.0], np.r_[np.arange(11) + 35.0, 70]), HOME, "SD of 0.0"),
        (people(11, ages=(30, 45)), None, "the model card has no line"),
        (people(60, slope=0.0), HOME, "predictions hardly follow age (slope 0."),
    ],
)
def test_what_does_not_allow_a_calibration_is_refused_with_the_reason(sample, home, words):
    assert words in site.refusal(*sample, home)


@pytest.mark.parametrize("home", [HOME, None])
def test_what_allows_one_is_not_refused(home):
    assert site.refusal(*people(25), home) == ""
