"""The methods of explanation that the app offers, each from one image to one table or map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage.errors import DataError

from .baselines import OUTLINED, disjoint_layers
from .controls import COLUMNS as CONTROL_COLUMNS
from .controls import control_patches, control_table
from .cubes import cube_map, sliding_cubes
from .curves import (
    beside_random,
    deletion_curve,
    insertion_curve,
    open_insertion,
    random_order_curves,
)
from .engine.geometry import Patch
from .engine.plan import label_patches
from .engine.tables import count
from .hierarchy import atlas_groups, group_patches, group_table
from .interactions import pairwise
from .nulls import NullParcels, compartment_masks, null_parcels, null_scores
from .occlusion import effects, region_fill
from .occlusion_engines import Fill, Incremental, Occluder, open_occluder
from .predictions import Decode, Predictions, Progress
from .scores import baseline_table, occlusion_table
from .shapley import shapley_values

SIZE_TOLERANCE = 0.25
RANDOM_ORDERS = 10
CURVE_COLUMNS = (
    *("ranking", "curve", "step", "index", "fraction_occluded", "predicted_age"),
    *("delta_age", "random_abs_delta_age", "js_divergence"),
    *("area", "random_area_mean", "random_area_sd", "area_between", "z_area"),
)
TOP_REGIONS = 12


@dataclass(frozen=True)
class ExplanationInput:
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
    baselines : tuple of {"background", "mean", "blur", "template"}
        What occluded voxels hold; the first is that of every method that uses only one.
    template : ndarray of float32, shape (D, H, W), optional
        The average brain, scaled like the volume; needed for the baseline of that name.
    mask : ndarray of bool, shape (D, H, W), optional
        The brain; without it, what is not background.
    background : float
        Intensity of non-brain voxels.
    device, batch_size, n_threads
        See :func:`~.occlusion_engines.open_occluder`.
    progress : callable or None
        Called with (regions done, regions in all).
    mirror_axis : int, optional
        Axis from left to right; without it nothing is mirrored.
    """

    members: tuple[nn.Module, ...]
    volume: NDArray[np.float32]
    labels: NDArray[np.integer]
    atlas: pd.DataFrame
    decode: Decode
    voxel_ml: float
    baselines: tuple[str, ...] = ("background",)
    template: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    background: float = 0.0
    device: str = "cpu"
    batch_size: int | None = None
    n_threads: int = 1
    progress: Progress | None = None
    mirror_axis: int | None = None

    @property
    def indices(self) -> list[int]:
        """Labels of the regions in the order of the atlas table."""
        return [int(index) for index in self.atlas["index"]]

    @property
    def brain(self) -> NDArray[np.bool_]:
        """The brain mask, or else the voxels that are not background."""
        return np.asarray(self.volume != self.background) if self.mask is None else self.mask

    @property
    def regions(self) -> list[Patch | None]:
        """Voxels of each region, None for empty ones."""
        return label_patches(self.labels, self.indices)

    @property
    def baseline(self) -> str:
        """The first baseline."""
        return self.baselines[0]

    def fill(self, baseline: str | None = None) -> Fill:
        """What the regions are filled with."""
        return self._fill(self.labels, self.indices, baseline or self.baseline)

    def _fill(self, labels: NDArray[np.integer], indices: Sequence[int], baseline: str) -> Fill:
        return region_fill(
            self.volume, labels, indices,
            baseline=baseline, background=self.background, template=self.template,
        )  # fmt: skip

    def reference(self, baseline: str) -> NDArray[np.float32]:
        """The image with the whole brain replaced by a baseline."""
        labels = self.labels if baseline == "mean" else np.zeros_like(self.labels)
        fill = self._fill(labels, self.indices, baseline)
        return np.where(self.brain, fill, self.volume).astype(np.float32)

    def occlude_pieces(
        self,
        occluder: Occluder,
        pieces: Sequence[Patch | None],
        first: int,
        *,
        baseline: str | None = None,
        progress: Progress | None = None,
    ) -> Predictions:
        """Occlude pieces that are no regions of the atlas and may overlap.

        Parameters
        ----------
        occluder : Occluder
        pieces : sequence of Patch or None
        first : int
            The number of the first of them in the occluder.
        baseline : str, optional
            The first baseline unless given.
        progress : callable, optional
            Called with (pieces done, pieces in all).
        """
        baseline = baseline or self.baseline
        if baseline not in OUTLINED:
            numbers = range(first, first + len(pieces))
            return occluder.occlude(self.fill(baseline), numbers, progress=progress)
        present = [number for number, piece in enumerate(pieces) if piece is not None]
        shown = [piece for piece in pieces if piece is not None]
        answers = Predictions.joined([occluder.intact] * max(1, len(pieces))).rows(0, len(pieces))
        done = 0
        for labels, layer in disjoint_layers(shown, self.volume.shape):
            fill = self._fill(labels, [number + 1 for number in layer], baseline)
            places = [present[number] for number in layer]
            answers.put(places, occluder.occlude(fill, [first + place for place in places]))
            done += len(layer)
            if progress is not None:
                progress(done, len(shown))
        return answers

    def open(self, patches: Sequence[Patch | None]) -> Occluder:
        """Prepare the occlusion of patches."""
        return open_occluder(self.members, self.volume, patches, **self.options)

    def region_effects(self) -> pd.DataFrame:
        """Effects of the single regions with the first baseline; see :func:`effects`."""
        regions = self.regions
        occluder = self.open(regions)
        answers = occluder.occlude(self.fill(), progress=self.progress)
        return _effects(self.indices, regions, occluder.intact, answers)

    def mirrored(self) -> ExplanationInput:
        """The same person with left and right exchanged; labels stay with their tissue.

        Raises
        ------
        DataError
            It is not known which axis runs from left to right.
        """
        if self.mirror_axis is None:
            raise DataError("Without an axis from left to right no image can be mirrored.")
        turned: dict[str, Any] = {}
        for name in ("volume", "labels", "template", "mask"):
            values = getattr(self, name)
            if values is not None:
                turned[name] = np.ascontiguousarray(np.flip(values, self.mirror_axis))
        return replace(self, progress=None, **turned)

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
    """Contributions of regions, and what they are to be seen beside.

    Attributes
    ----------
    regions : DataFrame
        Columns of :data:`.scores.COLUMNS`, with the first baseline.
    groups : DataFrame
        Columns of :data:`.hierarchy.COLUMNS`, with the first baseline.
    baselines : DataFrame
        Columns ``BASELINE_COLUMNS``: regions with every baseline.
    controls : DataFrame
        Columns of :data:`.controls.COLUMNS`, with every baseline.
    """

    regions: pd.DataFrame
    groups: pd.DataFrame
    baselines: pd.DataFrame
    controls: pd.DataFrame


def region_tables(
    subject: ExplanationInput,
    *,
    age: float | None,
    ood_flag: str = "none",
    null_parcels: int = 0,
    seed: int = 0,
) -> RegionTables:
    """Occlude regions, the groups they form and, for comparison, controls and random parcels.

    Parameters
    ----------
    subject : ExplanationInput
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
    """
    regions, groups = subject.regions, atlas_groups(subject.atlas)
    merged = group_patches(subject.labels, groups)
    controls = control_patches(subject.labels, subject.indices, subject.brain)
    null = parcels(subject, null_parcels, seed)
    n_own, n_controls = len(regions) + len(merged), len(controls)
    occluder = subject.open([*regions, *merged, *controls.values(), *null.patches])
    intact = occluder.intact
    single, checked = {}, []
    for baseline in subject.baselines:
        first = baseline == subject.baseline
        wanted = range(n_own if first else len(regions))
        own = occluder.occlude(
            subject.fill(baseline), wanted, progress=subject.progress if first else None
        )
        single[baseline] = _effects(subject.indices, regions, intact, own.rows(0, len(regions)))
        if first:
            grouped = _effects(range(len(merged)), merged, intact, own.rows(len(regions), n_own))
        answers = control_predictions(subject, occluder, controls, n_own, baseline)
        found = _effects(range(n_controls), list(controls.values()), intact, answers)
        checked.append(control_table(found, single[baseline], list(controls), baseline))
    primary = single[subject.baseline]
    table = occlusion_table(
        primary,
        subject.atlas,
        voxel_ml=subject.voxel_ml,
        age=age,
        baseline=subject.baseline,
        ood_flag=ood_flag,
    )
    if null.patches:
        random = subject.occlude_pieces(occluder, null.patches, n_own + n_controls)
        drawn = _effects(range(len(null.patches)), null.patches, intact, random)
        scores = null_scores(primary, drawn, null.assignment).drop(columns="index")
        table[list(scores.columns)] = scores.to_numpy()
    # one more pass per region would be a high price where changes cannot be propagated
    if isinstance(occluder, Incremental) and subject.mirror_axis is not None:
        table["delta_age_mirrored"] = subject.mirrored().region_effects()["delta_age"].to_numpy()
    checks = pd.concat(checked, ignore_index=True)
    return RegionTables(
        table,
        group_table(groups, grouped, primary, voxel_ml=subject.voxel_ml),
        baseline_table(subject.atlas, single, voxel_ml=subject.voxel_ml),
        checks.assign(volume_mm3=checks["n_voxels"] * subject.voxel_ml * 1000)[
            list(CONTROL_COLUMNS)
        ],
    )


def control_predictions(
    subject: ExplanationInput,
    occluder: Occluder,
    controls: Mapping[str, Patch | None],
    first: int,
    baseline: str,
) -> Predictions:
    """Predictions to the controls; all regions together keep the fills of the regions."""
    answers = subject.occlude_pieces(occluder, list(controls.values()), first, baseline=baseline)
    place = list(controls).index("all_regions")
    answers.put([place], occluder.occlude(subject.fill(baseline), [first + place]))
    return answers


def cube_volume(subject: ExplanationInput, *, cube_mm: float) -> NDArray[np.float32]:
    """Occlude the brain cube by cube.

    Parameters
    ----------
    subject : ExplanationInput
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
    answers = subject.occlude_pieces(occluder, cubes, 0, progress=subject.progress)
    found = _effects(range(len(cubes)), cubes, occluder.intact, answers)
    return cube_map(subject.volume.shape, cubes, found)


def shapley_table(subject: ExplanationInput, *, n_permutations: int, seed: int) -> pd.DataFrame:
    """Shapley values of the regions beside their single effects.

    Parameters
    ----------
    subject : ExplanationInput
    n_permutations, seed
        See :func:`.shapley.shapley_values`; an odd number is rounded up.

    Returns
    -------
    DataFrame
        Columns ``index``, ``name``, ``hemisphere``, ``lobe``, ``network``, ``n_voxels``,
        ``delta_age``, ``shapley_age``, ``standard_error``; years.
    """
    regions, fill = subject.regions, subject.fill()
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


def curve_table(
    subject: ExplanationInput, *, seed: int, attributions: Sequence[pd.DataFrame] = ()
) -> pd.DataFrame:
    """Deletion and insertion of the regions, the largest contribution first.

    Parameters
    ----------
    subject : ExplanationInput
    seed : int
        Of the random orders that each curve is compared with.
    attributions : sequence of DataFrame
        Tables of other methods (:data:`.attributions.COLUMNS`), whose rankings are followed, too.

    Returns
    -------
    DataFrame
        Columns ``CURVE_COLUMNS``. ``ranking`` is ``occlusion`` or a method of `attributions`
        with its first baseline; ``curve`` is deletion or insertion; the rest is from
        :func:`.curves.beside_random`.

    Raises
    ------
    DataError
        No region has voxels.
    """
    regions, fill = subject.regions, subject.fill()
    occluder, sizes = subject.open(regions), _sizes(regions)
    own = _ranking(subject, regions, occluder, fill)
    orders = {
        "occlusion": own,
        **{_method(one): _order(one, own, subject.indices) for one in attributions},
    }
    restoring = open_insertion(subject.members, subject.volume, regions, fill, **subject.options)
    kinds: list[tuple[str, Callable[..., pd.DataFrame], Occluder, Fill]] = [
        ("deletion", deletion_curve, occluder, fill),
        ("insertion", insertion_curve, restoring, subject.volume),
    ]
    found = []
    for kind, curve, walked, filled in kinds:
        random = random_order_curves(walked, filled, own, sizes, n_orders=RANDOM_ORDERS, seed=seed)
        for ranking, order in orders.items():
            table = beside_random(curve(walked, filled, order, sizes), random)
            found.append(table.assign(curve=kind, ranking=ranking))
    table = pd.concat(found, ignore_index=True)
    labels = dict(enumerate(subject.indices))
    table["index"] = table.pop("region").map(labels, na_action="ignore").astype("Int64")
    return table[list(CURVE_COLUMNS)]


def _method(attribution: pd.DataFrame) -> str:
    return str(attribution["method"].iloc[0])


def _order(attribution: pd.DataFrame, regions: Sequence[int], indices: Sequence[int]) -> list[int]:
    """Numbers of the regions by the importance that another method gives them."""
    size = attribution.drop_duplicates("index").set_index("index")["importance"]
    return sorted(regions, key=lambda region: -size.fillna(0).get(indices[region], 0))


def pair_table(subject: ExplanationInput, *, n_regions: int = TOP_REGIONS) -> pd.DataFrame:
    """Interactions of the regions with the largest contributions.

    Parameters
    ----------
    subject : ExplanationInput
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
    regions, fill = subject.regions, subject.fill()
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
    indices: Sequence[int], patches: Sequence[Patch | None], intact: Predictions, found: Predictions
) -> pd.DataFrame:
    return effects(indices, _sizes(patches), intact, found)


def _sizes(patches: Sequence[Patch | None]) -> list[int]:
    return [count(patch) for patch in patches]


def parcels(subject: ExplanationInput, n_per_region: int, seed: int) -> NullParcels:
    """Random parcels of the regions, the same for every method; none with 0 per region."""
    if n_per_region == 0:
        return NullParcels((), ())
    return null_parcels(
        subject.labels, subject.indices,
        compartments=compartment_masks(subject.labels, subject.atlas, subject.brain),
        n_per_region=n_per_region, seed=seed, size_tolerance=SIZE_TOLERANCE,
    )  # fmt: skip


def _ranking(
    subject: ExplanationInput, regions: Sequence[Patch | None], occluder: Occluder, fill: Fill
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
