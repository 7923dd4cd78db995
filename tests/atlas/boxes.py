"""Images of a few hundred voxels: a box as brain, and its halves as regions."""

from __future__ import annotations

import nibabel as nib
import numpy as np

AFFINE = np.array([[8.0, 0, 0, -36], [0, 8, 0, -36], [0, 0, 8, -36], [0, 0, 0, 1]])
SHAPE = (10, 10, 10)


def image(data: np.ndarray, affine: np.ndarray = AFFINE) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.asarray(data), affine)


def brain() -> np.ndarray:
    """A box of 8 x 8 x 8 voxels in the middle."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:9, 1:9, 1:9] = 1
    return mask


def halves() -> np.ndarray:
    """Label 1 on the left (x < 0), label 2 on the right, 3 in the middle of the right."""
    labels = brain().astype(np.uint8)
    labels[5:] *= 2
    labels[6:8, 4:6, 4:6] = 3
    return labels
