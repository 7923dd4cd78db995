"""What all methods of explanation share: one image, its regions, and what is computed once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.cards import Family
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.specs import PatchFacts

from .baselines import Fill, disjoint_layers, make_fill
from .controls import control_patches
from .engine.geometry import Patch
from .engine.planning.plan import label_patches
from .ensemble import Ensemble, Occluder, Together
from .hierarchy import Group, atlas_groups, group_patches
from .nulls import NullParcels, compartment_masks, null_parcels
from .occlusion import effects, occlude, sizes
from .predictions import Predictions, Progress

Results: TypeAlias = dict[str, pd.DataFrame | NDArray[np.float32]]
"""Tables and maps (D, H, W) of a method, by the keys of the outputs on its card."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class ChannelInput:
    """What one branch sees.

    Attributes
    ----------
    name : str
        Of the channel.
    ensemble : Ensemble
        The branch of every member.
    volume : ndarray of float32, shape (D, H, W)
    shown : ndarray of bool, shape (D, H, W), optional
        The part of the brain in it; without it the whole.
    """

    name: str
    ensemble: Ensemble
    volume: NDArray[np.float32]
    shown: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class ExplanationInput:
    """One image, the networks that predicted its age, and the regions that explain it.

    Attributes
    ----------
    ensemble : Ensemble
        The networks, and how they are run.
    volume : ndarray of float32, shape (D, H, W)
        The networks' input.
    labels : ndarray of int, shape (D, H, W)
        Atlas labels on the same grid.
    atlas : DataFrame
        ``index``, ``name`` and, where the atlas has them, ``hemisphere``, ``lobe``, ``network``,
        ``gyrus``, ``compartment``.
    voxel_ml : float
        Volume of a voxel in millilitres.
    baselines : tuple of str
        What occluded voxels hold, keys of :data:`bidsapp_brainage.catalogue.baselines.BASELINES`;
        the first is that of every method that uses only one.
    template : ndarray of float32, shape (D, H, W), optional
        The average brain, scaled like the volume; needed for the baseline of that name.
    mask : ndarray of bool, shape (D, H, W), optional
        The brain; without it, what is not background.
    background : float
        Intensity of non-brain voxels.
    mirror_axis : int, optional
        Axis from left to right; without it nothing is mirrored.
    age : float, optional
        Chronological age in years, for the published importance only.
    ood_flag : str
        Out-of-distribution flag of the prediction.
    null_parcels : int
        Random parcels of each compartment that regions are compared with; 0: none.
    seed : int
        Of parcels, orders, noise and shuffled weights.
    patches : mapping, optional
        What the model card tells of the patches of the networks, if they have any.
    progress : callable, optional
        Called with (pieces done, pieces in all).
    options : mapping
        By method, the keywords of its function in this run, for methods that repeat it.
    channels : tuple of ChannelInput
        Of a model that sees several images, or a part of the brain; the first is what `ensemble`
        and `volume` are. Empty for other models.
    """

    ensemble: Ensemble
    volume: NDArray[np.float32]
    labels: NDArray[np.integer]
    atlas: pd.DataFrame
    voxel_ml: float
    baselines: tuple[str, ...] = ("background",)
    template: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    background: float = 0.0
    mirror_axis: int | None = None
    age: float | None = None
    ood_flag: str = "none"
    null_parcels: int = 0
    seed: int = 0
    patches: PatchFacts | None = None
    progress: Progress | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    channels: tuple[ChannelInput, ...] = ()

    @property
    def indices(self) -> list[int]:
        """Labels of the regions in the order of the atlas table."""
        return [int(index) for index in self.atlas["index"]]

    @property
    def brain(self) -> NDArray[np.bool_]:
        """The brain mask, or else the voxels that are not background."""
        return np.asarray(self.volume != self.background) if self.mask is None else self.mask

    @property
    def baseline(self) -> str:
        """The first baseline."""
        return self.baselines[0]


class PatchBlocks:
    """Patches of several kinds in one list, found by the name of their kind.

    Parameters
    ----------
    **blocks : sequence of Patch or None
        By name; they lie one after another.
    """

    def __init__(self, **blocks: Sequence[Patch | None]) -> None:
        self._blocks = blocks
        self.patches = [patch for block in blocks.values() for patch in block]

    def numbers(self, name: str) -> range:
        """Places of one kind in the list."""
        names = list(self._blocks)
        before = names[: names.index(name)]
        first = sum(len(self._blocks[each]) for each in before)
        return range(first, first + len(self._blocks[name]))

    def __getitem__(self, name: str) -> Sequence[Patch | None]:
        return self._blocks[name]


class ExplanationSession:
    """An input with everything that several methods need, each computed once and when needed.

    Parameters
    ----------
    inputs : ExplanationInput
    results : dict, optional
        By method, its tables as they are written; methods that compare others read them.

    Attributes
    ----------
    unrounded : dict
        By method, what it made in this session, before any rounding by a file.
    """

    def __init__(self, inputs: ExplanationInput, results: dict[str, Results] | None = None) -> None:
        self.inputs = inputs
        self.results = {} if results is None else results
        self.unrounded: dict[str, Results] = {}
        self._fills: dict[str, Fill] = {}
        self._brainless: dict[str, NDArray[np.float32]] = {}
        self._effects: dict[str, pd.DataFrame] = {}

    @cached_property
    def groups(self) -> list[Group]:
        """Networks, lobes and so on of the atlas."""
        return atlas_groups(self.inputs.atlas)

    @cached_property
    def blocks(self) -> PatchBlocks:
        """``regions`` in the order of the atlas table, ``groups`` and ``controls``."""
        inputs = self.inputs
        return PatchBlocks(
            regions=label_patches(inputs.labels, inputs.indices),
            groups=group_patches(inputs.labels, self.groups),
            controls=list(self.controls.values()),
        )

    @cached_property
    def controls(self) -> dict[str, Patch | None]:
        """Pieces that tell what regions cannot; see :func:`.controls.control_patches`."""
        return control_patches(self.inputs.labels, self.inputs.indices, self.inputs.brain)

    @cached_property
    def nulls(self) -> NullParcels:
        """Random parcels of the regions."""
        inputs = self.inputs
        if inputs.null_parcels == 0:
            return NullParcels((), ())
        return null_parcels(
            inputs.labels, inputs.indices,
            compartments=compartment_masks(inputs.labels, inputs.atlas, inputs.brain),
            n_parcels=inputs.null_parcels, seed=inputs.seed,
        )  # fmt: skip

    @cached_property
    def occluder(self) -> Occluder:
        """Ready to occlude all patches of the blocks."""
        return self.open(self.blocks.patches)

    def open(self, patches: Sequence[Patch | None]) -> Occluder:
        """Prepare the occlusion of other patches, which few methods need."""
        if len(channels := self.inputs.channels) > 1:
            return Together({one.name: one.ensemble.open(one.volume, patches) for one in channels})
        return self.inputs.ensemble.open(self.inputs.volume, patches)

    @property
    def region_sizes(self) -> list[int]:
        """Voxels of each region."""
        return sizes(self.blocks["regions"])

    def fill(self, baseline: str | None = None) -> Fill:
        """What the regions are filled with; the first baseline unless another is named."""
        baseline = baseline or self.inputs.baseline
        if baseline not in self._fills:
            inputs = self.inputs
            self._fills[baseline] = self._fill(inputs.labels, inputs.indices, baseline)
        return self._fills[baseline]

    def _fill(self, labels: NDArray[np.integer], indices: Sequence[int], baseline: str) -> Fill:
        return _fill_of(self.inputs, labels, indices, baseline)

    def region_effects(self, baseline: str | None = None) -> pd.DataFrame:
        """Effects of the single regions; see :func:`.occlusion.effects`."""
        baseline = baseline or self.inputs.baseline
        if baseline not in self._effects:
            progress = self.inputs.progress if baseline == self.inputs.baseline else None
            self._effects[baseline] = self.effects_of(
                "regions",
                self.occluder.occlude(
                    self.fill(baseline), self.blocks.numbers("regions"), progress=progress
                ),
            )
        return self._effects[baseline]

    def region_and_group_effects(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Effects of the single regions and of the groups with the first baseline.

        They are computed together, because the last digits depend on what shares a batch.
        """
        regions, groups = self.blocks.numbers("regions"), self.blocks.numbers("groups")
        together = self.occluder.occlude(
            self.fill(), [*regions, *groups], progress=self.inputs.progress
        )
        single = self.effects_of("regions", together.rows(0, len(regions)))
        self._effects[self.inputs.baseline] = single
        return single, self.effects_of("groups", together.rows(len(regions), len(together)))

    def effects_of(self, block: str, predictions: Predictions) -> pd.DataFrame:
        """Table of the effects of one block of patches."""
        indices = self.inputs.indices if block == "regions" else range(len(self.blocks[block]))
        return effects(indices, sizes(self.blocks[block]), self.occluder.intact, predictions)

    def ranking(self) -> list[int]:
        """Numbers of the regions with voxels, the largest absolute contribution first.

        Raises
        ------
        DataError
            No region has voxels.
        """
        changes = self.region_effects()["delta_age"].abs().to_numpy()
        present = [k for k, patch in enumerate(self.blocks["regions"]) if patch is not None]
        if not present:
            raise DataError(
                "No region of the atlas has a voxel in this image: look at the registration."
            )
        return sorted(present, key=lambda k: -changes[k])

    def occlude_pieces(
        self,
        occluder: Occluder,
        pieces: Sequence[Patch | None],
        *,
        first: int = 0,
        baseline: str | None = None,
        progress: Progress | None = None,
    ) -> Predictions:
        """Occlude pieces that are no regions of the atlas and may overlap.

        `first` is the number of the first of them in the occluder; the baseline is the first
        unless another is named.
        """
        baseline = baseline or self.inputs.baseline
        if not lookup.baseline(baseline).outlined:
            numbers = range(first, first + len(pieces))
            return occluder.occlude(self.fill(baseline), numbers, progress=progress)
        present = [number for number, piece in enumerate(pieces) if piece is not None]
        shown = [piece for piece in pieces if piece is not None]
        predictions = Predictions.joined([occluder.intact] * max(1, len(pieces))).rows(
            0, len(pieces)
        )
        done = 0
        for labels, layer in disjoint_layers(shown, self.inputs.volume.shape):
            fill = self._fill(labels, [number + 1 for number in layer], baseline)
            places = [present[number] for number in layer]
            predictions.put(places, occluder.occlude(fill, [first + place for place in places]))
            done += len(layer)
            if progress is not None:
                progress(done, len(shown))
        return predictions

    def brainless(self, baseline: str) -> NDArray[np.float32]:
        """The image with the whole brain replaced by a baseline."""
        if baseline not in self._brainless:
            inputs = self.inputs
            by_region = lookup.baseline(baseline).only_regions
            labels = inputs.labels if by_region else np.zeros_like(inputs.labels)
            fill = self._fill(labels, inputs.indices, baseline)
            image = np.where(inputs.brain, fill, inputs.volume).astype(np.float32)
            self._brainless[baseline] = image
        return self._brainless[baseline]

    def mirrored_effects(self) -> pd.DataFrame:
        """Effects of the regions in the image with left and right exchanged.

        Labels stay with their tissue.

        Raises
        ------
        DataError
            It is not known which axis runs from left to right.
        """
        inputs, axis = self.inputs, self.inputs.mirror_axis
        if axis is None:
            raise DataError("Without an axis from left to right no image can be mirrored.")
        template = None if inputs.template is None else _flipped(inputs.template, axis)
        return occlude(
            _mirrored(inputs.ensemble, axis), _flipped(inputs.volume, axis),
            _flipped(inputs.labels, axis), inputs.indices,
            baseline=inputs.baseline, background=inputs.background, template=template,
        )  # fmt: skip

    def with_members(self, members: Sequence[nn.Module]) -> ExplanationSession:
        """The same pieces of the same image for other networks of the same geometry.

        With the first baseline alone and without random parcels, silently.
        """
        _ = self.blocks, self.occluder  # their patches and tables serve all networks
        other = copy.copy(self)
        other.inputs = replace(
            self.inputs,
            ensemble=replace(self.inputs.ensemble, members=tuple(members)),
            baselines=self.inputs.baselines[:1],
            null_parcels=0,
            progress=None,
        )
        other.results, other.unrounded, other._effects = {}, {}, {}
        for name in ("occluder", "nulls"):
            other.__dict__.pop(name, None)
        return other


def _fill_of(
    inputs: ExplanationInput, labels: NDArray[np.integer], indices: Sequence[int], baseline: str
) -> Fill:
    """Fill of the volume; of several channels they lie one after another."""

    def made(volume: NDArray[np.float32], shown: NDArray[np.bool_] | None = None) -> Fill:
        fill = make_fill(
            volume, labels, indices,
            baseline=baseline, background=inputs.background, template=inputs.template,
        )  # fmt: skip
        # what a channel does not show stays so
        return fill if shown is None else np.where(shown, fill, np.float32(inputs.background))

    if not inputs.channels:
        return made(inputs.volume)
    fills = [made(one.volume, one.shown) for one in inputs.channels]
    if len(fills) == 1:
        return fills[0]
    return np.stack([np.broadcast_to(fill, inputs.volume.shape) for fill in fills])


def _mirrored(ensemble: Ensemble, axis: int) -> Ensemble:
    """The same for mirror images: networks that know where things are in a brain turn with it."""
    turned = [getattr(member, "mirrored", None) for member in ensemble.members]
    if not any(turned):
        return ensemble
    members = [
        turn(axis) if callable(turn) else member
        for turn, member in zip(turned, ensemble.members, strict=True)
    ]
    return replace(ensemble, members=tuple(members))


def _flipped(values: NDArray[_Scalar], axis: int) -> NDArray[_Scalar]:
    return np.ascontiguousarray(np.flip(values, axis))


def tables_of(results: Mapping[str, Results], family: Family) -> list[pd.DataFrame]:
    """Tables of all methods of one family that are among the results, in the methods' order."""
    return [
        table
        for card in lookup.methods(family)
        for table in results.get(card.key, {}).values()
        if isinstance(table, pd.DataFrame)
    ]
