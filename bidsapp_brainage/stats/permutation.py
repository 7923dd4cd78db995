"""Permutation tests over many outcomes at once, and the false discovery rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bidsapp_brainage.stats.intervals import Floats


def false_discovery(p: NDArray[np.floating]) -> Floats:
    """Benjamini-Hochberg adjusted p values; unknown p values stay unknown and do not count."""
    p = np.asarray(p, dtype=np.float64)
    known = np.isfinite(p)
    adjusted = np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = stats.false_discovery_control(p[known])
    return adjusted


def one_sample_t(values: NDArray[np.floating]) -> Floats:
    """One-sample t of each column (outcome) against zero; NaN where it does not vary."""
    values = np.asarray(values, dtype=np.float64)
    count = np.isfinite(values).sum(axis=0)
    total, squares = np.nansum(values, axis=0), np.nansum(values**2, axis=0)
    return _t_of_sums(total, squares, count)


def _t_of_sums(total: Floats, squares: Floats, count: NDArray[np.intp]) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (squares - total**2 / count) / (count - 1)
        t = total / count / np.sqrt(variance / count)
    return np.where((count > 1) & (variance > 1e-12 * squares), t, np.nan)


def sign_flip_max_t(
    values: NDArray[np.floating], *, n_permutations: int = 999, seed: int = 0
) -> Floats:
    """Family-wise p values of one-sample tests by flipping the signs of participants.

    Valid if differences are symmetric about zero under the null hypothesis. The largest absolute t
    over the outcomes is compared (Westfall and Young 1993; Nichols and Holmes 2002). From values of
    shape (n_people, n_outcomes), NaN where unknown, to (n_outcomes,), NaN where t is undefined.
    """
    values = np.asarray(values, dtype=np.float64)
    observed = np.abs(one_sample_t(values))
    tested = np.isfinite(observed)
    if not tested.any():
        return np.full(values.shape[1], np.nan)
    used = values[:, tested]
    count = np.isfinite(used).sum(axis=0)
    filled = np.nan_to_num(used)
    squares = (filled**2).sum(axis=0)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_permutations, len(values)))
    t = _t_of_sums(signs @ filled, squares, count)
    return _exceedance(observed, tested, np.nanmax(np.abs(t), axis=1))


def _exceedance(observed: Floats, tested: NDArray[np.bool_], largest: Floats) -> Floats:
    """Share of permutations, the observed order among them, with a statistic as large."""
    p = np.full(observed.shape, np.nan)
    # Rounding must not make the observed statistic larger than its own permutation.
    reached = largest[:, None] >= observed[tested][None, :] * (1 - 1e-9)
    p[tested] = (1 + reached.sum(axis=0)) / (1 + len(largest))
    return p


def freedman_lane_max_t(
    outcomes: Floats,
    design: Floats,
    term: int,
    *,
    blocks: NDArray[np.generic] | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> Floats:
    """Family-wise p values of one term of a linear model over many outcomes.

    Residuals of the model without the term are permuted (Freedman and Lane 1983; Winkler et al.
    2014); the statistic is studentised with HC3 errors, which keeps the test valid with unequal
    variances (DiCiccio and Romano 2017).

    Parameters
    ----------
    outcomes : ndarray, shape (n_people, n_outcomes)
        Without missing values.
    design : ndarray, shape (n_people, n_terms)
        Of full rank, with the intercept; column `term` is tested.
    blocks : ndarray, shape (n_people,), optional
        People are exchanged within blocks (sites) only.
    """
    orthogonal = np.linalg.qr(design)[0]
    contrast = np.linalg.pinv(design)[term]
    weights = (contrast / (1 - (orthogonal**2).sum(axis=1))) ** 2

    def statistic(values: Floats) -> Floats:
        residual = values - orthogonal @ (orthogonal.T @ values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(contrast @ values) / np.sqrt(weights @ residual**2)

    reduced = np.linalg.qr(np.delete(design, term, axis=1))[0]
    residuals = outcomes - reduced @ (reduced.T @ outcomes)
    observed = statistic(outcomes)
    tested = np.isfinite(observed)
    if not tested.any():
        return np.full(outcomes.shape[1], np.nan)
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(design), dtype=int) if blocks is None else np.asarray(blocks)
    largest = np.array(
        [
            np.nanmax(statistic(residuals[_shuffled(labels, rng)][:, tested]))
            for _ in range(n_permutations)
        ]
    )
    return _exceedance(observed, tested, largest)


def _shuffled(blocks: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.intp]:
    """A random order of people that keeps everybody in the own block."""
    order = np.arange(len(blocks))
    for label in np.unique(blocks):
        members = np.flatnonzero(blocks == label)
        order[members] = rng.permutation(members)
    return order
