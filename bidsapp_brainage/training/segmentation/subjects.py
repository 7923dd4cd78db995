"""People with label maps, brought to the network's grid and kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.imaging.network_input import brought_to, card_grid
from bidsapp_brainage.imaging.transforms import read_affine
from bidsapp_brainage.io import atomic_path, load_nifti
from bidsapp_brainage.segmentation.input import image_units
from bidsapp_brainage.training.data.arrays import load_arrays
from bidsapp_brainage.training.data.prepare import Prepared, find_prepared

from .synthesis import Subject


def pack_people(
    derivatives: Path, labels: Path, folder: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Pack everybody who has both derivatives and labels; who is packed already stays.

    Parameters
    ----------
    derivatives, labels : Path
        The app's output, and a folder of ``<participant>_*dseg.nii.gz``.
    folder : Path
        For ``<participant>.npz``.
    facts : mapping
        With ``input``, the grid of the network.

    Raises
    ------
    NoInputError
        Nobody has both.
    """
    grid = card_grid(facts["input"])
    packed = []
    for image in find_prepared(derivatives):
        person = image.stem.split("_")[0]
        found = sorted(labels.glob(f"{person}_*dseg.nii.gz"))
        if not found:
            continue
        path = folder / f"{person}.npz"
        if not path.is_file():
            save_subject(pack_subject(image, found[0], grid), path)
        packed.append(path)
    if not packed:
        raise NoInputError(
            f"Nobody of {derivatives} has a label map sub-*_dseg.nii.gz in {labels}."
        )
    return packed


def pack_subject(image: Prepared, label_map: Path, grid: nib.Nifti1Image) -> Subject:
    """Bring one person to the network's grid.

    Parameters
    ----------
    image : Prepared
        T1w, mask and affine of the app.
    label_map : Path
        Reference labels in the space of the T1w.
    grid : Nifti1Image
        Only its shape and affine are used.
    """
    affine = read_affine(image.affine)
    volume, inside = brought_to(grid, load_nifti(image.t1w), load_nifti(image.mask), affine)
    labels = load_nifti(label_map)
    return Subject(
        units=image_units(volume, inside, grid.affine),
        mask=inside,
        label_map=np.asarray(labels.dataobj).astype(np.int16),
        to_label_map=np.linalg.inv(labels.affine) @ affine @ grid.affine,
    )


def save_subject(subject: Subject, path: Path) -> None:
    """Keep a person on disk; the file appears only when complete."""
    with atomic_path(path) as temporary, Path(temporary).open("wb") as stream:
        np.savez_compressed(
            stream,
            units=subject.units.astype(np.float16),
            mask=subject.mask,
            label_map=subject.label_map,
            to_label_map=subject.to_label_map,
        )


def load_subject(path: Path) -> Subject:
    """Read what :func:`save_subject` wrote.

    Raises
    ------
    DataError
        The file is damaged.
    """
    kept = load_arrays(path, ("units", "mask", "label_map", "to_label_map"))
    return Subject(**kept | {"units": kept["units"].astype(np.float32)})
