"""Inputs of a new model from what the app made of people, without running the app again."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeAlias

import nibabel as nib
import numpy as np

from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.imaging.conform import conform_t1w, correct_bias_field
from bidsapp_brainage.imaging.network_input import Tissue, brought_to, card_grid, model_input
from bidsapp_brainage.imaging.registration import fit_rigid
from bidsapp_brainage.imaging.transforms import apply_xfm, read_affine
from bidsapp_brainage.io import load_nifti, save_nifti, write_tsv
from bidsapp_brainage.model.inputs.channels import input_of, modalities
from bidsapp_brainage.model.specs import InputSpec, needs_segmentation
from bidsapp_brainage.segmentation.alignment import Aligned, aligned
from bidsapp_brainage.segmentation.card import find_segmentation, load_mean_tissue, load_network
from bidsapp_brainage.segmentation.input import image_units
from bidsapp_brainage.segmentation.prepare import raw_input, segmentation_name
from bidsapp_brainage.segmentation.segment import Segmentation, segment_on_grid
from bidsapp_brainage.segmentation.tables import volume_table
from bidsapp_brainage.training.segmentation.synthesis import other_t1w

from .cohort import SIMULATED, beside, raw_roots, regions_path

#: Grid, :func:`.segment_on_grid` with network and card, :func:`.aligned` with the mean.
Steps: TypeAlias = tuple[nib.Nifti1Image, Callable[..., Segmentation], Callable[..., Aligned]]

T1W = "_desc-preproc_T1w.nii.gz"


@dataclass(frozen=True)
class Prepared:
    """A T1w of the app's derivatives with what belongs to it.

    `others` are images of other modalities on its grid, by modality.
    """

    t1w: Path
    mask: Path
    affine: Path
    others: Mapping[str, Path] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Beginning of the names of its files."""
        return self.t1w.name.removesuffix(T1W)


def find_prepared(derivatives: Path) -> list[Prepared]:
    """T1w images in T1w space with brain mask and affine.

    Raises
    ------
    NoInputError
        There is none.
    """
    found = []
    for t1w in sorted(Path(derivatives).glob(f"sub-*/**/*{T1W}")):
        stem = t1w.name.removesuffix(T1W)
        mask = t1w.with_name(f"{stem}_desc-brain_mask.nii.gz")
        affines = sorted(t1w.parent.glob(f"{stem}_from-T1w_to-*_desc-affine_xfm.txt"))
        if "_space-" not in stem and mask.is_file() and affines:
            others = {
                path.name.removesuffix(".nii.gz").rpartition("_")[2]: path
                for path in t1w.parent.glob(f"{stem}_space-T1w_desc-preproc_*.nii.gz")
            }
            found.append(Prepared(t1w, mask, affines[0], others))
    if not found:
        raise NoInputError(
            f"{derivatives} holds no *{T1W} with brain mask and affine: give the output of "
            "bidsapp-brainage BIDS_DIR OUT participant."
        )
    return found


def prepare_inputs(
    derivatives: Path, out: Path, spec: InputSpec, name: str, *, simulated: int, seed: int
) -> Iterator[Path]:
    """Write the inputs of a model for everybody in the app's derivatives; what is there stays.

    Parameters
    ----------
    derivatives, out : Path
        The app's output, and the folder for ``sub-*/.../*_desc-<name>input_T1w.nii.gz`` and, where
        there is a segmentation, its regions (``*_dseg.nii.gz``) and ``*_volumes.tsv``. Images of
        other modalities that the model sees are those that the app brought to the T1w, else those
        of the raw dataset that the derivatives name, which are registered here.
    spec : mapping
        ``input`` of the model's card or recipe.
    name : str
        The model's.
    simulated : int
        Versions of every image as other scanners might show it, to learn from (only for models
        that see a segmentation, which makes of them what it would make of such images).
    seed : int
        Of the versions, with the name of the image.

    Yields
    ------
    Path
        Every file, once it is there.
    """
    made_by = _segmenter(spec) if needs_segmentation(spec) else None
    for image in find_prepared(derivatives):
        brain = _Brain(image, made_by)
        folder = Path(out) / image.t1w.parent.relative_to(derivatives)
        first = folder / f"{image.stem}_space-{spec['template']}_desc-{name}input_T1w.nii.gz"
        paths = [first, *(_simulated(first, number) for number in range(1, simulated + 1))]
        if not all(path.is_file() for path in paths):
            volumes = _volumes(brain, spec, len(paths) - 1, seed)
            for path, (volume, mask, segmentation) in zip(paths, volumes, strict=True):
                if segmentation is not None:
                    save_nifti(mask, regions_path(path))
                if segmentation is not None and path == first:
                    write_tsv(folder / f"{image.stem}_volumes.tsv", volume_table(segmentation))
                save_nifti(volume, path)
        yield from paths
        yield from _others(brain, derivatives, spec, first)


def prepare_raw_inputs(bids: Path, out: Path, spec: InputSpec, name: str) -> Iterator[Path]:
    """Write the inputs of a model of raw images for everybody in a dataset; what is there stays.

    Parameters
    ----------
    bids, out : Path
        Raw dataset, and the folder for ``sub-*/.../*_desc-<name>input_T1w.nii.gz`` and, where the
        model asks for a segmentation, its regions (``*_dseg.nii.gz``).
    spec, name
        As for :func:`prepare_inputs`.

    Yields
    ------
    Path
        Every file, once it is there.

    Raises
    ------
    NoInputError
        There is no T1w.
    DataError
        One shows no brain.
    """
    images = sorted(Path(bids).glob("sub-*/**/*_T1w.nii*"))
    if not images:
        raise NoInputError(f"{bids} has no sub-*/**/*_T1w.nii*: give a raw dataset.")
    for image in images:
        stem = image.name.partition("_T1w.nii")[0]
        folder = Path(out) / image.parent.relative_to(bids)
        path = folder / f"{stem}_space-{spec['template']}_desc-{name}input_T1w.nii.gz"
        if not path.is_file():
            conformed, _ = conform_t1w(load_nifti(image), image.name)
            try:
                volume, inside = raw_input(conformed, spec)
            except DataError as error:
                raise DataError(f"{image}: {error}") from error
            if needs_segmentation(spec):
                save_nifti(inside, regions_path(path))
            save_nifti(volume, path)
        yield path


@dataclass(frozen=True)
class _Brain:
    """An image, and what the segmentation that a model asks for finds in it, each made once."""

    image: Prepared
    made_by: Steps | None

    @cached_property
    def t1w(self) -> nib.Nifti1Image:
        return load_nifti(self.image.t1w)

    @cached_property
    def mask(self) -> nib.Nifti1Image:
        return load_nifti(self.image.mask)

    @cached_property
    def affine(self) -> np.ndarray:
        return read_affine(self.image.affine)

    @cached_property
    def on_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask on the segmentation's grid."""
        assert self.made_by is not None
        return brought_to(self.made_by[0], self.t1w, self.mask, self.affine)

    @cached_property
    def segmented(self) -> Segmentation | None:
        if self.made_by is None:
            return None
        return self.made_by[1](*self.on_grid, self.affine)

    @cached_property
    def aligned(self) -> tuple[Tissue | None, np.ndarray]:
        """Tissue and affine of :func:`.aligned`; without segmentation the affine as it is."""
        if self.made_by is None or self.segmented is None:
            return None, self.affine
        return self.made_by[2](self.segmented)


def _others(brain: _Brain, derivatives: Path, spec: InputSpec, first: Path) -> Iterator[Path]:
    """Inputs of other modalities that the model sees, beside that of the T1w."""
    image = brain.image
    paths = {name: beside(first, name) for name in modalities(spec) if name != "T1w"}
    sources = {name: _image_of(image, derivatives, name) for name in paths}
    if missing := [name for name, path in paths.items() if sources[name] and not path.is_file()]:
        tissue, affine = brain.aligned
        for name in missing:
            source = sources[name]
            assert source is not None
            other = _on_t1w(source, brain.t1w, brain.mask, registered=name in image.others)
            volume, _ = model_input(other, brain.mask, affine, input_of(spec, name), tissue=tissue)
            save_nifti(volume, paths[name])
    yield from (path for path in paths.values() if path.is_file())


def _image_of(image: Prepared, derivatives: Path, modality: str) -> Path | None:
    """Image of another modality: as the app brought it to the T1w, else the raw one."""
    if modality in image.others:
        return image.others[modality]
    session = "_".join(re.findall(r"(?:sub|ses)-[a-zA-Z0-9+]+", image.stem))
    for root in raw_roots(derivatives):
        folder = root / image.t1w.parent.relative_to(derivatives)
        found = sorted(folder.glob(f"{session}*_{modality}.nii*"))
        same = [path for path in found if path.name.startswith(f"{image.stem}_")]
        if found:
            return (same or found)[0]
    return None


def _on_t1w(
    path: Path, t1w: nib.Nifti1Image, mask: nib.Nifti1Image, *, registered: bool
) -> nib.Nifti1Image:
    """An image on the grid of the T1w, made as the app makes it."""
    if registered:
        return load_nifti(path)
    image = correct_bias_field(conform_t1w(load_nifti(path), path.name)[0])
    return apply_xfm(image, t1w, fit_rigid(image, t1w, mask))


def _simulated(first: Path, number: int) -> Path:
    """Name of a version: ``rec`` comes before run and space."""
    name = re.sub(r"(?=_(?:dir|run|echo|part|space)-)", f"{SIMULATED}{number}", first.name, count=1)
    return first.with_name(name)


def _segmenter(spec: InputSpec) -> Steps:
    """Grid of the segmentation that a model asks for, and both steps with what they need."""
    card = find_segmentation(segmentation_name(spec))
    network = load_network(card)
    return (
        card_grid(card.grid),
        partial(segment_on_grid, network=network, card=card),
        partial(aligned, mean_tissue=load_mean_tissue(card)),
    )


def _volumes(
    brain: _Brain, spec: InputSpec, simulated: int, seed: int
) -> Iterator[tuple[nib.Nifti1Image, nib.Nifti1Image, Segmentation | None]]:
    """The model's input and its mask from an image, and from other images of the same brain."""
    own, (tissue, to_t1w) = brain.segmented, brain.aligned
    yield *model_input(brain.t1w, brain.mask, to_t1w, spec, tissue=tissue), own
    if brain.made_by is None or own is None:
        return
    grid, segmented, moved = brain.made_by
    volume, inside = brain.on_grid
    rng = np.random.default_rng([seed, zlib.crc32(brain.image.stem.encode())])
    classes = own.labels.classes(own.dseg)
    units = image_units(volume, inside, grid.affine)
    for _ in range(simulated):
        shown, where = other_t1w(units, inside, classes, own.labels, rng)
        other = segmented(shown, where, np.eye(4), both_ways=False)  # the grid is its own space
        tissue, to_grid = moved(other)
        version = nib.Nifti1Image(shown, grid.affine)
        inside_it = nib.Nifti1Image(where.astype(np.uint8), grid.affine)
        yield *model_input(version, inside_it, to_grid, spec, tissue=tissue), other
