"""Raw heads with label maps, kept on disk to make images of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.imaging.conform import conform_t1w
from bidsapp_brainage.imaging.network_input import head_centre
from bidsapp_brainage.io import atomic_path, load_nifti
from bidsapp_brainage.segmentation.labels import TISSUES, VENTRICLES, Labels
from bidsapp_brainage.training.data.arrays import load_arrays

_FIELD_MM = 18.0  # SD of the smoothing that finds the uneven field in white matter
_DARK = 0.5  # of fluid's level, below which a voxel is air or bone


@dataclass(frozen=True)
class Head:
    """One raw head on its own grid (RAS), arrays of shape (I, J, K).

    Attributes
    ----------
    raw : ndarray of float16
        Intensities; white matter is about 1.
    units : ndarray of float16
        The same in tissue units (fluid 0, grey matter 1, white matter 2) without uneven field.
    shown : ndarray of uint8
        0 where there is air or bone, 255 where there is anything.
    classes : ndarray of uint8
        Classes of :class:`bidsapp_brainage.segmentation.labels.Labels`; 0 outside the brain.
    voxel_mm : ndarray, shape (3,)
        Voxel sizes.
    centre : ndarray, shape (3,)
        The head's middle in voxels.
    """

    raw: np.ndarray
    units: np.ndarray
    shown: np.ndarray
    classes: np.ndarray
    voxel_mm: np.ndarray
    centre: np.ndarray


def pack_heads(bids: Path, labels_dir: Path, folder: Path, labels: Labels) -> list[Path]:
    """Pack everybody who has both a raw T1w and labels; who is packed already stays.

    Parameters
    ----------
    bids, labels_dir : Path
        Raw dataset, and a folder of ``<participant>_*dseg.nii.gz`` on the grid of the T1w.
    folder : Path
        For ``<participant>.npz``.
    labels : Labels
        What the maps hold.

    Raises
    ------
    NoInputError
        Nobody has both.
    """
    packed = []
    for t1w, label_map in _pairs(bids, labels_dir):
        path = folder / f"{label_map.name.split('_')[0]}.npz"
        if not path.is_file():
            save_head(pack_head(load_nifti(t1w), load_nifti(label_map), labels), path)
        packed.append(path)
    if not packed:
        raise NoInputError(f"Nobody of {bids} has a label map sub-*_dseg.nii.gz in {labels_dir}.")
    return packed


def pack_head(t1w: nib.Nifti1Image, label_map: nib.Nifti1Image, labels: Labels) -> Head:
    """Bring a raw T1w and its labels, which have the same grid, to a form to make images of."""
    conformed, _ = conform_t1w(t1w, "T1w")
    data = np.asarray(conformed.dataobj)
    indices = np.asarray(nib.as_closest_canonical(label_map).dataobj).astype(int)
    if indices.shape != data.shape:
        raise DataError(f"Labels of shape {indices.shape} are no map of a T1w of {data.shape}.")
    classes = labels.classes(indices)
    voxel_mm = np.linalg.norm(conformed.affine[:3, :3], axis=0)
    flat = data / _field(data, labels.tissues[classes] == TISSUES.index("WM"), voxel_mm)
    fluid = float(np.median(flat[np.isin(indices, VENTRICLES)]))
    grey, white = (
        float(np.median(flat[labels.tissues[classes] == TISSUES.index(name)]))
        for name in ("GM", "WM")
    )
    # what is darker than fluid goes on below 0, what is brighter than white matter above 2
    units = np.interp(flat, [0, fluid, grey, white, 2 * white], [-1, 0, 1, 2, 4])
    shown = np.clip(flat / (_DARK * fluid), 0, 1)
    return Head(
        raw=(data / np.median(data[classes > 0])).astype(np.float16),
        units=units.astype(np.float16),
        shown=np.rint(255 * np.where(classes > 0, 1, shown)).astype(np.uint8),
        classes=classes.astype(np.uint8),
        voxel_mm=voxel_mm,
        centre=nib.affines.apply_affine(np.linalg.inv(conformed.affine), head_centre(conformed)),
    )


def save_head(head: Head, path: Path) -> None:
    """Keep a head on disk; the file appears only when complete."""
    with atomic_path(path) as temporary, Path(temporary).open("wb") as stream:
        np.savez(stream, **vars(head))


def load_head(path: Path) -> Head:
    """Read what :func:`save_head` wrote.

    Raises
    ------
    DataError
        The file is damaged.
    """
    return Head(**load_arrays(path, Head.__dataclass_fields__))


def halves(people: Sequence[Path]) -> list[list[Path]]:
    """Two halves of the people, each to train one network on."""
    return [list(people[part::2]) for part in range(2)]


def _pairs(bids: Path, labels_dir: Path) -> Iterator[tuple[Path, Path]]:
    for label_map in sorted(labels_dir.glob("sub-*_dseg.nii.gz")):
        person = label_map.name.split("_")[0]
        found = sorted(bids.glob(f"{person}/**/{person}_*T1w.nii*"))
        if found:
            yield found[0], label_map


def _field(data: np.ndarray, white: np.ndarray, voxel_mm: np.ndarray) -> np.ndarray:
    """Uneven field (about the level of white matter), from white matter near every voxel."""
    sigma = _FIELD_MM / voxel_mm
    level = float(np.median(data[white]))
    weight = ndimage.gaussian_filter(white.astype(np.float32), sigma) + 1e-3
    total = ndimage.gaussian_filter(np.where(white, data, 0).astype(np.float32), sigma)
    return np.asarray(np.maximum((total + 1e-3 * level) / weight, 0.2 * level))
