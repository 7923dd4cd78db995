"""Network inputs made the way authors of published networks made them: in two steps."""

from __future__ import annotations

from typing import Literal

import nibabel as nib
import numpy as np
from nibabel import orientations
from scipy import linalg, ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.intensity import outside_value, scale_intensity
from bidsapp_brainage.model.specs import InputSpec

from .transforms import apply_xfm

_EMPTY_SLICE = 50.0  # a slice whose values sum to less holds no brain (Yin 2023)
_Order = Literal[1, 3]
_ORDERS: dict[str, _Order] = {"linear": 1, "cubic": 3}


def from_source_grid(
    t1w: nib.Nifti1Image, mask: nib.Nifti1Image, affine: np.ndarray, input_spec: InputSpec
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Resample to the source grid, scale there or later, and cut out what the network sees.

    Parameters
    ----------
    t1w, mask : nibabel.Nifti1Image
        Bias-corrected T1w and brain mask on one grid.
    affine : numpy.ndarray
        4 x 4, template RAS mm to T1w RAS mm.
    input_spec : dict
        The card's ``input``. ``registration`` is ``affine``, ``rigid`` (only the rotation and the
        shift of the affine, so that size is kept) or ``native`` (none). ``source_grid`` is the
        first grid; without it the card's own is the first and last. ``crop: brain`` centres the
        network's box on the brain, else the card's ``affine`` says where it lies.

    Returns
    -------
    volume, mask : nibabel.Nifti1Image
        Float32 and uint8 on the network's grid; their affine leads to template RAS mm.

    Raises
    ------
    DataError
        The brain lies outside the network's grid.
    """
    to_t1w = _to_t1w(affine, mask, input_spec.get("registration", "affine"))
    source = _source_grid(t1w, input_spec)
    inside = np.asarray(mask.dataobj) > 0
    data = np.asarray(t1w.dataobj, dtype=np.float32)
    if input_spec.get("skull_stripped", True):
        data = np.where(inside, data, 0.0).astype(np.float32)
    image = np.asarray(apply_xfm(nib.Nifti1Image(data, t1w.affine), source, to_t1w).dataobj)
    soft = nib.Nifti1Image(inside.astype(np.float32), mask.affine)
    brain = np.asarray(apply_xfm(soft, source, to_t1w).dataobj)
    intensity = input_spec["intensity"]
    if intensity.get("at") == "source":
        image = scale_intensity(image, _scaling_mask(brain, input_spec), intensity)
    order = _ORDERS[input_spec.get("source_grid", {}).get("interpolation", "linear")]
    if input_spec.get("crop", "fixed") == "brain":
        grid, volume = _box_on_brain(image, source.affine, input_spec, order)
    else:
        grid = _empty(tuple(input_spec["shape"]), np.array(input_spec["affine"], dtype=float))
        volume = _resampled(image, source.affine, grid, order)
    on_grid = _resampled(brain, source.affine, grid, 1) >= 0.5
    if not on_grid.any():
        raise DataError("The brain lies outside the model's grid: registration has failed.")
    if intensity.get("at") != "source":
        volume = scale_intensity(
            volume,
            _scaling_mask(on_grid, input_spec),
            intensity,
            background=outside_value(input_spec),
        )
    # The network's grid lies in the registered brain; images are labelled in the template.
    in_template = np.linalg.inv(affine) @ to_t1w @ grid.affine
    return (
        nib.Nifti1Image(volume.astype(np.float32), in_template),
        nib.Nifti1Image(on_grid.astype(np.uint8), in_template),
    )


def rigid_part(affine: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Rotation and shift (4 x 4) of an affine that map the point `centre` (mm) as the affine does.

    The rotation is that of the polar decomposition, the nearest one to the affine.
    """
    rotation, _ = linalg.polar(affine[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = affine[:3, :3] @ centre + affine[:3, 3] - rotation @ centre
    return rigid


def _to_t1w(affine: np.ndarray, mask: nib.Nifti1Image, registration: str) -> np.ndarray:
    """Transform from the space of the source grid to the T1w, 4 x 4 in RAS mm."""
    if registration == "affine":
        return affine
    if registration == "native":
        return np.eye(4)
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0).mean(axis=0)
    centre = np.linalg.inv(affine) @ mask.affine @ np.append(voxels, 1.0)
    return rigid_part(affine, centre[:3])


def _source_grid(t1w: nib.Nifti1Image, input_spec: InputSpec) -> nib.Nifti1Image:
    """Empty image on the first grid."""
    stated = input_spec.get("source_grid", input_spec)
    shape = tuple(stated["shape"])
    if input_spec.get("registration", "affine") != "native":
        affine = np.array(stated["affine"], dtype=np.float64)
    else:  # as FreeSurfer conforms: same centre as the image, axes along the scanner's
        affine = _centred(shape, float(stated["resolution_mm"]), input_spec["orientation"], t1w)
    return _empty(shape, affine)


def _centred(
    shape: tuple[int, ...], voxel_mm: float, codes: str, image: nib.Nifti1Image
) -> np.ndarray:
    affine = np.eye(4)
    codes_of = orientations.axcodes2ornt(tuple(codes))
    affine[:3, :3] = 0.0
    for column, (axis, sign) in enumerate(codes_of):
        affine[int(axis), column] = sign * voxel_mm
    middle = image.affine @ np.append((np.array(image.shape[:3]) - 1) / 2, 1.0)
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _box_on_brain(
    image: np.ndarray, source_affine: np.ndarray, input_spec: InputSpec, order: _Order
) -> tuple[nib.Nifti1Image, np.ndarray]:
    """Grid and values of the network's box about the brain, in the space of the source grid."""
    shape = tuple(int(size) for size in input_spec["shape"])
    # A coarser copy of the whole source grid that shares its first voxel, then a cut.
    steps = np.linalg.norm(np.array(input_spec["affine"], dtype=float)[:3, :3], axis=0)
    fine = np.linalg.norm(source_affine[:3, :3], axis=0)
    whole = np.floor((np.array(image.shape) - 1) * fine / steps + 1e-6).astype(int) + 1
    affine = source_affine.copy()
    affine[:3, :3] *= steps / fine
    coarse = _resampled(image, source_affine, _empty(tuple(whole), affine), order)
    first = _box_start(coarse, shape)
    affine[:3, 3] += affine[:3, :3] @ first
    return _empty(shape, affine), _cut(coarse, first, shape)


def _empty(shape: tuple[int, ...], affine: np.ndarray) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.zeros(shape, dtype=np.uint8), affine)


def _box_start(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """First voxel of a box of this shape about the middle of the brain."""
    start = []
    limit = _EMPTY_SLICE * float(volume.max()) / 255.0  # the limit was set for 8-bit images
    for axis, size in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(volume.sum(axis=others) > limit)
        if filled.size == 0:
            raise DataError("The image is empty on the model's grid: registration has failed.")
        start.append((filled[0] + filled[-1]) // 2 - size // 2)
    return np.array(start)


def _resampled(
    data: np.ndarray, affine: np.ndarray, grid: nib.Nifti1Image, order: _Order
) -> np.ndarray:
    """Values at the voxels of a grid; 0 outside the data."""
    matrix = np.linalg.inv(affine) @ grid.affine
    shape = grid.shape
    offset = np.round(matrix[:3, 3]).astype(int)
    if np.allclose(matrix[:3, :3], np.eye(3), atol=1e-6) and np.allclose(
        matrix[:3, 3], offset, atol=1e-4
    ):
        return _cut(data, offset, shape)
    volume: np.ndarray = ndimage.affine_transform(
        data.astype(np.float32), matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=order
    )
    # Cubic splines overshoot; images of brains do not go below their background.
    return np.clip(volume, data.min(), data.max())


def _cut(data: np.ndarray, first: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Box of a volume without interpolation; 0 where it reaches out of the volume."""
    box = np.zeros(shape, dtype=data.dtype)
    lower, upper = np.maximum(first, 0), np.minimum(first + np.array(shape), data.shape)
    if (upper <= lower).any():
        return box
    target = tuple(slice(a, b) for a, b in zip(lower - first, upper - first, strict=True))
    box[target] = data[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))]
    return box


def _scaling_mask(brain: np.ndarray, input_spec: InputSpec) -> np.ndarray | None:
    """Voxels that the scaling looks at and keeps; None: all, with the brain's soft edge."""
    whole = input_spec["intensity"].get("over") == "volume"
    return None if whole or not input_spec.get("skull_stripped", True) else brain >= 0.5
