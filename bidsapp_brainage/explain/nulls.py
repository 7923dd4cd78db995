"""Size-matched nulls: what occluding just any piece of the same size changes.

Larger regions change the predicted age more. A region is therefore compared with connected parcels
of about its size at random places: a null of location, which keeps size and compactness. Sources:
size-matched null parcels as in Gordon et al. 2016 (Cerebral Cortex 26:288), which rotates parcels
on the cortical surface where these are grown in the volume; p values as in Phipson and Smyth 2010
(Statistical Applications in Genetics and Molecular Biology 9:39), which are never 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.explanation_columns import NULL
from bidsapp_brainage.errors import UsageError

from .engine.geometry import Patch
from .hierarchy import compartments

COLUMNS = ("index", *(column.name for column in NULL))
ELONGATION = 0.3  # SD of the log axes of parcels: the longest is about twice the shortest
MIN_NULLS = 2  # fewer have no deviation
MIN_COMPARTMENT_SHARE = 3  # size of a compartment over that of the region

Mask: TypeAlias = NDArray[np.bool_]


def random_parcel(allowed: Mask, n_voxels: int, rng: np.random.Generator) -> Patch | None:
    """Grow a connected piece from a random voxel.

    Voxels are taken in the order of their distance from the seed among those that touch the piece
    by a face. Distance is that of a random ellipsoid, because regions are no balls either; inside
    a folded ribbon the piece follows the ribbon.

    Parameters
    ----------
    allowed : ndarray of bool, shape (D, H, W)
        Where the piece may lie; voxels are taken to be cubes.
    n_voxels : int
        Its size, at least 1.
    rng : Generator

    Returns
    -------
    Patch or None
        Exactly `n_voxels` voxels; None when no connected part of `allowed` is that large.

    Raises
    ------
    UsageError
        The size is below 1.
    """
    if n_voxels < 1:
        raise UsageError(f"A parcel needs at least 1 voxel, not {n_voxels}.")
    padded = np.pad(np.asarray(allowed, dtype=bool), 1)  # neighbours of border voxels exist
    free = bytearray(padded.tobytes())  # item access is quicker than that of arrays
    metric = _random_ellipsoid(rng)
    while True:
        seeds = np.flatnonzero(np.frombuffer(free, dtype=np.uint8))
        if len(seeds) < n_voxels:
            return None
        grown = _grow(free, padded.shape, int(rng.choice(seeds)), n_voxels, metric)
        if len(grown) == n_voxels:
            return _patch_of(grown, padded.shape)
        # The connected part was too small; growing has used it up, so the next seed is elsewhere.


def _random_ellipsoid(rng: np.random.Generator) -> NDArray[np.float64]:
    """Matrix ``m`` of a squared distance ``x @ m @ x``."""
    axes = np.exp(ELONGATION * rng.standard_normal(3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray((turn / axes**2) @ turn.T)


def _grow(
    free: bytearray, shape: tuple[int, ...], seed: int, n_voxels: int, metric: NDArray[np.float64]
) -> list[int]:
    """Flat positions of a piece; every position that it touched is no longer free."""
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = metric.tolist()
    row, plane = shape[2], shape[1] * shape[2]
    faces = [
        (-plane, -1, 0, 0), (plane, 1, 0, 0),
        (-row, 0, -1, 0), (row, 0, 1, 0),
        (-1, 0, 0, -1), (1, 0, 0, 1),
    ]  # fmt: skip
    free[seed] = 0
    border = [(0.0, seed, 0, 0, 0)]
    grown: list[int] = []
    while border and len(grown) < n_voxels:
        _, place, i, j, k = heapq.heappop(border)
        grown.append(place)
        for step, di, dj, dk in faces:
            if free[place + step]:
                free[place + step] = 0
                x, y, z = i + di, j + dj, k + dk
                far = (
                    xx * x * x
                    + yy * y * y
                    + zz * z * z
                    + 2 * (xy * x * y + xz * x * z + yz * y * z)
                )
                heapq.heappush(border, (far, place + step, x, y, z))
    return grown


def _patch_of(flat: Sequence[int], padded_shape: tuple[int, ...]) -> Patch:
    places = np.stack(np.unravel_index(flat, padded_shape), axis=1) - 1
    low = places.min(axis=0)
    box = np.zeros(places.max(axis=0) - low + 1, dtype=bool)
    box[tuple((places - low).T)] = True
    return Patch(tuple(low.tolist()), box)


def compartment_masks(
    labels: NDArray[np.integer], atlas_table: pd.DataFrame, brain: Mask
) -> dict[int, Mask]:
    """Where the parcels of each region may lie: the regions of its tissue compartment.

    A compartment that is less than three times as large as the region would hold hardly anything
    but the region itself; the brain takes its place.

    Parameters
    ----------
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel.
    atlas_table : DataFrame
        See :func:`.hierarchy.compartments`, and ``index``.
    brain : ndarray of bool, shape (D, H, W)

    Returns
    -------
    dict
        From label to mask; regions of one compartment share one array.
    """
    indices = atlas_table["index"].astype(int)
    tissue = compartments(atlas_table)
    masks = {name: np.isin(labels, indices[tissue == name]) & brain for name in tissue.unique()}
    counts = np.bincount(labels[labels > 0], minlength=int(indices.max()) + 1)
    return {
        index: masks[name] if masks[name].sum() >= MIN_COMPARTMENT_SHARE * counts[index] else brain
        for index, name in zip(indices, tissue, strict=True)
    }


@dataclass(frozen=True)
class NullParcels:
    """Random parcels, and which of them serve which region.

    Attributes
    ----------
    patches : tuple of Patch
        To be occluded like regions.
    assignment : tuple of ndarray of int64
        For each region the numbers of its parcels; empty where there are none.
    """

    patches: tuple[Patch, ...]
    assignment: tuple[NDArray[np.int64], ...]


def null_parcels(
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    compartments: Mask | Mapping[int, Mask],
    n_per_region: int,
    seed: int,
    size_tolerance: float = 0.1,
) -> NullParcels:
    """Draw random parcels for regions; regions of similar size in a compartment share them.

    Parameters
    ----------
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel.
    indices : sequence of int
        Labels of the regions.
    compartments : ndarray of bool of shape (D, H, W), or mapping from label to such an array
        Where parcels may lie, such as the brain, or the grey matter for cortical regions. Regions
        share parcels when they map to the same array object. A region that is not in the mapping
        gets no parcels. Parcels may overlap the region that they serve.
    n_per_region : int
        Parcels of each region, at least 2.
    seed : int
        The same seed gives the same parcels.
    size_tolerance : float
        Largest relative difference between the sizes of a region and of its parcels, at least 0;
        rounding to whole voxels comes on top.

    Returns
    -------
    NullParcels
        No parcels for regions without voxels, nor for those larger than any connected part of
        their compartment.

    Raises
    ------
    UsageError
        Too few parcels, or a negative tolerance.
    """
    if n_per_region < MIN_NULLS or size_tolerance < 0:
        raise UsageError(
            f"A null needs at least {MIN_NULLS} parcels and a tolerance of 0 or more, not "
            f"{n_per_region} and {size_tolerance}."
        )
    rng = np.random.default_rng(seed)
    patches: list[Patch] = []
    assignment = [np.empty(0, dtype=np.int64) for _ in indices]
    counts = np.bincount(labels[labels > 0], minlength=max(indices, default=0) + 1)
    for allowed, regions in _by_compartment(indices, compartments):
        sizes = {region: int(counts[indices[region]]) for region in regions}
        for size, bin_regions in _size_bins(sizes, size_tolerance):
            drawn = _draw(allowed, size, n_per_region, rng)
            for region in bin_regions:
                assignment[region] = len(patches) + np.arange(len(drawn))
            patches += drawn
    return NullParcels(tuple(patches), tuple(assignment))


def _by_compartment(
    indices: Sequence[int], compartments: Mask | Mapping[int, Mask]
) -> list[tuple[Mask, list[int]]]:
    """Numbers of the regions of each compartment, in the order of first appearance."""
    if isinstance(compartments, np.ndarray):
        return [(compartments, list(range(len(indices))))]
    regions_of: dict[int, tuple[Mask, list[int]]] = {}
    for region, index in enumerate(indices):
        if index in compartments:
            mask = compartments[index]
            regions_of.setdefault(id(mask), (mask, []))[1].append(region)
    return list(regions_of.values())


def _size_bins(sizes: Mapping[int, int], tolerance: float) -> list[tuple[int, list[int]]]:
    """Regions of similar size, each bin with the size of its parcels.

    A bin spans a factor of ``(1 + tolerance) ** 2``; its size is the middle on a logarithmic scale.
    """
    bins: list[list[int]] = []
    for region in sorted((r for r in sizes if sizes[r] > 0), key=lambda r: sizes[r]):
        if bins and sizes[region] <= sizes[bins[-1][0]] * (1 + tolerance) ** 2:
            bins[-1].append(region)
        else:
            bins.append([region])
    return [(round((sizes[b[0]] * sizes[b[-1]]) ** 0.5), b) for b in bins]


def _draw(allowed: Mask, size: int, n: int, rng: np.random.Generator) -> list[Patch]:
    """Parcels of one size; none where they do not fit."""
    drawn: list[Patch] = []
    while len(drawn) < n:
        parcel = random_parcel(allowed, size, rng)
        if parcel is None:
            return []
        drawn.append(parcel)
    return drawn


def null_scores(
    effects: pd.DataFrame, null_effects: pd.DataFrame, assignment: Sequence[NDArray[np.int64]]
) -> pd.DataFrame:
    """Compare each region with its parcels.

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
    null_ages = null_effects["delta_age"].to_numpy()
    rows = [
        _score(float(age), null_ages[parcels])
        for age, parcels in zip(effects["delta_age"], assignment, strict=True)
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
