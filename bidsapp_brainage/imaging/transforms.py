"""Transforms on disk (ITK composite, HDF5) and their application to images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Literal

import h5py
import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import atomic_path

from .conversion import (
    RAS_LPS,
    affine_from_sitk,
    affine_to_sitk,
    from_sitk,
    place_of,
    to_sitk,
    to_sitk_vector,
)
from .distance import first_is_fastest

# Values of a dataset from which compression pays, and how: level 4 takes half as much time again
# for three per cent of the size.
PACK_FROM = 1000
_PACKED = MappingProxyType({"compression": "gzip", "compression_opts": 1, "shuffle": True})
# Images on grids of so many voxels are first looked for in steps, with a margin around (voxels).
_COARSE_FROM, _COARSE_STEP, _COARSE_MARGIN = 1_000_000, 4, 6
# Standard deviation of a Gaussian whose full width at half maximum is 1.
SIGMA_PER_FWHM = 0.425

INTERPOLATORS = {
    "linear": sitk.sitkLinear,
    "nearest": sitk.sitkNearestNeighbor,
    "bspline": sitk.sitkBSpline3,
}


def forward_transform(
    affine: np.ndarray, field: nib.Nifti1Image | None = None
) -> sitk.CompositeTransform:
    """Return the transform that resamples a T1w image to the template (template to T1w points).

    `affine` (4 x 4) leads from template RAS mm to T1w RAS mm; `field` is :attr:`Warp.forward`,
    without which the transform is affine.
    """
    parts: list[sitk.Transform] = [affine_to_sitk(affine)]
    if field is not None:
        parts.append(sitk.DisplacementFieldTransform(to_sitk_vector(field)))
    return sitk.CompositeTransform(parts)


def inverse_transform(
    affine: np.ndarray, field: nib.Nifti1Image | None = None
) -> sitk.CompositeTransform:
    """Return the transform that resamples a template image to the T1w (T1w to template points).

    `affine` is that of :func:`forward_transform`, `field` is :attr:`Warp.inverse`.
    """
    parts: list[sitk.Transform] = []
    if field is not None:
        parts.append(sitk.DisplacementFieldTransform(to_sitk_vector(field)))
    parts.append(affine_to_sitk(np.linalg.inv(affine)))
    return sitk.CompositeTransform(parts)


def write_xfm(
    path: Path, *, affine: np.ndarray, field: nib.Nifti1Image | None = None, inverse: bool = False
) -> None:
    """Write a composite transform as ITK HDF5 (readable by ANTs, SimpleITK, nitransforms).

    `affine` and `field` are those of :func:`inverse_transform` (template-to-T1w, for images) when
    `inverse`, else of :func:`forward_transform`. The file appears only when complete.
    """
    build = inverse_transform if inverse else forward_transform
    # Beside the file: a field of displacements is large, and /tmp may be small or missing.
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(prefix="xfm-", dir=path.parent) as folder,
    ):
        written = Path(folder) / "xfm.h5"
        sitk.WriteTransform(build(affine, field), str(written))
        _copy_without_times(written, temporary)


def _copy_without_times(source: Path, target: Path) -> None:
    """Copy an HDF5 file compressed and without times: the same transform gives the same bytes."""
    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                new.require_group(name)
                return
            packed = _PACKED if item.size > PACK_FROM else {}
            new.create_dataset(name, data=item[()], dtype=item.dtype, track_times=False, **packed)

        old.visititems(copy)


def read_xfm(path: Path) -> sitk.Transform:
    """Read a transform that ITK wrote (``.h5``, ``.mat``, ``.txt``).

    Raises
    ------
    DataError
        The file is damaged or no ITK transform.
    """
    try:
        return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise DataError(
            f"{path.name}: not a readable ITK transform. Remove it, so that it is computed again, "
            "or give the transform that belongs to this image."
        ) from error


def chained(*transforms: sitk.Transform) -> sitk.CompositeTransform:
    """Return several transforms as one; a point goes through the first of them first."""
    return sitk.CompositeTransform(list(reversed(transforms)) or [sitk.TranslationTransform(3)])


def is_linear(transform: sitk.Transform) -> bool:
    """Whether a transform, with all of its parts, is linear: then it is no warp."""
    return all(part.IsLinear() for part in _parts(transform))


def _parts(transform: sitk.Transform) -> list[sitk.Transform]:
    """A transform itself, or those that a composite one is made of, also of nested ones."""
    if transform.GetTransformEnum() != sitk.sitkComposite:
        return [transform]
    composite = sitk.CompositeTransform(transform)
    inner = [composite.GetNthTransform(i) for i in range(composite.GetNumberOfTransforms())]
    return [part for one in inner for part in _parts(one)]


def read_affine(path: Path) -> np.ndarray:
    """Read a 4 x 4 RAS matrix (``.txt``), or the linear part of an ITK transform.

    Raises
    ------
    DataError
        The file holds no linear transform.
    """
    if path.suffix == ".txt":
        matrix = np.loadtxt(path)
        if matrix.shape != (4, 4):
            raise DataError(f"{path.name}: expected a 4 x 4 matrix, found shape {matrix.shape}.")
        return np.asarray(matrix)
    for part in _parts(read_xfm(path)):
        if part.IsLinear():
            return affine_from_sitk(part.Downcast())
    raise DataError(f"{path.name}: the transform has no linear part.")


def write_affine(path: Path, affine: np.ndarray) -> None:
    """Write a 4 x 4 RAS millimetre matrix as text."""
    with atomic_path(path) as temporary:
        np.savetxt(temporary, affine, fmt="%.12g")


def apply_xfm(
    img: nib.Nifti1Image,
    reference: nib.Nifti1Image,
    xfm: Path | np.ndarray | sitk.Transform,
    *,
    interpolation: str = "linear",
    fill: float = 0.0,
    sparse: bool = False,
) -> nib.Nifti1Image:
    """Resample a 3D image on the grid of ``reference``; float32, or int32 with ``nearest``.

    ``xfm`` maps points of the reference to points of the image: a file, a 4 x 4 RAS matrix or a
    transform. ``interpolation`` is one of ``INTERPOLATORS`` (``nearest`` keeps integer labels), and
    ``fill`` the value outside the image. An image that is 0 in most places (``sparse``, as labels
    are) is only resampled where it is not.
    """
    dtype = np.int32 if interpolation == "nearest" else np.float32
    moving, transform = to_sitk(img, dtype), _as_transform(xfm)

    def resampled(part: Sequence[slice]) -> np.ndarray:
        shape, affine = _cut(reference, part)
        method = INTERPOLATORS[interpolation]
        out = sitk.Resample(moving, shape, transform, method, *place_of(affine), fill)
        return np.asarray(from_sitk(out).dataobj)

    shape = reference.shape[:3]
    if (sparse or interpolation == "nearest") and fill == 0:
        return nib.Nifti1Image(_where_it_is(resampled, shape), reference.affine)
    return nib.Nifti1Image(resampled([slice(0, n) for n in shape]), reference.affine)


def _cut(reference: nib.Nifti1Image, part: Sequence[slice]) -> tuple[list[int], np.ndarray]:
    """Shape and affine of a part of a grid, with the steps of the slices."""
    affine = reference.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(affine, [each.start for each in part])
    affine[:3, :3] = affine[:3, :3] * [each.step or 1 for each in part]
    shape = [len(range(*each.indices(n))) for each, n in zip(part, reference.shape, strict=False)]
    return shape, affine


def box_through(
    box: Sequence[slice], matrix: np.ndarray, shape: Sequence[int], margin: float | np.ndarray = 0.0
) -> tuple[slice, ...]:
    """Slices of an image of this shape that hold what a box of another grid becomes.

    `matrix` (4 x 4) leads from voxels of the grid to voxels of the image; `margin` are voxels of
    the image. A box outside of the image becomes an empty one.
    """
    corners = np.array(np.meshgrid(*((each.start, each.stop - 1) for each in box)))
    reached = nib.affines.apply_affine(matrix, corners.reshape(3, -1).T)
    start = np.clip(np.floor(reached.min(axis=0) - margin), 0, shape).astype(int).tolist()
    stop = np.clip(np.ceil(reached.max(axis=0) + margin) + 1, 0, shape).astype(int).tolist()
    return tuple(slice(low, max(low, high)) for low, high in zip(start, stop, strict=True))


def _where_it_is(
    resampled: Callable[[Sequence[slice]], np.ndarray], shape: Sequence[int]
) -> np.ndarray:
    """Resample an image where it is not 0: an atlas fills a third of a head and its air.

    Every fourth voxel tells the box that holds it, which grows while something touches its side.
    """
    whole = [slice(0, n) for n in shape]
    if math.prod(shape) < _COARSE_FROM:
        return resampled(whole)
    seen = np.nonzero(resampled([slice(0, n, _COARSE_STEP) for n in shape]))
    if not seen[0].size:
        return resampled(whole)
    box = [(int(axis.min()) * _COARSE_STEP, int(axis.max()) * _COARSE_STEP + 1) for axis in seen]
    while True:
        box = [
            (max(low - _COARSE_MARGIN, 0), min(high + _COARSE_MARGIN, n))
            for (low, high), n in zip(box, shape, strict=True)
        ]
        part = tuple(slice(*each) for each in box)
        found = resampled(part)
        if not _touches_side(found, box, shape):
            image = np.zeros(shape, dtype=found.dtype, order="F")
            image[part] = found
            return image


def _touches_side(found: np.ndarray, box: Sequence[tuple[int, int]], shape: Sequence[int]) -> bool:
    """Whether something lies at a side of the box that is not one of the image."""
    for axis, ((low, high), n) in enumerate(zip(box, shape, strict=True)):
        sides = [side for side, inner in ((0, low > 0), (-1, high < n)) if inner]
        if any(np.moveaxis(found, axis, 0)[side].any() for side in sides):
            return True
    return False


def points_through(grid: nib.Nifti1Image, xfm: sitk.Transform) -> np.ndarray:
    """Return where a transform leads the voxels of a grid: RAS mm, float64, shape (X, Y, Z, 3)."""
    empty = np.zeros(grid.shape[:3], dtype=np.uint8)
    place = to_sitk(nib.Nifti1Image(empty, grid.affine), np.uint8)
    field = sitk.TransformToDisplacementField(
        xfm,
        sitk.sitkVectorFloat64,
        place.GetSize(),
        place.GetOrigin(),
        place.GetSpacing(),
        place.GetDirection(),
    )
    moved = np.asarray(from_sitk(field).dataobj) @ RAS_LPS[:3, :3]
    voxels = np.moveaxis(np.indices(grid.shape[:3]), 0, -1)
    return np.asarray(nib.affines.apply_affine(grid.affine, voxels) + moved)


def sampled(img: nib.Nifti1Image, points: np.ndarray) -> np.ndarray:
    """Return values of a 3D image at points (RAS mm, shape (..., 3)), linear, 0 outside of it.

    Unlike :func:`apply_xfm` it takes images whose affine has shears.
    """
    voxels = nib.affines.apply_affine(np.linalg.inv(img.affine), points)
    data = np.asarray(img.dataobj, dtype=np.float32)
    return np.asarray(ndimage.map_coordinates(data, np.moveaxis(voxels, -1, 0), order=1))


def _as_transform(xfm: Path | np.ndarray | sitk.Transform) -> sitk.Transform:
    if isinstance(xfm, sitk.Transform):
        return xfm
    if isinstance(xfm, np.ndarray):
        return affine_to_sitk(xfm)
    return read_xfm(Path(xfm))


def blurred_to(data: np.ndarray, zooms: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Blur away detail finer than ``voxel_mm``, so that sampling there does not alias.

    `zooms` are the voxel sizes (mm) along the axes of `data`; axes coarser than `voxel_mm` are left
    as they are.
    """
    sigma = blur_sigma(zooms, voxel_mm)
    return gaussian(data, sigma, mode="nearest") if sigma.any() else data


def blur_sigma(zooms: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Standard deviation (voxels) of the Gaussian of :func:`blurred_to`, by axis."""
    return np.asarray(SIGMA_PER_FWHM * np.sqrt(np.maximum(voxel_mm**2 - zooms**2, 0.0)) / zooms)


def gaussian(
    data: np.ndarray, sigma: np.ndarray, mode: Literal["reflect", "nearest"] = "reflect"
) -> np.ndarray:
    """Blur with a Gaussian (`sigma` in voxels); the result lies in memory as the data do.

    Images from files have their first axis fastest. What mixes both orders takes ten times as long.
    """
    if first_is_fastest(data):
        return gaussian(data.T, sigma[::-1], mode).T
    return np.asarray(ndimage.gaussian_filter(data, sigma, mode=mode))
