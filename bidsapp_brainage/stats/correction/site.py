"""Calibration of a site (a scanner) on its reference people, each by the others.

At a site the prediction follows ``predicted = intercept + slope * age`` and scatters about it. From
this line, and from how the ages of the reference people are spread, follow

- the best guess of an age from a prediction, without the age itself: the mean of the reference
  ages, moved towards ``(predicted - intercept) / slope`` as far as the scatter allows (the
  regression of age on prediction, in the terms of the line);
- the gap: predicted minus expected at this age, on the scale that the model has at home, so that
  a scanner on which predictions hardly follow age does not make all gaps small;
- an interval about the best guess.

Every reference person is left out once: line, gap, interval and their spread are those of the
others. So a person's own age changes nothing that is said of this person but the gap itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.stats.intervals import MISS, Floats, conformal_quantile

MIN_REFERENCE = 10  # people; fewer tell neither offset nor scatter
MIN_AGE_SD = 3.0  # years; people of one age tell nothing about others
MIN_SLOPE = 0.1  # years per year; below, predictions say nothing about age
MAX_SLOPE_ERROR = 0.2  # of a line that rests on the reference people alone
#: Between-scanner SD of slopes: how far that of the card is believed (benchmarks/site_calibration).
SLOPE_SD = 0.2
SURE_REFERENCE = 50  # people; fewer make the slope uncertain
MIN_FOR_RANKS = 39  # errors whose 95 % conformal bound is not the largest of them


@dataclass(frozen=True)
class SiteLine:
    """What a site's reference people say; floats, or arrays of one shape.

    Attributes
    ----------
    intercept, slope : float
        Of the line ``predicted = intercept + slope * age`` (years).
    own_slope : float
        Slope by least squares alone.
    own_slope_error : float
        Its standard error.
    age_mean : float
        Of the reference people (years).
    pull : float
        Share of the distance from `age_mean` that the best guess keeps.
    home_slope : float
        Slope of the model's own line: the scale of gaps.
    """

    intercept: float | Floats
    slope: float | Floats
    own_slope: float | Floats
    own_slope_error: float | Floats
    age_mean: float | Floats
    pull: float | Floats
    home_slope: float

    def best_age(self, predicted: float | Floats) -> Floats:
        """Best guess of the age from the prediction alone, in years."""
        inverse = (predicted - self.intercept) / self.slope
        return np.asarray(self.age_mean + self.pull * (inverse - self.age_mean))

    def gap(self, predicted: float | Floats, age: float | Floats) -> Floats:
        """Predicted minus expected at this age, in years on the scale of `home_slope`."""
        off = predicted - (self.intercept + self.slope * age)
        return np.asarray(self.home_slope / self.slope * off)


@dataclass(frozen=True)
class SiteFit:
    """A line, and how far people whom it does not know are off.

    Attributes
    ----------
    line : SiteLine
        Of floats.
    half_width : float
        95 % of people are no farther than this from their best guess (years).
    gap_sd : float
        Root mean square of gaps of people left out (years).
    """

    line: SiteLine
    half_width: float
    gap_sd: float


def refusal(age: Floats, predicted: Floats, home: BiasCorrection | None) -> str:
    """Why these reference people do not allow a calibration; empty if they do.

    The arguments are those of :func:`fit_site`.
    """
    if len(age) < MIN_REFERENCE:
        return f"{len(age)} reference people of known age, and at least {MIN_REFERENCE} are needed"
    spread = min(float(np.std(np.delete(age, i), ddof=1)) for i in range(len(age)))
    if spread < MIN_AGE_SD:
        return (
            f"the ages of its {len(age)} reference people have an SD of {spread:.1f} years without "
            f"the one who differs most, and at least {MIN_AGE_SD:.0f} are needed to tell a line "
            "from an offset"
        )
    line = _line(_sums(age, predicted), home)
    if _slope_variance(home) is None and line.own_slope_error > MAX_SLOPE_ERROR:
        return (
            f"the slope of its line is uncertain (standard error {line.own_slope_error:.2f}, at "
            f"most {MAX_SLOPE_ERROR}), and the model card has no line with a residual SD to lean "
            "on: more reference people, or people of more different ages, are needed"
        )
    if line.slope < MIN_SLOPE:
        return (
            f"predictions hardly follow age (slope {line.slope:.2f}, at least {MIN_SLOPE}): no "
            "line can mend that; look at the images and at the normalisation in the reports"
        )
    return ""


def fit_site(age: Floats, predicted: Floats, home: BiasCorrection | None) -> SiteFit:
    """Fit the line, and measure on people left out one by one what it is worth.

    Parameters
    ----------
    age, predicted : ndarray, shape (n_people,)
        Chronological and predicted age of the reference people, in years.
    home : BiasCorrection or None
        The model's own line. With its residual SD the slope is shrunk towards it, as if slopes of
        scanners were scattered about it by ``SLOPE_SD`` (an empirical-Bayes estimate); without,
        it is that of least squares.
    """
    total, own = _sums(age, predicted), _terms(age, predicted)
    others = _line(total[:, None] - own, home)
    gaps = others.gap(predicted, age)
    return SiteFit(
        line=_line(total, home),
        half_width=half_width(others.best_age(predicted) - age),
        gap_sd=float(np.sqrt(np.mean(gaps**2))),
    )


def fit_each_without(
    age: Floats, predicted: Floats, home: BiasCorrection | None
) -> Sequence[SiteFit]:
    """For every reference person the fit on all others; arguments as for :func:`fit_site`."""
    places = range(len(age))
    return [fit_site(np.delete(age, i), np.delete(predicted, i), home) for i in places]


def half_width(errors: Floats) -> float:
    """95 % bound of the size of a new error, from those of people left out (years).

    Conformal from 39 people on (the rank that one more person is below with 95 %); of fewer, a
    normal distribution with an uncertain SD.
    """
    n = len(errors)
    if n >= MIN_FOR_RANKS:
        return conformal_quantile(np.abs(errors))
    spread = float(np.sqrt(np.mean(errors**2)))
    return float(stats.t.ppf(1 - MISS / 2, n - 2)) * spread


def _terms(age: Floats, predicted: Floats) -> Floats:
    """Summands of the sums that lines are made of, shape (6, n_people)."""
    return np.stack(
        [np.ones_like(age), age, predicted, age**2, age * predicted, predicted**2],
    )


def _sums(age: Floats, predicted: Floats) -> Floats:
    """Sums over people, shape (6,)."""
    return np.asarray(_terms(age, predicted).sum(axis=1))


def _line(sums: Floats, home: BiasCorrection | None) -> SiteLine:
    """Line from sums of shape (6,) or (6, n): one line, or n of them."""
    n, age, predicted, squares, products, predicted_squares = sums
    mean = age / n
    sxx = squares - age * mean
    sxy = products - age * predicted / n
    syy = predicted_squares - predicted**2 / n
    own_slope = sxy / sxx
    own_variance = np.maximum(syy - own_slope * sxy, 0) / (n - 2)
    prior = _slope_variance(home)
    if home is None or prior is None:
        slope = own_slope
    else:
        slope = (sxy + prior * home.slope) / (sxx + prior)
    scatter = np.maximum(syy - 2 * slope * sxy + slope**2 * sxx, 0)
    explained = slope**2 * sxx
    return SiteLine(
        intercept=predicted / n - slope * mean,
        slope=slope,
        own_slope=own_slope,
        own_slope_error=np.sqrt(own_variance / sxx),
        age_mean=mean,
        pull=explained / (explained + scatter),
        home_slope=1.0 if home is None else home.slope,
    )


def _slope_variance(home: BiasCorrection | None) -> float | None:
    """Weight of the card's slope: the sum of squares of ages (years^2) that would say as much."""
    if home is None or not home.residual_sd:
        return None
    return (home.residual_sd / SLOPE_SD) ** 2
