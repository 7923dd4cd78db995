"""Agreement of raters: values of textbooks and of statsmodels, and intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa as of_statsmodels

from bidsapp_brainage.stats.agreement.raters import agreement, cohens_kappa, consensus


def answers(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answers of two raters with this table."""
    one, two = np.indices(counts.shape).reshape(2, -1)
    times = counts.ravel().astype(int)
    return np.repeat(one, times), np.repeat(two, times)


# Diagnoses of Fleiss, Cohen & Everitt (1969), Psychological Bulletin 72:323-327.
FLEISS = np.array([[53.0, 5, 2], [11, 14, 5], [1, 6, 3]])


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_is_that_of_statsmodels(weights):
    rng = np.random.default_rng(3)
    for counts in (FLEISS, rng.integers(1, 30, (4, 4)).astype(float)):
        expected = of_statsmodels(counts, wt=None if weights == "none" else weights)
        assert cohens_kappa(counts, weights) == pytest.approx(expected.kappa)


def test_kappa_of_the_published_example():
    assert cohens_kappa(FLEISS) == pytest.approx(0.429, abs=5e-4)


def test_interval_is_near_that_of_a_large_sample():
    counts = FLEISS * 5
    one, two = answers(counts)
    found = agreement(one, two, np.arange(len(one)), n_answers=3, weights="quadratic")
    expected = of_statsmodels(counts, wt="quadratic")
    np.testing.assert_allclose(
        [found.kappa, found.lower, found.upper],
        [expected.kappa, expected.kappa_low, expected.kappa_upp],
        atol=0.01,
    )
    assert found.n_scans == found.n_participants == counts.sum()
    assert found.share == pytest.approx(np.trace(FLEISS) / 100)


def test_scans_of_one_person_make_no_new_people():
    one, two = answers(FLEISS)
    once = agreement(one, two, np.arange(len(one)), n_answers=3)
    thrice = agreement(*(np.tile(a, 3) for a in (one, two, np.arange(len(one)))), n_answers=3)
    assert (thrice.n_scans, thrice.n_participants) == (300, 100)
    assert thrice.kappa == pytest.approx(once.kappa)
    assert thrice.lower == pytest.approx(once.lower)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Two raters who see the same true grade, each through noise of their own."""
    rng = np.random.default_rng(11)

    def rate(n: int) -> tuple[np.ndarray, np.ndarray]:
        seen = rng.normal(size=n) + 0.6 * rng.normal(size=(2, n))
        return tuple(np.digitize(seen, [-1.0, 0, 1]))

    truth = agreement(*rate(200_000), np.zeros(200_000), n_answers=4, weights="quadratic").kappa
    inside = 0
    for _ in range(200):
        found = agreement(*rate(40), np.arange(40), n_answers=4, weights="quadratic")
        inside += found.lower <= truth <= found.upper
    assert 180 <= inside <= 198


def test_what_cannot_be_said_is_not_said():
    same = agreement([2] * 12, [2] * 12, np.arange(12), n_answers=4)
    assert same.share == 1
    assert np.isnan([same.kappa, same.lower, same.upper]).all()
    agree = agreement([0, 1] * 6, [0, 1] * 6, np.arange(12), n_answers=2)
    assert agree.kappa == 1
    assert np.isnan([agree.lower, agree.upper]).all()
    few = agreement([0, 1, 1], [0, 1, 0], np.arange(3), n_answers=2)
    assert np.isfinite(few.kappa)
    assert np.isnan(few.lower)


@pytest.mark.parametrize(
    ("grades", "expected"), [([3], 3), ([1, 4], 1), ([4, 1, 3], 3), ([2, 2, 4, 4], 2)]
)
def test_consensus_is_the_lower_median(grades, expected):
    assert consensus(grades) == expected
