"""Brains to plant ageing in: many deformed copies of the template, phantoms, and real people."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from nilearn.image import resample_img
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.anatomy import compact_regions
from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError

SHAPE, VOXEL_MM = (56, 64, 56), 3.0
#: Smoothness and SD, in voxels, of the random movements by which people differ.
MOVEMENTS = ((7.0, 0.7), (2.5, 0.25))
NOISE = 0.05  # tissue units
PHANTOM_REGIONS = 60
PHANTOM_MOVEMENTS = ((7.0, 0.7), (2.5, 0.3))
_MIDDLE_MM = (0.0, -17.0, 19.0)  # of the field of view, as that of the embedded model


@dataclass(frozen=True)
class Brain:
    """Tissue units (fluid 0, grey matter 1, white matter 2) and the regions of one person."""

    volume: NDArray[np.float32]
    labels: NDArray[np.int16]


@dataclass(frozen=True)
class Anatomy:
    """Brains of many people with the same regions.

    Attributes
    ----------
    name : str
    regions : DataFrame
        ``index``, ``name``, ``hemisphere`` and what an atlas table has beyond.
    brain : callable
        From the number of a person to their brain; the same number, the same brain.
    """

    name: str
    regions: pd.DataFrame
    brain: Callable[[int], Brain]


def template_anatomy() -> Anatomy:
    """The ICBM 152 brain with the embedded atlas, deformed at random for each person."""
    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = np.array(_MIDDLE_MM) - VOXEL_MM * (np.array(SHAPE) - 1) / 2

    def on_grid(image: nib.Nifti1Image, how: str) -> NDArray[np.float32]:
        found = resample_img(
            image, affine, SHAPE, interpolation=how, force_resample=True, copy_header=True
        )
        return np.asarray(found.dataobj, dtype=np.float32)

    data = files("bidsapp_brainage") / "data" / "atlases"
    with as_file(data / "brainagedemo_dseg.nii.gz") as path:
        labels = on_grid(io.load_nifti(path), "nearest").astype(np.int16)
    with as_file(data / "brainagedemo_dseg.tsv") as path:
        regions = io.read_tsv(path)
    grey, white = (
        on_grid(load(resolution=1), "linear")
        for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    brain = Brain(np.where(labels > 0, grey + 2 * white, 0).astype(np.float32), labels)
    return Anatomy("template", regions, _deformed(brain, MOVEMENTS))


def phantom_anatomy() -> Anatomy:
    """An ellipsoid of 60 compact regions, each of fluid, grey or white matter."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    mask = np.asarray(sum(axis**2 for axis in axes) < 0.8)
    labels = compact_regions(mask, PHANTOM_REGIONS).astype(np.int16)
    half = PHANTOM_REGIONS // 2
    tissue = np.random.default_rng(1).choice([0.3, 1.0, 2.0], half, p=[0.15, 0.5, 0.35])
    units = np.concatenate([[0.0], tissue, tissue])
    volume = ndimage.gaussian_filter(units[labels], 0.6).astype(np.float32)
    indices = np.arange(1, PHANTOM_REGIONS + 1)
    hemisphere = np.where(indices <= half, "L", "R")
    names = [f"{side}{(k - 1) % half + 1}" for k, side in zip(indices, hemisphere, strict=True)]
    regions = pd.DataFrame({"index": indices, "name": names, "hemisphere": hemisphere})
    return Anatomy("phantom", regions, _deformed(Brain(volume, labels), PHANTOM_MOVEMENTS))


def real_anatomy(folders: Sequence[Path]) -> Anatomy:
    """People of folders of derivatives: the embedded model's input and its regions, at 3 mm.

    Raises
    ------
    DataError
        There are none.
    """
    images = sorted(
        path for folder in folders for path in folder.rglob("*_desc-sfcn2mminput_T1w.nii.gz")
    )
    if not images:
        raise DataError("No *_desc-sfcn2mminput_T1w.nii.gz: give folders of the app's derivatives.")
    regions = segmented_regions()

    def brain(number: int) -> Brain:
        image = images[number % len(images)]
        volume = io.load_nifti(image).get_fdata(dtype=np.float32)
        labels = io.load_nifti(Path(str(image).replace("_T1w.nii", "_dseg.nii")))
        # Nobody has the ages that are planted: no one is shown twice as he is.
        rng = np.random.default_rng(number)
        return _moved(
            Brain(
                _coarse(volume, 1).astype(np.float32),
                _coarse(np.asarray(labels.dataobj), 0).astype(np.int16),
            ),
            PHANTOM_MOVEMENTS, rng,
        )  # fmt: skip

    present = np.unique(brain(0).labels)
    regions = regions[regions["index"].isin(present)].reset_index(drop=True)
    return Anatomy("people", regions, kept(brain))


def segmented_regions() -> pd.DataFrame:
    """Names of the regions of the embedded segmentation."""
    with as_file(files("bidsapp_brainage") / "data" / "segmentation" / "muse_labels.tsv") as path:
        return io.read_tsv(path)


def _coarse(values: NDArray[np.generic], order: int) -> NDArray[np.generic]:
    """From the model's grid of 2 mm to ours, about the same middle."""
    scale = VOXEL_MM / 2
    offset = (np.array(values.shape) - 1) / 2 - scale * (np.array(SHAPE) - 1) / 2
    return ndimage.affine_transform(
        values, [scale] * 3, offset, output_shape=SHAPE, order=order, mode="constant"
    )


def kept(brain: Callable[[int], Brain]) -> Callable[[int], Brain]:
    """People whom every plant needs are made once."""
    return functools.lru_cache(maxsize=300)(brain)


def _deformed(brain: Brain, movements: Sequence[tuple[float, float]]) -> Callable[[int], Brain]:
    return kept(lambda number: _moved(brain, movements, np.random.default_rng(number)))


def _moved(
    brain: Brain, movements: Sequence[tuple[float, float]], rng: np.random.Generator
) -> Brain:
    """A brain with random smooth movements and noise."""
    positions = np.indices(SHAPE).astype(np.float32)
    for smoothness, size in movements:
        for axis in range(3):
            field = ndimage.gaussian_filter(rng.standard_normal(SHAPE, np.float32), smoothness)
            positions[axis] += size * field / field.std()
    volume = ndimage.map_coordinates(brain.volume, positions, order=1)
    labels = ndimage.map_coordinates(brain.labels, positions, order=0)
    noise = NOISE * rng.standard_normal(SHAPE, np.float32)
    return Brain(np.where(labels > 0, volume + noise, 0).astype(np.float32), labels)
