"""Permutation tests over many outcomes at once, and the false discovery rate."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bidsapp_brainage.stats.intervals import Floats

_AT_ONCE = 4_000_000  # weights of people, in all permutations of one product of matrices
_THREADS = 2  # products of matrices leave the interpreter free


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
    rng = np.random.default_rng(seed)
    largest = [
        np.nanmax(np.abs(_t_of_sums(signs @ filled, squares, count)), axis=1)
        for n in _portions(n_permutations, len(values))
        for signs in [rng.choice([-1.0, 1.0], size=(n, len(values)))]
    ]
    return _exceedance(observed, tested, np.concatenate(largest))


def _portions(n_permutations: int, n_weights: int) -> list[int]:
    """Numbers of permutations, each with so many weights, that are made at once."""
    size = max(1, _AT_ONCE // n_weights)
    return [min(size, n_permutations - start) for start in range(0, n_permutations, size)]


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
    families: NDArray[np.intp] | None = None,
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
    families : ndarray, shape (n_outcomes,), optional
        Outcomes with one number are one family; the orders of people are the same for all.
    """
    statistic = _Studentised(design, term)
    reduced = np.linalg.qr(np.delete(design, term, axis=1))[0]
    residuals = outcomes - reduced @ (reduced.T @ outcomes)
    observed = statistic.of(outcomes)
    tested = np.isfinite(observed)
    if not tested.any():
        return np.full(outcomes.shape[1], np.nan)
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(design), dtype=int) if blocks is None else np.asarray(blocks)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    used = residuals[:, tested]
    squares = used**2
    family = np.zeros(len(observed), dtype=int) if families is None else families
    numbers = np.unique(family[tested])

    def largest(orders: Sequence[NDArray[np.intp]]) -> Floats:
        found = statistic.of_orders(used, squares, orders)
        own = [found[:, family[tested] == number] for number in numbers]
        return np.column_stack([np.nanmax(part, axis=1) for part in own])

    portions = _portions(n_permutations, statistic.sides.size)
    drawn = ([_shuffled(members, rng) for _ in range(n)] for n in portions)
    of_families = np.concatenate(list(_together(largest, drawn)))
    p = np.full(observed.shape, np.nan)
    for number, most in zip(numbers, of_families.T, strict=True):
        own = family == number
        p[own] = _exceedance(observed[own], tested[own], most)
    return p


def _together(
    work: Callable[[Sequence[NDArray[np.intp]]], Floats],
    portions: Iterator[Sequence[NDArray[np.intp]]],
) -> Iterator[Floats]:
    """Do some portions at once; no more than these are made."""
    with ThreadPoolExecutor(_THREADS) as pool:
        while few := list(itertools.islice(portions, _THREADS)):
            yield from pool.map(work, few)


class _Studentised:
    """Size of a coefficient over its HC3 error, for many outcomes and orders of people at once.

    With the orthonormal columns Q of the design, what is left of values v is v - Q a, where
    a = Q'v, and the weighted sum of its squares is w'v² - 2 a'(Q'Wv) + a'(Q'WQ)a. All of these are
    sums over people of v or v² with weights that do not depend on v: to permute people it is enough
    to permute the weights, and many orders are one product of matrices.
    """

    def __init__(self, design: Floats, term: int) -> None:
        self._basis = np.linalg.qr(design)[0]
        contrast = np.linalg.pinv(design)[term]
        self._weights = (contrast / (1 - (self._basis**2).sum(axis=1))) ** 2
        weighted = self._basis * self._weights[:, None]
        self._contrast = contrast @ self._basis  # the contrast lies in the space of the design
        self._inner = self._basis.T @ weighted
        self.sides = np.ascontiguousarray(np.column_stack([self._basis, weighted]).T)

    def of(self, values: Floats) -> Floats:
        """For values of shape (n_people, n_outcomes); NaN where nothing varies."""
        explained = self._basis.T @ values
        residual = values - self._basis @ explained
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(self._weights @ residual**2)
            return np.asarray(np.abs(self._contrast @ explained) / error)

    def of_orders(
        self, values: Floats, squares: Floats, orders: Sequence[NDArray[np.intp]]
    ) -> Floats:
        """For ``values[order]`` of each order, of shape (n_orders, n_outcomes)."""
        n_terms, n_people = self._basis.shape[1], len(values)
        back = np.empty((len(orders), n_people), dtype=np.intp)
        sides = np.empty((len(orders), *self.sides.shape))
        for place, order in enumerate(orders):
            back[place, order] = np.arange(n_people)
            np.take(self.sides, back[place], axis=1, out=sides[place], mode="clip")
        sums = (sides.reshape(-1, n_people) @ values).reshape(len(orders), 2 * n_terms, -1)
        explained, weighted = sums[:, :n_terms], sums[:, n_terms:]
        inner = np.einsum("kl,olv->okv", self._inner, explained)
        error = self._weights[back] @ squares + (explained * (inner - 2 * weighted)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            top = np.abs(np.einsum("k,okv->ov", self._contrast, explained))
            return np.asarray(top / np.sqrt(error))


def _shuffled(members: Sequence[NDArray[np.intp]], rng: np.random.Generator) -> NDArray[np.intp]:
    """A random order of people that keeps everybody in the own block, one array of places each."""
    order = np.empty(sum(map(len, members)), dtype=np.intp)
    for block in members:
        order[block] = rng.permutation(block)
    return order
