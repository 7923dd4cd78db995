"""People with label maps, brought to the network's grid and kept on disk."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.imaging.transforms import apply_xfm, read_affine
from bidsapp_brainage.io import atomic_path, load_nifti
from bidsapp_brainage.model.specs import Ellipsoid
from bidsapp_brainage.model.tissue import tissue_units

from .synthesis import Subject


def pack_subject(
    anat: Path, label_map: Path, grid: nib.Nifti1Image, ellipsoid: Ellipsoid
) -> Subject:
    """Bring one person of the app's derivatives to the network's grid.

    Parameters
    ----------
    anat : Path
        The person's ``anat`` folder in the app's derivatives.
    label_map : Path
        Reference labels in the space of the T1w.
    grid : Nifti1Image
        Only its shape and affine are used.
    ellipsoid : mapping
        Where levels of tissue are read; see :func:`bidsapp_brainage.model.tissue.tissue_units`.

    Raises
    ------
    NoInputError
        The person has no preprocessed T1w, mask or transform.
    """
    t1w = load_nifti(_one(anat, "desc-preproc_T1w.nii.gz"))
    mask = load_nifti(_one(anat, "desc-brain_mask.nii.gz"))
    affine = read_affine(_one(anat, "desc-affine_xfm.txt"))
    volume = np.asarray(apply_xfm(t1w, grid, affine).dataobj)
    soft = nib.Nifti1Image((np.asarray(mask.dataobj) > 0).astype(np.float32), mask.affine)
    inside = np.asarray(apply_xfm(soft, grid, affine).dataobj) >= 0.5
    labels = load_nifti(label_map)
    return Subject(
        units=np.clip(tissue_units(volume, inside, ellipsoid), -0.5, 2.5),
        mask=inside,
        label_map=np.asarray(labels.dataobj).astype(np.int16),
        to_label_map=np.linalg.inv(labels.affine) @ affine @ grid.affine,
    )


def _one(anat: Path, end: str) -> Path:
    """The person's file in T1w space."""
    found = [path for path in sorted(anat.glob(f"*_{end}")) if "_space-" not in path.name]
    if not found:
        raise NoInputError(f"{anat}: no *_{end}. Run the app's participant level on this person.")
    return found[0]


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
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Subject(
                kept["units"].astype(np.float32),
                kept["mask"],
                kept["label_map"],
                kept["to_label_map"],
            )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path.name}: damaged. Remove it; it is made again.") from error
