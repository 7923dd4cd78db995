"""Regions compared with random parcels, each carried to the region's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.explanation_columns import NULL

from .parcels import MIN_NULLS

COLUMNS = ("index", *(column.name for column in NULL))
USUAL_POWER = 0.75  # of the size, by which changes spread, where sizes do not tell
N_FITS = 5


@dataclass(frozen=True)
class SizeLaw:
    """How changes grow with size.

    On average in proportion; deviations from the average by a power of the size, which is that of
    all compartments.

    Attributes
    ----------
    average : ndarray, shape (n,)
        Of each parcel's compartment: years for a voxel.
    power : float
        From 0 to 1.
    """

    average: NDArray[np.float64]
    power: float

    @classmethod
    def of(
        cls, sizes: NDArray[np.float64], changes: NDArray[np.float64], group: NDArray[np.int64]
    ) -> SizeLaw:
        """Fit parcels with sizes (n,), changes (n,) and numbers of their compartments (n,)."""
        power, average = USUAL_POWER, np.zeros(len(sizes))
        for _ in range(N_FITS):
            average = _average(sizes, changes, group, power)
            power = _power(sizes, changes - average * sizes, group)
        return cls(average, power)

    def carried(
        self,
        changes: NDArray[np.float64],
        sizes: NDArray[np.float64],
        parcels: NDArray[np.int64],
        size: float,
    ) -> NDArray[np.float64]:
        """What parcels would change if they had another size."""
        average, own = self.average[parcels], sizes[parcels]
        return average * size + (changes[parcels] - average * own) * (size / own) ** self.power


def _average(
    sizes: NDArray[np.float64],
    changes: NDArray[np.float64],
    group: NDArray[np.int64],
    power: float,
) -> NDArray[np.float64]:
    """Least squares through 0 in each group, weighted by the spread at a size."""
    weight = sizes ** (-2 * power)
    above = np.bincount(group, weight * sizes * changes)
    return np.asarray((above / np.bincount(group, weight * sizes**2))[group])


def _power(
    sizes: NDArray[np.float64], deviations: NDArray[np.float64], group: NDArray[np.int64]
) -> float:
    """Slope of the logarithm of absolute deviations on that of sizes, within groups."""
    known = deviations != 0
    if not known.any():
        return USUAL_POWER
    _, own = np.unique(group[known], return_inverse=True)
    x, y = (_centred(np.log(np.abs(part[known])), own) for part in (sizes, deviations))
    if np.ptp(x) < np.log(2):
        return USUAL_POWER
    return float(np.clip((x @ y) / (x @ x), 0, 1))


def _centred(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(values - (np.bincount(group, values) / np.bincount(group))[group])


def null_scores(
    effects: pd.DataFrame, null_effects: pd.DataFrame, assignment: Sequence[NDArray[np.int64]]
) -> pd.DataFrame:
    """Compare each region with its parcels, carried to its size (:class:`SizeLaw`).

    Parameters
    ----------
    effects : DataFrame
        Result of :func:`bidsapp_brainage.explain.occlusion.effects`, one row for each region.
    null_effects : DataFrame
        The same for the parcels.
    assignment : sequence of ndarray of int
        See :class:`NullParcels`; one for each row of `effects`.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``, named as in :data:`bidsapp_brainage.explain.scores.COLUMNS`. All are
        of the signed ``delta_age`` (years): parcels of one size push the age up or down on
        average, and a null of absolute changes could not tell a region that pulls the other way.
        ``z_null`` is ``(delta_age - null_mean) / null_sd``; ``p_null`` is two-sided, twice the
        smaller of the two tails ``(1 + count) / (1 + n)`` and at most 1, so never below
        ``2 / (1 + n)``; ``percentile_null`` is the share of parcels below, 0 to 100, of equal
        ones half. Regions that share parcels have dependent p values. NaN without parcels or for
        empty regions; ``z_null`` also where parcels do not vary.
    """
    sizes = null_effects["n_voxels"].to_numpy(dtype=np.float64)
    changes = null_effects["delta_age"].to_numpy(dtype=np.float64)
    group = np.zeros(len(sizes), dtype=np.int64)
    for parcels in assignment:
        group[parcels] = parcels.min(initial=len(sizes))
    law = SizeLaw.of(sizes, changes, np.unique(group, return_inverse=True)[1])
    rows = [
        _score(float(age), law.carried(changes, sizes, parcels, float(size)))
        for age, size, parcels in zip(
            effects["delta_age"], effects["n_voxels"], assignment, strict=True
        )
    ]
    table = pd.DataFrame(np.reshape(rows, (-1, len(COLUMNS) - 1)), columns=list(COLUMNS[1:]))
    table.insert(0, "index", effects["index"].to_numpy())
    return table


def _score(age: float, null: NDArray[np.float64]) -> tuple[float, ...]:
    if len(null) < MIN_NULLS or np.isnan(age):
        return (np.nan,) * (len(COLUMNS) - 1)
    mean, sd = float(null.mean()), float(null.std(ddof=1))
    tail = min(int((null >= age).sum()), int((null <= age).sum()))
    p = min(1.0, 2 * (1 + tail) / (1 + len(null)))
    below, equal = float((null < age).mean()), float((null == age).mean())
    percentile = 100 * (below + equal / 2)
    return mean, sd, (age - mean) / sd if sd > 0 else np.nan, p, percentile
