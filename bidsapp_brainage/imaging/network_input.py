"""The grid that a model card describes, and a T1w image brought onto it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.intensity import outside_value, scale_intensity
from bidsapp_brainage.model.specs import Grid, InputSpec, needs_segmentation

from .distance import box_around
from .sourcegrid import from_source_grid
from .transforms import apply_xfm, blur_sigma, blurred_to, box_through

_SEARCH_MM = 4.0  # voxels in which the head is looked for
_BRIGHT = 0.15  # of bright tissue, above which a voxel shows something
_TOP_MM2 = 1500.0  # area of a slice that belongs to the head
_UPPER_MM = 100.0  # below the top: what the middle is computed from
_MIDDLE_MM = 80.0  # below the top: centre of the box


class Tissue(NamedTuple):
    """What the segmentation says of a brain, on its own grid in template space.

    ``units`` are fluid 0, grey matter 1, white matter 2 (float32), ``regions`` the segmentation's
    indices (int16), 0 outside the brain.
    """

    units: nib.Nifti1Image
    regions: nib.Nifti1Image


def card_grid(input_spec: Grid) -> nib.Nifti1Image:
    """Return an empty image with the shape and affine (voxel to template RAS mm) of a card."""
    empty = np.zeros(tuple(input_spec["shape"]), dtype=np.uint8)
    return nib.Nifti1Image(empty, np.array(input_spec["affine"], dtype=float))


def write_network_grid(path: Path, input_spec: InputSpec, template_mask: Path) -> Path:
    """Write an empty image on a card's grid, the reference for resampling; return its path.

    Where the network's box is centred on each brain, this one is centred on the template's.
    """
    grid = card_grid(input_spec)
    if input_spec.get("crop", "fixed") == "brain":
        mask = io.load_nifti(template_mask)
        voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
        middle = mask.affine @ np.append((voxels.min(axis=0) + voxels.max(axis=0)) / 2, 1.0)
        affine = grid.affine.copy()
        affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
        grid = nib.Nifti1Image(np.asarray(grid.dataobj), affine)
    io.save_nifti(grid, path)
    return path


def model_input(
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    affine: np.ndarray,
    input_spec: InputSpec,
    *,
    tissue: Tissue | None = None,
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Make exactly what a network sees: affine only, on the card's grid, scaled as it says.

    Finer images are first smoothed to the card's voxel size, so that scans of different resolution
    reach the network equally sharp. Cards of published networks instead name a source grid, on
    which their authors resampled and scaled images before cropping or coarsening them. Parameters
    and result are those of :func:`bidsapp_brainage.imaging.sourcegrid.from_source_grid`; outside
    the brain the volume holds the card's background, and its affine has shears where the card's
    registration is not the affine one.

    Where the card names a segmentation, the mask holds the index of the region of every voxel of
    the brain, from `tissue`; with the scaling ``segmentation`` the volume is its tissue units.
    """
    if needs_segmentation(input_spec):
        return _with_regions(t1w, mask, affine, input_spec, tissue)
    if "source_grid" in input_spec or input_spec.get("registration", "affine") != "affine":
        return from_source_grid(t1w, mask, affine, input_spec)
    grid = card_grid(input_spec)
    stripped = input_spec.get("skull_stripped", True)
    rim = 0 if stripped else None
    volume, mask_on_grid = _brain_on(grid, t1w, mask, affine, rim=rim)
    scaled = scale_intensity(
        volume,
        mask_on_grid if stripped else None,
        input_spec["intensity"],
        background=outside_value(input_spec),
    )
    return (
        nib.Nifti1Image(scaled.astype(np.float32), grid.affine),
        nib.Nifti1Image(mask_on_grid.astype(np.uint8), grid.affine),
    )


def brought_to(
    grid: nib.Nifti1Image,
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    affine: np.ndarray,
    *,
    rim: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Give a T1w (float32) and its brain mask (bool) on a grid in template space.

    Both are first smoothed to the voxels of the grid; `affine` (4 x 4) leads from template RAS mm
    to T1w RAS mm. With `rim` the T1w is only wanted so many voxels of the grid around the mask, and
    0 further away, which saves time.
    """
    voxel_mm = float(np.cbrt(abs(np.linalg.det(grid.affine[:3, :3]))))
    brain = np.asarray(mask.dataobj) > 0
    near = box_around(brain, _blur_margin(mask, voxel_mm))
    soft = _part(nib.Nifti1Image(brain.view(np.uint8), mask.affine), near)
    inside = np.asarray(apply_xfm(smoothed(soft, voxel_mm), grid, affine).dataobj) >= 0.5
    if rim is None:
        return np.asarray(apply_xfm(smoothed(t1w, voxel_mm), grid, affine).dataobj), inside
    wanted = box_around(inside, np.full(3, rim))
    through = np.linalg.inv(t1w.affine) @ affine @ grid.affine
    seen = box_through(wanted, through, t1w.shape, _blur_margin(t1w, voxel_mm))
    volume = np.zeros(grid.shape, dtype=np.float32, order="F")
    if all(side.stop > side.start for side in seen):
        near_brain = smoothed(_part(t1w, seen), voxel_mm)
        volume[wanted] = np.asarray(apply_xfm(near_brain, _part(grid, wanted), affine).dataobj)
    return volume, inside


def _part(img: nib.Nifti1Image, box: tuple[slice, ...]) -> nib.Nifti1Image:
    """Image of the voxels in a box."""
    affine = img.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(affine, [side.start for side in box])
    return nib.Nifti1Image(np.asarray(img.dataobj)[box], affine)


def _blur_margin(img: nib.Nifti1Image, voxel_mm: float) -> np.ndarray:
    """Voxels around those that are wanted which :func:`smoothed` and interpolation look at."""
    sigma = blur_sigma(np.linalg.norm(img.affine[:3, :3], axis=0), voxel_mm)
    return np.ceil(4 * sigma).astype(int) + 2


def _brain_on(
    grid: nib.Nifti1Image,
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    affine: np.ndarray,
    *,
    rim: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`brought_to`, with fluid where a brain mask is empty."""
    filled = _with_fluid(t1w, np.asarray(mask.dataobj) > 0)
    return brought_to(grid, filled, mask, affine, rim=rim)


def _with_regions(
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    affine: np.ndarray,
    input_spec: InputSpec,
    tissue: Tissue | None,
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """What a network sees, intensities or tissue units, with the regions of a segmentation."""
    if tissue is None:
        raise DataError(
            "This model sees what a segmentation finds, and there is none: run the app on the "
            "image itself."
        )
    grid = card_grid(input_spec)
    regions = tissue.regions
    if regions.shape != grid.shape or not np.allclose(regions.affine, grid.affine):
        regions = apply_xfm(regions, grid, np.eye(4), interpolation="nearest")
    labels = np.asarray(regions.dataobj).astype(np.int16)
    if not labels.any():
        raise DataError("The segmentation finds no brain in this image: is it a T1w of a head?")
    if input_spec["intensity"]["scaling"] == "segmentation":
        volume = np.asarray(apply_xfm(tissue.units, grid, np.eye(4)).dataobj)
        inside = labels > 0
    else:
        volume, inside = _brain_on(grid, t1w, mask, affine, rim=0)
    scaled = scale_intensity(
        volume, inside, input_spec["intensity"], background=outside_value(input_spec)
    )
    return nib.Nifti1Image(scaled, grid.affine), nib.Nifti1Image(labels, grid.affine)


def _with_fluid(t1w: nib.Nifti1Image, inside: np.ndarray) -> nib.Nifti1Image:
    """Give voxels of the mask that a skull-stripping tool emptied the intensity of fluid.

    Fluid is taken as the 5th percentile of the brain. Without it the network would see a rim
    that no whole head has.
    """
    box = box_around(inside, np.zeros(3, dtype=int))
    data = np.asarray(t1w.dataobj, dtype=np.float32)
    emptied = inside[box] & (data[box] == 0)
    shown = data[box].T[(inside[box] & ~emptied).T]  # as they lie in memory
    if not emptied.any() or shown.size == 0:
        return t1w
    data = data.copy(order="K")
    data[box][emptied] = np.percentile(shown, 5)
    return nib.Nifti1Image(data, t1w.affine)


def smoothed(img: nib.Nifti1Image, voxel_mm: float) -> nib.Nifti1Image:
    """Blur away detail finer than ``voxel_mm``."""
    zooms = np.linalg.norm(img.affine[:3, :3], axis=0)
    data = np.asarray(img.dataobj, dtype=np.float32)
    return nib.Nifti1Image(blurred_to(data, zooms, voxel_mm), img.affine)


def head_input(t1w: nib.Nifti1Image, input_spec: InputSpec) -> nib.Nifti1Image:
    """Make what a network without preprocessing sees: resampled, cropped and scaled.

    Nothing is registered, segmented or corrected. The axes of the box are those of the scanner;
    its centre is :func:`head_centre`.

    Parameters
    ----------
    t1w : nibabel.Nifti1Image
        From :func:`bidsapp_brainage.imaging.conform.conform_t1w`.
    input_spec : dict
        The card's ``input``: ``shape``, ``resolution_mm`` and ``intensity`` count.

    Returns
    -------
    nibabel.Nifti1Image
        Float32 on the network's grid; its affine leads to RAS mm of the T1w.

    Raises
    ------
    DataError
        The image shows nothing.
    """
    voxel_mm = float(input_spec["resolution_mm"])
    shape = np.array(input_spec["shape"])
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = head_centre(t1w) - voxel_mm * (shape - 1) / 2
    grid = nib.Nifti1Image(np.zeros(tuple(shape), dtype=np.uint8), affine)
    volume = np.asarray(apply_xfm(smoothed(t1w, voxel_mm), grid, np.eye(4)).dataobj)
    scaled = scale_intensity(volume, None, input_spec["intensity"])
    return nib.Nifti1Image(scaled, affine)


def head_centre(t1w: nib.Nifti1Image) -> np.ndarray:
    """Middle of a head (RAS mm, shape (3,)): its axis left to right and front to back, 80 mm down.

    The head is the largest bright object; its top is where its slices become larger than 15 cm2.
    Neck and chin do not move the result, and a brain without skull gets nearly the same one.

    Raises
    ------
    DataError
        The image shows nothing.
    """
    corners = nib.affines.apply_affine(
        t1w.affine, np.array(np.meshgrid(*[[0, n - 1] for n in t1w.shape])).reshape(3, -1).T
    )
    first, last = corners.min(axis=0), corners.max(axis=0)
    affine = np.diag([_SEARCH_MM, _SEARCH_MM, _SEARCH_MM, 1.0])
    affine[:3, 3] = first
    size = tuple(np.maximum(((last - first) // _SEARCH_MM + 1).astype(int), 2))
    search = nib.Nifti1Image(np.zeros(size, dtype=np.uint8), affine)
    volume = np.asarray(apply_xfm(smoothed(t1w, _SEARCH_MM), search, np.eye(4)).dataobj)
    if not (volume > 0).any():
        raise DataError("The image shows nothing: no head was found in it.")
    found, _ = ndimage.label(volume > _BRIGHT * np.percentile(volume[volume > 0], 95))
    head = found == 1 + np.argmax(np.bincount(found.ravel())[1:])
    wide = np.flatnonzero(head.sum(axis=(0, 1)) * _SEARCH_MM**2 >= _TOP_MM2)
    top = int(wide.max()) if wide.size else int(np.argwhere(head)[:, 2].max())
    lowest = max(0, top - round(_UPPER_MM / _SEARCH_MM))
    middle = np.argwhere(head[:, :, lowest : top + 1]).mean(axis=0)
    return np.array([*(first + _SEARCH_MM * middle)[:2], first[2] + _SEARCH_MM * top - _MIDDLE_MM])
