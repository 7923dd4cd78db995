"""Conversion between nibabel images (RAS) and SimpleITK images (LPS)."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import DTypeLike

RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_sitk(img: nib.Nifti1Image, dtype: DTypeLike = np.float32) -> sitk.Image:
    """Return a scalar SimpleITK image on the same world grid as a 3D nibabel image.

    The image's affine may be oblique or flipped, but not sheared.
    """
    array = np.asarray(img.dataobj, dtype=dtype)
    out = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    return _set_grid(out, img.affine)


def to_sitk_vector(img: nib.Nifti1Image) -> sitk.Image:
    """Return a SimpleITK displacement image (float64) from a nibabel image (X, Y, Z, 3)."""
    array = np.asarray(img.dataobj, dtype=np.float64).transpose(2, 1, 0, 3)
    out = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=True)
    return _set_grid(out, img.affine)


def _set_grid(image: sitk.Image, affine: np.ndarray) -> sitk.Image:
    origin, spacing, direction = place_of(affine)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def place_of(affine: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Return origin, spacing and direction in ITK's terms of a RAS voxel-to-world matrix."""
    lps = RAS_LPS @ np.asarray(affine, dtype=float)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = nearest_rotation(lps[:3, :3] / spacing)
    return lps[:3, 3].tolist(), spacing.tolist(), direction.ravel().tolist()


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Return the orthonormal 3 x 3 matrix nearest to ``matrix`` (reflections allowed)."""
    u, _, vt = np.linalg.svd(matrix)
    return np.asarray(u @ vt)


def grid_affine(image: sitk.Image) -> np.ndarray:
    """Return the RAS voxel-to-world matrix (4 x 4) of a SimpleITK image."""
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return RAS_LPS @ affine


def from_sitk(image: sitk.Image) -> nib.Nifti1Image:
    """Return a nibabel image (X, Y, Z) or (X, Y, Z, 3) on the same world grid.

    The first axis of a scalar image is the fastest in memory, as in files.
    """
    array = sitk.GetArrayFromImage(image)
    if array.ndim == 3:
        return nib.Nifti1Image(array.T, grid_affine(image))
    return nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0, 3)), grid_affine(image))


def affine_to_sitk(
    matrix: np.ndarray, *, center: Sequence[float] = (0.0, 0.0, 0.0)
) -> sitk.AffineTransform:
    """Return the ITK transform of a RAS millimetre 4 x 4 matrix.

    ``center`` (LPS millimetres) is the fixed point of its linear parameters, for optimisers.
    """
    lps = RAS_LPS @ np.asarray(matrix, dtype=float) @ RAS_LPS
    middle = np.asarray(center, dtype=float)
    out = sitk.AffineTransform(3)
    out.SetCenter(middle.tolist())
    out.SetMatrix(lps[:3, :3].ravel().tolist())
    out.SetTranslation((lps[:3, 3] + lps[:3, :3] @ middle - middle).tolist())
    return out


def affine_from_sitk(transform: sitk.Transform) -> np.ndarray:
    """Return the RAS millimetre 4 x 4 matrix of a linear ITK transform."""
    affine = sitk.AffineTransform(transform)
    lps = np.eye(4)
    lps[:3, :3] = np.array(affine.GetMatrix()).reshape(3, 3)
    center = np.array(affine.GetCenter())
    lps[:3, 3] = np.array(affine.GetTranslation()) + center - lps[:3, :3] @ center
    return RAS_LPS @ lps @ RAS_LPS
