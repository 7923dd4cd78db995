"""Permutation tests: agreement with known tests, and false positives at the nominal rate."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from bidsapp_brainage.stats.permutation import (
    false_discovery,
    freedman_lane_max_t,
    one_sample_t,
    sign_flip_max_t,
)

# Of 300 experiments at 5 %, between 5 and 27 are positive with a probability of 99.9 %.
EXPERIMENTS, FEWEST, MOST = 300, 5, 27


def test_benjamini_and_hochberg():
    """Their own example (1995, J R Statist Soc B 57:289): four of fifteen hypotheses at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    q = false_discovery(np.array([*p, np.nan]))
    assert (q[:-1] <= 0.05).sum() == 4
    assert q[3] == pytest.approx(0.0095 * 15 / 4)
    assert np.isnan(q[-1])
    assert np.isnan(false_discovery(np.array([np.nan]))).all()


def test_t_is_that_of_scipy_with_missing_values():
    values = np.random.default_rng(0).normal(1, 2, (12, 3))
    values[4, 1] = np.nan
    expected = stats.ttest_1samp(values, 0, nan_policy="omit").statistic
    np.testing.assert_allclose(one_sample_t(values), expected)
    assert np.isnan(one_sample_t(np.ones((5, 1)))).all()


def test_one_outcome_agrees_with_the_t_test():
    values = np.random.default_rng(1).normal(0.35, 1, (40, 1))
    got = sign_flip_max_t(values, n_permutations=4999)
    assert got[0] == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue, abs=0.01)


def test_sign_flips_keep_the_family_wise_rate_and_find_what_is_there():
    rng = np.random.default_rng(2)
    shared = 0.7  # outcomes are correlated, as regions are
    positive = 0
    for experiment in range(EXPERIMENTS):
        values = rng.normal(0, 1, (15, 20)) + shared * rng.normal(0, 1, (15, 1))
        positive += sign_flip_max_t(values, n_permutations=199, seed=experiment).min() <= 0.05
    assert FEWEST <= positive <= MOST
    values[:, 3] += 3
    assert sign_flip_max_t(values, n_permutations=199)[3] <= 0.05


def test_freedman_lane_keeps_the_family_wise_rate_with_a_correlated_covariate():
    rng = np.random.default_rng(4)
    positive = 0
    for experiment in range(EXPERIMENTS):
        age = rng.normal(0, 1, 30)
        score = 0.6 * age + rng.normal(0, 1, 30)
        # The covariate matters, the tested term does not, and variances differ.
        outcomes = 2 * age[:, None] + rng.normal(0, 1 + (age[:, None] > 0), (30, 8))
        design = np.column_stack([np.ones(30), score, age])
        p = freedman_lane_max_t(outcomes, design, 1, n_permutations=99, seed=experiment)
        positive += p.min() <= 0.05
    assert FEWEST <= positive <= MOST
    outcomes[:, 5] += 3 * score
    assert freedman_lane_max_t(outcomes, design, 1, n_permutations=99)[5] <= 0.05


def test_people_stay_within_their_block():
    """If the term is the block itself, no permutation changes anything."""
    block = np.repeat([0, 1], 10)
    outcomes = np.random.default_rng(5).normal(0, 1, (20, 3)) + 9 * block[:, None]
    design = np.column_stack([np.ones(20), block])
    free = freedman_lane_max_t(outcomes, design, 1, n_permutations=99)
    assert (free <= 0.02).all()
    within = np.array([freedman_lane_max_t(outcomes, design, 1, blocks=block, n_permutations=99)])
    assert (within >= 0.99).any()


def test_constant_outcomes_have_no_p():
    design = np.column_stack([np.ones(8), np.arange(8.0)])
    assert np.isnan(freedman_lane_max_t(np.zeros((8, 2)), design, 1, n_permutations=9)).all()
    assert np.isnan(sign_flip_max_t(np.zeros((8, 2)), n_permutations=9)).all()


def test_sums_of_permuted_weights_are_the_statistic_of_permuted_people():
    """Each order by its definition: the values themselves are permuted and fitted again."""
    rng = np.random.default_rng(8)
    design = np.column_stack([np.ones(24), rng.normal(0, 1, (24, 2))])
    outcomes = rng.normal(0, 1, (24, 5)) + 0.4 * design[:, [1]]
    largest = []
    reduced = np.delete(design, 1, axis=1)
    residuals = outcomes - reduced @ np.linalg.lstsq(reduced, outcomes)[0]
    draws = np.random.default_rng(11)
    for _ in range(50):
        permuted = residuals[draws.permutation(24)]
        largest.append(max(hc3_t(permuted[:, place], design, 1) for place in range(5)))
    observed = [hc3_t(outcomes[:, place], design, 1) for place in range(5)]
    expected = [(1 + sum(t >= own for t in largest)) / 51 for own in observed]
    got = freedman_lane_max_t(outcomes, design, 1, n_permutations=50, seed=11)
    np.testing.assert_allclose(got, expected)


def hc3_t(values: np.ndarray, design: np.ndarray, term: int) -> float:
    """Size of t of a term with HC3 errors, by statsmodels."""
    return float(abs(sm.OLS(values, design).fit(cov_type="HC3").tvalues[term]))
