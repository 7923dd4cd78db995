"""A head with derivatives as sMRIPrep writes them: real transforms, sidecars, all folders."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.reuse.layout import Anatomy, write_anatomy, write_dataset
from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import embedded_images
from bidsapp_brainage.imaging.conversion import affine_to_sitk
from bidsapp_brainage.imaging.registration import fit_warp
from bidsapp_brainage.imaging.skullstrip import extract_brain
from bidsapp_brainage.imaging.transforms import (
    apply_xfm,
    forward_transform,
    inverse_transform,
)
from tests.reuse.person import AFFINE, OTHER, Person


def coarse(image: nib.Nifti1Image, affine: np.ndarray, *, labels: bool = False) -> nib.Nifti1Image:
    """An image of the embedded template seen through an affine, at 2.5 mm."""
    grid = nib.Nifti1Image(
        np.zeros((84, 100, 88), np.uint8), np.diag([2.5, 2.5, 2.5, 1]) + _corner((-103, -138, -85))
    )
    moved = apply_xfm(image, grid, affine, interpolation="nearest" if labels else "linear")
    return nib.Nifti1Image(
        np.asarray(moved.dataobj).astype(np.uint8 if labels else np.float32), moved.affine
    )


def _corner(shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Derivatives whose space is a template that is the embedded one through an affine."""
    place = tmp_path_factory.mktemp("reuse")
    brain, mask = embedded_images()
    own = (coarse(brain, np.eye(4)), coarse(mask, np.eye(4), labels=True))
    other = (coarse(brain, OTHER), coarse(mask, OTHER, labels=True))
    t1w = coarse(brain, np.linalg.inv(AFFINE))
    affine = AFFINE @ OTHER
    warp = fit_warp(t1w, *other, affine, sloppy=True)
    forward = forward_transform(affine, warp.forward)
    inverse = inverse_transform(affine, warp.inverse)
    inside = extract_brain(t1w, other[1], inverse, stripped=True)
    data = np.asarray(t1w.dataobj)
    classes = np.digitize(data, np.percentile(data[data > 0], [25, 60])) + 1
    classes = np.where(np.asarray(inside.dataobj) > 0, np.array([0, 3, 1, 2])[classes], 0)
    tissues = {
        name: nib.Nifti1Image((classes == value).astype(np.float32), t1w.affine)
        for name, value in (("GM", 1), ("WM", 2), ("CSF", 3))
    }
    dseg = nib.Nifti1Image(classes.astype(np.uint8), t1w.affine)
    raw = ("sub-01/anat/sub-01_T1w.nii.gz",)
    anatomy = Anatomy(t1w, inside, dseg, tissues, forward, inverse, raw)
    write_dataset(place / "smriprep")
    folder = write_anatomy(place / "smriprep", "sub-01", anatomy)
    files = {}
    for name, pair in (("own", own), ("other", other)):
        files[name] = tuple(place / f"{name}_{kind}.nii.gz" for kind in ("T1w", "mask"))
        for path, image in zip(files[name], pair, strict=True):
            io.save_nifti(image, path)
    return Person(
        place / "smriprep",
        folder,
        folder / "sub-01_desc-preproc_T1w.nii.gz",
        files["own"],
        files["other"],
        forward,
        inverse,
        anatomy,
    )


@pytest.fixture(scope="session")
def joint(person: Person, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Transforms that resample the other template onto the embedded one and back."""
    folder = tmp_path_factory.mktemp("joint")
    paths = [folder / "to.h5", folder / "from.h5"]
    for path, matrix in zip(paths, (np.linalg.inv(OTHER), OTHER), strict=True):
        sitk.WriteTransform(sitk.CompositeTransform([affine_to_sitk(matrix)]), str(path))
    return [str(path) for path in paths]
