"""ComBat: differences between sites in the level and the spread of many measures at once.

A measure y of a person at site i is modelled as ``y = alpha + x b + gamma_i + delta_i e`` with
covariates x, whose effects are kept. Level gamma_i and spread delta_i of every measure are shrunk
towards what the site does to all measures (empirical Bayes), the more the fewer its people.

Sources: Johnson, Li & Rabinovic, Biostatistics 2007, 8:118; for images Fortin et al., NeuroImage
2018, 167:104. The numbers are those of neuroHarmonize with linear covariates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.stats.intervals import Floats

MIN_REFERENCE = 3  # people of a site; fewer have no spread
_CONVERGED, _MOST_ROUNDS = 1e-4, 1000  # of level and variance, relative


@dataclass(frozen=True)
class SiteEffects:
    """What sites do to measures, and what was known of the measures when it was estimated.

    Attributes
    ----------
    sites : ndarray of str, shape (n_sites,)
    level : ndarray, shape (n_measures,)
        Mean over the reference people, each site by its number of people, without covariates.
    slopes : ndarray, shape (n_covariates, n_measures)
    spread : ndarray, shape (n_measures,)
        SD about the model, of all sites together.
    shift, scale : ndarray, shape (n_sites, n_measures)
        Level and spread of a site, in units of `spread`.
    """

    sites: NDArray[np.str_]
    level: Floats
    slopes: Floats
    spread: Floats
    shift: Floats
    scale: Floats

    def standardised(self, values: Floats, covariates: Floats) -> Floats:
        """What covariates do not explain, in units of the common spread."""
        return np.asarray((values - self.level - covariates @ self.slopes) / self.spread)

    def removed(self, values: Floats, sites: NDArray[np.str_], covariates: Floats) -> Floats:
        """Values without the effects of their sites; NaN at sites that are not known.

        Parameters
        ----------
        values : ndarray, shape (n_people, n_measures)
        sites : ndarray of str, shape (n_people,)
        covariates : ndarray, shape (n_people, n_covariates)
            As those that the effects were estimated with.
        """
        known = np.isin(sites, self.sites)
        place = np.searchsorted(self.sites, np.where(known, sites, self.sites[0]))
        rest = self.standardised(values, covariates)
        kept = (rest - self.shift[place]) / self.scale[place] * self.spread
        harmonised = kept + self.level + covariates @ self.slopes
        return np.asarray(np.where(known[:, None], harmonised, np.nan))


def site_effects(
    values: Floats,
    sites: NDArray[np.str_],
    covariates: Floats,
    *,
    scales: bool = True,
    pooled: bool = True,
) -> SiteEffects:
    """Estimate level and spread of sites from reference people.

    Parameters
    ----------
    values : ndarray, shape (n_people, n_measures)
        Of the reference people, without missing values; every measure varies.
    sites : ndarray of str, shape (n_people,)
        At least two sites with three people each.
    covariates : ndarray, shape (n_people, n_covariates)
        Whose effects are kept; without intercept.
    scales : bool
        False: levels only, no spread.
    pooled : bool
        Shrink what is estimated of each measure towards what the site does to all; needs at least
        three measures, and is left out with fewer.

    Raises
    ------
    ValueError
        Sites and covariates cannot be told apart.
    """
    names, place, counts = np.unique(sites, return_inverse=True, return_counts=True)
    is_there = (place[:, None] == np.arange(len(names))).astype(np.float64)
    design = np.hstack([is_there, covariates])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("sites and covariates cannot be told apart")
    coefficients = np.linalg.lstsq(design, values)[0]
    level = (counts / len(values)) @ coefficients[: len(names)]
    spread = np.sqrt(np.mean((values - design @ coefficients) ** 2, axis=0))
    slopes = coefficients[len(names) :]
    rest = (values - level - covariates @ slopes) / spread
    shift = is_there.T @ rest / counts[:, None]
    squares = is_there.T @ (rest - shift[place]) ** 2
    variance = squares / (counts[:, None] - 1) if scales else np.ones_like(shift)
    variance = np.where(variance > 0, variance, 1.0)  # of a measure that is constant at a site
    if pooled and values.shape[1] >= MIN_REFERENCE:
        parts = [
            _shrunk(*each, scales=scales)
            for each in zip(shift, variance, counts.tolist(), strict=True)
        ]
        shift, variance = (np.array(part) for part in zip(*parts, strict=True))
    return SiteEffects(names, level, slopes, spread, shift, np.sqrt(variance))


def _shrunk(shift: Floats, variance: Floats, n: int, *, scales: bool) -> tuple[Floats, Floats]:
    """Level and variance of a site in each measure, given those in all (Johnson 2007, eq. 3.1)."""
    mean, between = shift.mean(), shift.var(ddof=1)
    if not scales:
        return (n * between * shift + mean) / (n * between + 1), variance
    of_variance, spread = variance.mean(), variance.var(ddof=1)
    if between == 0 or spread == 0:  # measures that are copies of one
        return shift, variance
    shape = (2 * spread + of_variance**2) / spread
    size = (of_variance * spread + of_variance**3) / spread
    squares = (n - 1) * variance
    new_shift, new_variance = shift, variance
    for _ in range(_MOST_ROUNDS):
        before = new_shift, new_variance
        new_shift = (n * between * shift + new_variance * mean) / (n * between + new_variance)
        deviations = squares + n * (shift - new_shift) ** 2
        new_variance = (deviations / 2 + size) / (n / 2 + shape - 1)
        pairs = zip((new_shift, new_variance), before, strict=True)
        if max(np.max(np.abs(new - old) / np.abs(old)) for new, old in pairs) <= _CONVERGED:
            break
    return new_shift, new_variance


def share_of_sites(values: Floats, sites: NDArray[np.str_], covariates: Floats) -> Floats:
    """Partial R2 of sites in each measure, given the covariates; no missing values.

    Chance alone gives ``(n_sites - 1) / (n_people - n_covariates - 1)``.
    """
    ones = np.ones((len(values), 1))
    is_there = (sites[:, None] == np.unique(sites)).astype(np.float64)
    left = [
        ((values - design @ np.linalg.lstsq(design, values)[0]) ** 2).sum(axis=0)
        for design in (np.hstack([ones, covariates]), np.hstack([is_there, covariates]))
    ]
    return np.asarray(1 - left[1] / left[0])
