"""The methods of explanation that the app offers, each from one image to one table or map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage.errors import DataError

from .answers import Answers, Decode, Progress
from .cubes import cube_map, sliding_cubes
from .curves import curve_area, deletion_curve, insertion_curve, open_insertion, random_order_areas
from .engine.geometry import Patch
from .engine.plan import label_patches
from .engine.tables import count
from .hierarchy import atlas_groups, group_patches, group_table
from .interactions import pairwise
from .nulls import NullParcels, null_parcels, null_scores
from .occluders import Fill, Occluder, open_occluder
from .occlusion import effects, region_fill
from .scores import occlusion_table
from .shapley import shapley_values

SIZE_TOLERANCE = 0.25
RANDOM_ORDERS = 10
TOP_REGIONS = 12


@dataclass(frozen=True)
class Subject:
    """One image, the network that predicted its age, and the regions that explain it.

    Attributes
    ----------
    members : tuple of torch.nn.Module
        Networks of the ensemble.
    volume : ndarray of float32, shape (D, H, W)
        The network's input.
    labels : ndarray of int, shape (D, H, W)
        Atlas labels on the same grid.
    atlas : DataFrame
        ``index``, ``name`` and, where the atlas has them, ``hemisphere``, ``lobe``, ``network``.
    decode : callable
        From logits to probabilities and ages.
    voxel_ml : float
        Volume of a voxel in millilitres.
    baseline : {"background", "mean", "blur"}
        What occluded voxels hold.
    background : float
        Intensity of non-brain voxels.
    device, batch_size, n_threads
        See :func:`~.occluders.open_occluder`.
    progress : callable or None
        Called with (regions done, regions in all).
    """

    members: tuple[nn.Module, ...]
    volume: NDArray[np.float32]
    labels: NDArray[np.integer]
    atlas: pd.DataFrame
    decode: Decode
    voxel_ml: float
    baseline: str = "background"
    background: float = 0.0
    device: str = "cpu"
    batch_size: int | None = None
    n_threads: int = 1
    progress: Progress | None = None

    @property
    def indices(self) -> list[int]:
        """Labels of the regions in the order of the atlas table."""
        return [int(index) for index in self.atlas["index"]]

    @property
    def brain(self) -> NDArray[np.bool_]:
        """Voxels that are not background."""
        return np.asarray(self.volume != self.background)

    @property
    def regions(self) -> list[Patch | None]:
        """Voxels of each region, None for empty ones."""
        return label_patches(self.labels, self.indices)

    @property
    def fill(self) -> Fill:
        """What the regions are filled with."""
        return region_fill(
            self.volume, self.labels, self.indices,
            baseline=self.baseline, background=self.background,
        )  # fmt: skip

    def open(self, patches: Sequence[Patch | None]) -> Occluder:
        """Prepare the occlusion of patches."""
        return open_occluder(self.members, self.volume, patches, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """Options of the engine."""
        return {
            "decode": self.decode,
            "device": self.device,
            "batch_size": self.batch_size,
            "n_threads": self.n_threads,
        }


@dataclass(frozen=True)
class RegionTables:
    """Contributions of regions, and of the groups that they form."""

    regions: pd.DataFrame
    groups: pd.DataFrame


def region_tables(
    subject: Subject,
    *,
    age: float | None,
    ood_flag: str = "none",
    null_parcels: int = 0,
    seed: int = 0,
) -> RegionTables:
    """Occlude regions, the groups they form and, for comparison, random parcels.

    Parameters
    ----------
    subject : Subject
    age : float or None
        Chronological age in years, for the published importance only.
    ood_flag : str
        Out-of-distribution flag of the prediction.
    null_parcels : int
        Random parcels of each size; with 0 the columns of the null stay empty.
    seed : int
        Of the parcels.

    Returns
    -------
    RegionTables
        Columns of :data:`.scores.COLUMNS` and :data:`.hierarchy.COLUMNS`.
    """
    regions, groups = subject.regions, atlas_groups(subject.atlas)
    merged = group_patches(subject.labels, groups)
    null = _parcels(subject, null_parcels, seed)
    patches = [*regions, *merged, *null.patches]
    occluder, fill = subject.open(patches), subject.fill
    intact = occluder.intact
    n_own = len(regions) + len(merged)
    own = occluder.occlude(fill, range(n_own), progress=subject.progress)
    single = _effects(subject.indices, regions, intact, _rows(own, 0, len(regions)))
    grouped = _effects(range(len(merged)), merged, intact, _rows(own, len(regions), n_own))
    table = occlusion_table(
        single,
        subject.atlas,
        voxel_ml=subject.voxel_ml,
        age=age,
        baseline=subject.baseline,
        ood_flag=ood_flag,
    )
    if null.patches:
        random = occluder.occlude(_null_fill(subject), range(n_own, len(patches)))
        drawn = _effects(range(len(null.patches)), null.patches, intact, random)
        scores = null_scores(single, drawn, null.assignment).drop(columns="index")
        table[list(scores.columns)] = scores.to_numpy()
    return RegionTables(table, group_table(groups, grouped, single, voxel_ml=subject.voxel_ml))


def cube_volume(subject: Subject, *, cube_mm: float) -> NDArray[np.float32]:
    """Occlude the brain cube by cube.

    Parameters
    ----------
    subject : Subject
    cube_mm : float
        Edge of the cubes, rounded to whole voxels; they lie side by side.

    Returns
    -------
    ndarray of float32, shape (D, H, W)
        Change of the predicted age in years; 0 outside the brain.
    """
    edge = max(1, round(cube_mm / np.cbrt(subject.voxel_ml * 1000)))
    cubes = sliding_cubes(subject.brain, edge=edge, step=edge)
    occluder = subject.open(cubes)
    answers = occluder.occlude(_null_fill(subject), progress=subject.progress)
    found = _effects(range(len(cubes)), cubes, occluder.intact, answers)
    return cube_map(subject.volume.shape, cubes, found)


def shapley_table(subject: Subject, *, n_permutations: int, seed: int) -> pd.DataFrame:
    """Shapley values of the regions beside their single effects.

    Parameters
    ----------
    subject : Subject
    n_permutations, seed
        See :func:`.shapley.shapley_values`; an odd number is rounded up.

    Returns
    -------
    DataFrame
        Columns ``index``, ``name``, ``hemisphere``, ``lobe``, ``network``, ``n_voxels``,
        ``delta_age``, ``shapley_age``, ``standard_error``; years.
    """
    regions, fill = subject.regions, subject.fill
    sizes = _sizes(regions)
    occluder = subject.open(regions)
    single = _effects(subject.indices, regions, occluder.intact, occluder.occlude(fill))
    values = shapley_values(
        occluder, fill, range(len(regions)), sizes,
        n_permutations=n_permutations + n_permutations % 2, seed=seed,
        progress=subject.progress,
    )  # fmt: skip
    table = subject.atlas.reindex(columns=["index", "name", "hemisphere", "lobe", "network"])
    table = table.assign(
        n_voxels=sizes,
        delta_age=single["delta_age"].to_numpy(),
        shapley_age=values["shapley_age"].to_numpy(),
        standard_error=values["standard_error"].to_numpy(),
    )
    return table.reset_index(drop=True)


def curve_table(subject: Subject, *, seed: int) -> pd.DataFrame:
    """Deletion and insertion of the regions, the largest contribution first.

    Parameters
    ----------
    subject : Subject
    seed : int
        Of the random orders that each curve is compared with.

    Returns
    -------
    DataFrame
        Columns ``curve`` (deletion or insertion), ``step``, ``index``, ``fraction_occluded``,
        ``predicted_age``, ``delta_age``, ``js_divergence``, and for the curve as a whole ``area``,
        ``random_area_mean`` and ``random_area_sd`` (years).

    Raises
    ------
    DataError
        No region has voxels.
    """
    regions, fill = subject.regions, subject.fill
    occluder = subject.open(regions)
    order, sizes = _ranking(subject, regions, occluder, fill), _sizes(regions)
    restoring = open_insertion(subject.members, subject.volume, regions, fill, **subject.options)
    curves = [
        _with_areas("deletion", deletion_curve, occluder, fill, order, sizes, seed),
        _with_areas("insertion", insertion_curve, restoring, subject.volume, order, sizes, seed),
    ]
    table = pd.concat(curves, ignore_index=True)
    labels = pd.array(subject.indices, dtype="Int64")
    index = [pd.NA if pd.isna(region) else labels[int(region)] for region in table["region"]]
    table["region"] = pd.array(index, dtype="Int64")
    return table.rename(columns={"region": "index"})


def _with_areas(
    name: str,
    curve: Callable[..., pd.DataFrame],
    occluder: Occluder,
    fill: Fill,
    order: Sequence[int],
    sizes: Sequence[int],
    seed: int,
) -> pd.DataFrame:
    """A curve with its area and those of random orders."""
    found = curve(occluder, fill, order, sizes)
    areas = random_order_areas(occluder, fill, order, sizes, n_orders=RANDOM_ORDERS, seed=seed)
    found.insert(0, "curve", name)
    return found.assign(
        area=curve_area(found),
        random_area_mean=areas.mean(),
        random_area_sd=areas.std(ddof=1),
    )


def pair_table(subject: Subject, *, n_regions: int = TOP_REGIONS) -> pd.DataFrame:
    """Interactions of the regions with the largest contributions.

    Parameters
    ----------
    subject : Subject
    n_regions : int
        How many regions are paired with each other.

    Returns
    -------
    DataFrame
        Columns ``index_a``, ``name_a``, ``index_b``, ``name_b``, ``delta_a``, ``delta_b``,
        ``delta_both``, ``interaction`` (years), the largest interaction first.

    Raises
    ------
    DataError
        No region has voxels.
    """
    regions, fill = subject.regions, subject.fill
    occluder = subject.open(regions)
    top = _ranking(subject, regions, occluder, fill)[:n_regions]
    table = pairwise(occluder, fill, top, _sizes(regions), progress=subject.progress)
    names = subject.atlas["name"].tolist()
    for end in ("b", "a"):
        numbers = table.pop(end).astype(int)
        table.insert(0, f"name_{end}", [names[number] for number in numbers])
        table.insert(0, f"index_{end}", [subject.indices[number] for number in numbers])
    order = table["interaction"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _effects(
    indices: Sequence[int], patches: Sequence[Patch | None], intact: Answers, found: Answers
) -> pd.DataFrame:
    return effects(indices, _sizes(patches), intact, found)


def _sizes(patches: Sequence[Patch | None]) -> list[int]:
    return [count(patch) for patch in patches]


def _rows(answers: Answers, first: int, last: int) -> Answers:
    return Answers(answers.probabilities[first:last], answers.ages[first:last])


def _parcels(subject: Subject, n_per_region: int, seed: int) -> NullParcels:
    if n_per_region == 0:
        return NullParcels((), ())
    return null_parcels(
        subject.labels, subject.indices,
        compartments=subject.brain, n_per_region=n_per_region, seed=seed,
        size_tolerance=SIZE_TOLERANCE,
    )  # fmt: skip


def _null_fill(subject: Subject) -> Fill:
    """The fill of places that are no regions: the mean of the brain where regions take theirs."""
    if subject.baseline == "mean":
        inside = subject.volume[subject.brain]
        return float(inside.mean()) if inside.size else subject.background
    return subject.fill


def _ranking(
    subject: Subject, regions: Sequence[Patch | None], occluder: Occluder, fill: Fill
) -> list[int]:
    """Numbers of the regions with voxels, the largest absolute contribution first."""
    answers = occluder.occlude(fill)
    changes = np.abs(answers.ages - occluder.intact.ages)
    present = [k for k, patch in enumerate(regions) if patch is not None]
    if not present:
        raise DataError(
            "No region of the atlas has a voxel in this image: look at the registration."
        )
    return sorted(present, key=lambda k: -changes[k])
