"""Images to test with: the bundled template at 2 mm, and a head made from it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage


@pytest.fixture(scope="session")
def template() -> nib.Nifti1Image:
    from nilearn.datasets import load_mni152_template

    img = load_mni152_template(resolution=2)
    return nib.Nifti1Image(img.get_fdata(dtype=np.float32), img.affine)


@pytest.fixture(scope="session")
def template_mask(template: nib.Nifti1Image) -> nib.Nifti1Image:
    inside = ndimage.binary_fill_holes(template.get_fdata() > 0.1)
    return nib.Nifti1Image(inside.astype(np.uint8), template.affine)


@pytest.fixture(scope="session")
def head(template: nib.Nifti1Image, template_mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """The template's brain in a dark skull and a bright scalp, with noise everywhere."""
    distance = ndimage.distance_transform_edt(template_mask.get_fdata() == 0) * 2.0
    data = template.get_fdata() * 100.0
    data[(distance > 8) & (distance < 14)] = 95.0
    noise = np.random.default_rng(0).rayleigh(2.0, data.shape)
    return nib.Nifti1Image((data + noise).astype(np.float32), template.affine)


def world_error(found: np.ndarray, true: np.ndarray, mask: nib.Nifti1Image) -> float:
    """Largest distance (mm) between two affines over the points of a mask."""
    points = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() > 0)[::50])
    a = nib.affines.apply_affine(found, points)
    b = nib.affines.apply_affine(true, points)
    return float(np.linalg.norm(a - b, axis=1).max())
