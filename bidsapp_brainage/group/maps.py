"""Mean occlusion map of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import load_nifti


def mean_map(maps: Mapping[str, Path]) -> tuple[nib.Nifti1Image, int]:
    """Mean over participants of their occlusion maps, each the mean over their scans.

    Parameters
    ----------
    maps : mapping
        Map in template space by scan name (``sub-01_ses-1``), at least one.

    Returns
    -------
    image : nibabel.Nifti1Image
        float32, years, on the grid of the maps.
    n_participants : int

    Raises
    ------
    DataError
        If a map cannot be read or the maps have different grids.
    """
    by_person: dict[str, list[Path]] = {}
    for scan, path in maps.items():
        by_person.setdefault(scan.split("_")[0], []).append(path)
    reference = load_nifti(next(iter(maps.values())))
    total = np.zeros(reference.shape, dtype=np.float64)
    for paths in by_person.values():
        total += sum(_values(path, reference) for path in paths) / len(paths)
    mean = (total / len(by_person)).astype(np.float32)
    image = nib.Nifti1Image(mean, reference.affine)
    image.set_sform(reference.affine, code=int(reference.header["sform_code"]) or 4)
    image.set_qform(reference.affine, code=int(reference.header["qform_code"]) or 4)
    return image, len(by_person)


def _values(path: Path, reference: nib.Nifti1Image) -> np.ndarray:
    image = load_nifti(path)
    if image.shape != reference.shape or not np.allclose(image.affine, reference.affine):
        raise DataError(
            f"{path} has another grid than the other occlusion maps. A model whose card says "
            "'crop: brain' or 'rigid' has a grid for each person, and no mean map; else rerun the "
            "participant level for this scan with the same model and atlas."
        )
    return np.asarray(image.get_fdata(dtype=np.float32), dtype=np.float64)
