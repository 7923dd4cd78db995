"""A raw head in any pose, made of the brain of the template that nilearn brings along."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage


def template_brain() -> nib.Nifti1Image:
    """The template at 2 mm, white matter about 0.8."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2)
    return nib.Nifti1Image(template.get_fdata(dtype=np.float32), template.affine)


def template_inside(brain: nib.Nifti1Image) -> np.ndarray:
    """Voxels of the brain, bool, with its ventricles."""
    return np.asarray(ndimage.binary_fill_holes(np.asarray(brain.dataobj) > 0.1))


def raw_head(brain: nib.Nifti1Image, pose: np.ndarray) -> nib.Nifti1Image:
    """The brain in a dark skull and a bright scalp, unevenly bright, with noise everywhere.

    `pose` (4 x 4) leads from the template to the head, RAS mm.
    """
    distance = ndimage.distance_transform_edt(~template_inside(brain)) * 2.0
    data = 100.0 * np.asarray(brain.dataobj)
    data[(distance > 8) & (distance < 14)] = 95.0
    data *= np.linspace(0.75, 1.25, data.shape[1])[None, :, None]
    noise = np.random.default_rng(0).rayleigh(2.0, data.shape)
    return nib.Nifti1Image((data + noise).astype(np.float32), pose @ brain.affine)
