"""Bootstrap over participants of measures that follow from sums over scans.

A resample is how often each person was drawn, and its sums are a product of matrices; a sample
without a person is a difference of sums. So the work grows with the number of people, where
:func:`scipy.stats.bootstrap` makes a sample of everybody else for each person.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from scipy import special

from bidsapp_brainage.stats.intervals import MISS, Floats, Paired

_AT_ONCE = 2_000_000  # draws of people that are held in memory
_ROUNDING = 1e-12  # relative; the order of a sum must not decide which of two is larger
_FLAT = 1e-12  # a variance so small beside the mean square is that of equal values


@dataclass(frozen=True)
class Sums:
    """Sums over scans, of one sample or of many; all arrays have one shape.

    True and predicted values are counted from their means in the whole sample, which keeps the
    differences of sums exact.

    Attributes
    ----------
    n : ndarray
        Number of scans.
    true, predicted, true2, predicted2, product : ndarray
        Values, their squares and their products.
    error, abs_error, error2, true_error : ndarray
        Predicted minus true value: as it is, its size, its square, times the true value.
    distance : ndarray
        Distances of the true values from the mean of the sample.
    """

    n: Floats
    true: Floats
    predicted: Floats
    true2: Floats
    predicted2: Floats
    product: Floats
    error: Floats
    abs_error: Floats
    error2: Floats
    true_error: Floats
    distance: Floats

    @property
    def true_spread(self) -> Floats:
        """Squared deviations of the true values from their mean; NaN where they are equal."""
        return _spread(self.true, self.true2, self.n)

    @property
    def predicted_spread(self) -> Floats:
        """The same of predicted values."""
        return _spread(self.predicted, self.predicted2, self.n)


#: A measure of accuracy of many samples at once.
Measure: TypeAlias = Callable[[Sums], Floats]


def _spread(total: Floats, squares: Floats, n: Floats) -> Floats:
    spread = squares - total**2 / n
    return np.where(spread > _FLAT * squares, spread, np.nan)


class Resampled:
    """A sample drawn again `n_boot` times, and without each of its people.

    The draws are those of :func:`scipy.stats.bootstrap` with the same seed.
    """

    def __init__(self, sample: Paired, n_boot: int, seed: int) -> None:
        self._people = _People(sample)
        self._everybody = self._people.sums(np.ones((1, sample.n_participants)))
        self._without = self._people.without_each(self._everybody)
        rng = np.random.default_rng(seed)
        step = max(1, _AT_ONCE // sample.n_participants)
        parts = [
            self._people.sums(times_drawn(sample.n_participants, min(step, n_boot - start), rng))
            for start in range(0, n_boot, step)
        ]
        self._drawn = Sums(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Sums))
        )

    def interval(self, measure: Measure) -> tuple[float, float, str]:
        """95 % interval, as :meth:`~bidsapp_brainage.stats.intervals.Paired.interval` gives it."""
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn, without = measure(self._drawn), measure(self._without)
            (whole,) = measure(self._everybody)
        shares = (MISS / 2, 1 - MISS / 2)
        for method, points in (("BCa", bca_points(drawn, without, whole)), ("percentile", shares)):
            if np.isfinite(drawn).all() and np.isfinite(points).all():
                low, high = np.percentile(drawn, 100 * np.asarray(points))
                return float(low), float(high), method
        return np.nan, np.nan, "n/a"


def bca_points(drawn: Floats, without: Floats, whole: float) -> tuple[float, float]:
    """Shares of the bootstrap distribution that bound the bias-corrected, accelerated interval.

    Parameters
    ----------
    drawn : ndarray, shape (n_boot,)
        The measure in the resamples.
    without : ndarray, shape (n_people,)
        The measure without each of the people.
    whole : float
        The measure of everybody.

    Returns
    -------
    tuple of float
        From 0 to 1; NaN where it is undefined. Source: Efron, Journal of the American Statistical
        Association 1987, 82:171; ties count half, as in scipy.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        nearly = _ROUNDING * abs(whole)
        share = ((drawn < whole - nearly).mean() + (drawn <= whole + nearly).mean()) / 2
        bias = float(special.ndtri(share))
        influence = (len(without) - 1) * (without.mean() - without)
        cubes, squares = (influence**3).sum(), (influence**2).sum()
        acceleration = float(cubes / np.float64(squares) ** 1.5 / 6)
    points = []
    for normal in (special.ndtri(MISS / 2), special.ndtri(1 - MISS / 2)):
        shifted = bias + float(normal)
        if not math.isfinite(shifted) or acceleration * shifted == 1:
            return math.nan, math.nan
        points.append(float(special.ndtr(bias + shifted / (1 - acceleration * shifted))))
    return points[0], points[1]


def times_drawn(n_people: int, n_samples: int, rng: np.random.Generator) -> Floats:
    """How often each person is in each of some resamples, shape (n_samples, n_people)."""
    drawn = rng.integers(0, n_people, (n_samples, n_people))
    drawn += n_people * np.arange(n_samples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_samples * n_people)
    return counts.reshape(n_samples, n_people).astype(np.float64)


class _People:
    """Scans of a sample, summed by person."""

    def __init__(self, sample: Paired) -> None:
        true = sample.true - sample.true.mean()
        predicted = sample.predicted - sample.predicted.mean()
        error = sample.predicted - sample.true
        columns: list[Floats] = [np.ones_like(true), true, predicted, true**2, predicted**2]
        columns += [true * predicted, error, np.abs(error), error**2, true * error]
        self._by_person = np.column_stack(
            [np.bincount(sample.codes, weights=column) for column in columns]
        )
        order = np.argsort(true, kind="stable")
        self._codes, self._true = sample.codes[order], true[order]

    def sums(self, times: Floats) -> Sums:
        """Of samples with each person so many times, from (n_samples, n_people)."""
        columns = (times @ self._by_person).T
        scans = times[:, self._codes]
        middle = columns[1] / columns[0]
        distance = self._distance(scans, middle, columns[0], columns[1])
        return Sums(*np.vstack([columns, distance]))

    def _distance(self, scans: Floats, middle: Floats, n: Floats, total: Floats) -> Floats:
        """Distances of ordered true values from the middle: those below it, and the others."""
        place = np.searchsorted(self._true, middle, side="right")[:, None] - 1
        below, sum_below = (
            np.where(place < 0, 0.0, np.take_along_axis(np.cumsum(of, axis=1), place, axis=1))[:, 0]
            for of in (scans, scans * self._true)
        )
        return np.asarray(middle * (2 * below - n) + total - 2 * sum_below)

    def without_each(self, everybody: Sums) -> Sums:
        """Of the samples that lack one person each."""
        names = [field.name for field in fields(Sums)[:-1]]
        whole = np.array([getattr(everybody, name)[0] for name in names])
        columns = (whole - self._by_person).T
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = columns[1] / columns[0]
        place = np.searchsorted(self._true, middle, side="right")
        below = place.astype(np.float64)
        sum_below = np.concatenate([[0.0], np.cumsum(self._true)])[place]
        of_all = middle * (2 * below - whole[0]) + whole[1] - 2 * sum_below
        own = np.bincount(self._codes, weights=np.abs(self._true - middle[self._codes]))
        return Sums(*np.vstack([columns, of_all - own]))
