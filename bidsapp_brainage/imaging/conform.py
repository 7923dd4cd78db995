"""Bring any T1w image to one form: 3D, RAS, float32, finite, without bias field."""

from __future__ import annotations

import itertools
from typing import TypedDict

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.orientations import aff2axcodes
from nibabel.spatialimages import HeaderDataError
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from bidsapp_brainage.errors import DataError

from .conversion import to_sitk

MAX_VOXEL_MM = 5.0
MIN_FOV_MM = 100.0
MAX_NONFINITE = 0.01
BIAS_MM = 6.0  # resolution at which the bias field is estimated
BIAS_LEVELS = 3
_CUBIC, _BIAS_SPANS = 3, 1  # order of the field's splines, and their spans at the coarsest level
_FIELD_SAMPLES = 16  # along each axis: the field has 7 degrees of freedom there


class HeaderFacts(TypedDict):
    """What the header says about where the voxels lie.

    Codes are those of NIfTI, 0 for what is not set. `sform_qform_mm` is the largest distance
    between the places that both give to a corner of the image, after the rotation and shift that
    bring them closest: these do no harm. None unless both can be used.
    """

    sform_code: int
    qform_code: int
    n_orientations: int  # how many of both can be used
    sform_qform_mm: float | None


class ImageFacts(HeaderFacts):
    """What is known about the original image."""

    n_nan: int  # non-finite voxels
    resolution_mm: list[float]
    fov_mm: list[float]
    orientation: str
    shape: list[int]


def conform_t1w(img: nib.Nifti1Image, name: str) -> tuple[nib.Nifti1Image, ImageFacts]:
    """Check a T1w image and return it as 3D, RAS, float32, with finite, non-negative voxels.

    The grid is only permuted and flipped, never resampled.

    Parameters
    ----------
    img : nibabel.Nifti1Image
        3D image, or 4D with a single volume; any orientation and data type.
    name : str
        How messages call the file.

    Returns
    -------
    conformed : nibabel.Nifti1Image
        RAS, float32; non-finite voxels and negative values are set to 0.
    facts : dict
        See :class:`ImageFacts`.

    Raises
    ------
    DataError
        Several volumes, no spatial orientation, constant or mostly non-finite voxels, voxels
        larger than 5 mm or a field of view under 100 mm along any axis, or unreadable data.
    """
    header = _header_facts(img)
    img = _single_volume(img, name)
    orientation = _checked_orientation(img, name)
    data = _voxels(img, name)
    finite = np.isfinite(data)
    n_nan = int(data.size - finite.sum())
    if n_nan > MAX_NONFINITE * data.size:
        raise DataError(
            f"{name}: {n_nan} of {data.size} voxels are NaN or infinite. "
            "Convert the image again from its source, or exclude it."
        )
    if n_nan:
        data = np.where(finite, data, np.float32(0))
    _check_contrast(data, name)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, img.affine))
    zooms = np.linalg.norm(canonical.affine[:3, :3], axis=0)
    _check_geometry(zooms, np.array(canonical.shape), name)
    facts: ImageFacts = {
        "n_nan": n_nan,
        "resolution_mm": [float(round(z, 4)) for z in zooms],
        "fov_mm": [float(round(z * n, 2)) for z, n in zip(zooms, canonical.shape, strict=True)],
        "orientation": orientation,
        "shape": [int(n) for n in img.shape],
        **header,
    }
    # the first axis is the fastest in memory, as in files
    voxels = np.asfortranarray(np.maximum(np.asarray(canonical.dataobj, dtype=np.float32), 0))
    return nib.Nifti1Image(voxels, canonical.affine), facts


def _header_facts(img: nib.Nifti1Image) -> HeaderFacts:
    """Read both orientations of a header: sform (used where it is set) and qform."""
    header = img.header
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
    except (ValueError, HeaderDataError):  # no rotation
        qform = None
    usable = [form for form in (sform, qform) if form is not None]
    distance = None
    if len(usable) == 2:
        corners = np.array([*itertools.product(*((0, n - 1) for n in img.shape[:3]))])
        ours, other = (corners @ form[:3, :3].T for form in usable)
        ours, other = ours - ours.mean(axis=0), other - other.mean(axis=0)
        turned = Rotation.align_vectors(ours, other)[0].apply(other)
        distance = round(float(np.linalg.norm(ours - turned, axis=1).max()), 3)
    return {
        "sform_code": int(header["sform_code"]),
        "qform_code": int(header["qform_code"]),
        "n_orientations": len(usable),
        "sform_qform_mm": distance,
    }


def correct_bias_field(img: nib.Nifti1Image, *, iterations: int = 30) -> nib.Nifti1Image:
    """Remove a smooth bias field with N4 (Tustison 2010, IEEE TMI 29:1310).

    The field is estimated on a copy shrunk to about 6 mm, inside the Otsu foreground, with one
    thread (ITK's threaded sums depend on the number of threads), and divided out at full
    resolution.

    Parameters
    ----------
    img : nibabel.Nifti1Image
        3D float32 T1w, non-negative.
    iterations : int
        Largest number of iterations at each of the three levels.

    Returns
    -------
    nibabel.Nifti1Image
        Float32, same grid; the foreground's median is unchanged.
    """
    image = to_sitk(img)
    factors = [max(1, round(BIAS_MM / s)) for s in image.GetSpacing()]
    small = sitk.Shrink(image, factors)
    foreground = sitk.OtsuThreshold(small, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations([iterations] * BIAS_LEVELS)
    n4.SetConvergenceThreshold(1e-3)
    n4.SetSplineOrder(_CUBIC)
    n4.SetNumberOfControlPoints([_CUBIC + _BIAS_SPANS] * 3)
    n4.Execute(small, foreground)
    data = sitk.GetArrayViewFromImage(image)
    corrected = _without_field(data, n4, image)
    inside = data > np.percentile(data.ravel(), 75)
    corrected *= np.median(data[inside]) / np.median(corrected[inside])
    return nib.Nifti1Image(corrected.T, img.affine)


def _without_field(
    data: np.ndarray, n4: sitk.N4BiasFieldCorrectionImageFilter, image: sitk.Image
) -> np.ndarray:
    """Divide an image (its voxels, float32, in ITK's order) by the bias field that N4 found.

    The logarithm of the field is a cubic spline with a few equal spans along each axis. ITK's value
    at every voxel takes longer than the fit; here ITK gives a few samples, from which the spline is
    found again (to 1e-5), and its values are products of small matrices.
    """
    coarse = sitk.Image([_FIELD_SAMPLES] * 3, sitk.sitkFloat32)
    coarse.SetOrigin(image.GetOrigin())
    coarse.SetDirection(image.GetDirection())
    extent = (np.array(image.GetSize()) - 1) * image.GetSpacing()
    coarse.SetSpacing((extent / (_FIELD_SAMPLES - 1)).tolist())
    control = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(coarse)).astype(np.float64)
    fit = np.linalg.pinv(_spline_basis(_FIELD_SAMPLES))
    slices, rows, columns = (_spline_basis(size).astype(np.float32) for size in data.shape)
    control = np.einsum("ijk,ai,bj,ck->abc", control, fit, fit, fit, optimize=True)
    control = np.tensordot(slices, control.astype(np.float32), 1)
    corrected = np.empty_like(data)
    for out, one, weights in zip(corrected, data, control, strict=True):  # the cache holds a slice
        np.divide(one, np.exp(rows @ weights @ columns.T), out=out)
    return corrected


def _spline_basis(n: int) -> np.ndarray:
    """Cubic B-splines of the bias field at equal steps through an image, (n, n_control_points)."""
    spans = _BIAS_SPANS * 2 ** (BIAS_LEVELS - 1)  # each level halves them
    knots = np.arange(-_CUBIC, spans + _CUBIC + 1, dtype=float)
    places = np.linspace(0, spans, n)
    return np.asarray(BSpline.design_matrix(places, knots, _CUBIC).toarray())


def inverted(img: nib.Nifti1Image) -> nib.Nifti1Image:
    """Bright made dark and dark bright: a T2w whose tissues are in the order of a T1w.

    Parameters
    ----------
    img : nibabel.Nifti1Image
        3D float32, non-negative; what is below a tenth of its bright part is air and becomes 0.

    Returns
    -------
    nibabel.Nifti1Image
        Float32, same grid; for registration and brain mask only.
    """
    data = np.asarray(img.dataobj, dtype=np.float32)
    bright = float(np.percentile(data[data > 0], 99)) if (data > 0).any() else 0.0
    turned = np.where(data > 0.1 * bright, np.clip(1.1 * bright - data, 0, None), 0)
    return nib.Nifti1Image(turned.astype(np.float32), img.affine)


def _single_volume(img: nib.Nifti1Image, name: str) -> nib.Nifti1Image:
    shape = img.shape
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise DataError(f"{name}: the image has shape {shape}; a T1w image needs three dimensions.")
    if any(n != 1 for n in shape[3:]):
        raise DataError(
            f"{name}: the image has {int(np.prod(shape[3:]))} volumes (shape {shape}). "
            "Keep one volume (or their average) per T1w file, as BIDS requires."
        )
    if len(shape) > 3:
        return nib.Nifti1Image(np.asanyarray(img.dataobj).reshape(shape[:3]), img.affine)
    return img


def _checked_orientation(img: nib.Nifti1Image, name: str) -> str:
    affine = img.affine
    if (
        affine is None
        or not np.all(np.isfinite(affine))
        or abs(np.linalg.det(affine[:3, :3])) < 1e-6
    ):
        raise DataError(
            f"{name}: the header has no usable orientation (sform/qform). "
            "Convert the image again with a tool that keeps it, such as dcm2niix."
        )
    return "".join(code or "?" for code in aff2axcodes(affine))


def _voxels(img: nib.Nifti1Image, name: str) -> np.ndarray:
    dtype = img.get_data_dtype()
    if dtype.kind not in "iuf":
        raise DataError(
            f"{name}: voxels of type {dtype} are not intensities. Convert to a real, scalar image."
        )
    try:
        return np.asarray(img.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{name}: the voxels cannot be read ({error}). The file is truncated or damaged: "
            "copy or convert it again."
        ) from error


def _check_contrast(data: np.ndarray, name: str) -> None:
    if float(data.max()) == float(data.min()):
        raise DataError(
            f"{name}: every voxel has the same value ({float(data.flat[0]):g}). "
            "The conversion failed or the file is a placeholder: convert it again or exclude it."
        )


def _check_geometry(zooms: np.ndarray, shape: np.ndarray, name: str) -> None:
    if zooms.max() > MAX_VOXEL_MM:
        size = " x ".join(f"{z:.3g}" for z in zooms)
        raise DataError(
            f"{name}: voxels of {size} mm are too coarse (limit {MAX_VOXEL_MM:g} mm). "
            "Use the 3D T1w acquisition of this person instead of a thick-slice one."
        )
    fov = zooms * shape
    if fov.min() < MIN_FOV_MM:
        size = " x ".join(f"{f:.3g}" for f in fov)
        raise DataError(
            f"{name}: the field of view of {size} mm cannot hold a head "
            f"(at least {MIN_FOV_MM:g} mm along each axis). Use a whole-brain acquisition, or "
            "correct the voxel sizes in the header if they are wrong (zeros count as 1 mm)."
        )
