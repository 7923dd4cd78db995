"""Random parcels for the regions of an image, compartment by compartment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.geometry import Patch
from bidsapp_brainage.explain.hierarchy import compartments

from .growing import Grower

MIN_NULLS = 2  # fewer have no deviation
MIN_COMPARTMENT_SHARE = 3  # size of a compartment over that of the region

Mask: TypeAlias = NDArray[np.bool_]


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
        For each region the numbers of its parcels, all of one compartment; empty where it has none.
    """

    patches: tuple[Patch, ...]
    assignment: tuple[NDArray[np.int64], ...]


def null_parcels(
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    compartments: Mask | Mapping[int, Mask],
    n_parcels: int,
    seed: int,
) -> NullParcels:
    """Draw random parcels; regions of one compartment share them.

    Parameters
    ----------
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel.
    indices : sequence of int
        Labels of the regions.
    compartments : ndarray of bool of shape (D, H, W), or mapping from label to such an array
        Where parcels may lie, such as the brain, or the grey matter for cortical regions. Regions
        share parcels when they map to the same array object. A region that is not in the mapping
        gets no parcels. Parcels may overlap the regions that they serve.
    n_parcels : int
        Parcels of each compartment, at least 2. Their sizes are those of its regions, evenly from
        the smallest to the largest.
    seed : int
        The same seed gives the same parcels.

    Returns
    -------
    NullParcels
        No parcels for regions without voxels, nor for those larger than any connected part of
        their compartment.

    Raises
    ------
    UsageError
        Too few parcels.
    """
    if n_parcels < MIN_NULLS:
        raise UsageError(f"A null needs at least {MIN_NULLS} parcels, not {n_parcels}.")
    rng = np.random.default_rng(seed)
    patches: list[Patch] = []
    assignment = [np.empty(0, dtype=np.int64) for _ in indices]
    counts = np.bincount(labels[labels > 0], minlength=max(indices, default=0) + 1)
    for allowed, regions in _by_compartment(indices, compartments):
        grower = Grower(allowed, rng)
        sizes = {region: int(counts[indices[region]]) for region in regions}
        served = [region for region in regions if 0 < sizes[region] <= grower.largest]
        drawn = [
            grower.parcel(size) for size in _spread(sorted(sizes[r] for r in served), n_parcels)
        ]
        for region in served:
            assignment[region] = len(patches) + np.arange(len(drawn))
        patches += drawn
    return NullParcels(tuple(patches), tuple(assignment))


def _spread(sizes: Sequence[int], n: int) -> list[int]:
    """`n` of some sorted sizes, evenly; none of none."""
    return [sizes[k * len(sizes) // n] for k in range(n)] if sizes else []


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
