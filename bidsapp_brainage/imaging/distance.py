"""Masks: distances from them in millimetres, grown, without holes."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage


def distance_to(mask: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Return how far every voxel lies from the nearest one of a mask (Maurer 2003, exact).

    It takes half the time of ``scipy.ndimage.distance_transform_edt``.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    zooms : ndarray, shape (3,)
        Voxel sizes in mm.

    Returns
    -------
    distance : ndarray of float32, shape (X, Y, Z)
        In mm, 0 in the mask; infinite where the mask is empty.
    """
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    image.SetSpacing([float(zoom) for zoom in zooms[::-1]])
    measure = sitk.SignedMaurerDistanceMapImageFilter()
    measure.SetNumberOfThreads(1)
    measure.SetSquaredDistance(False)
    measure.SetUseImageSpacing(True)
    signed = sitk.GetArrayFromImage(measure.Execute(image))
    return np.asarray(np.maximum(signed, 0, out=signed))


def near_to(mask: np.ndarray, zooms: np.ndarray, reach: float) -> np.ndarray:
    """Return how far voxels are from the nearest one of a mask, up to a distance.

    The squared distance is a minimum along one axis after the other (Felzenszwalb 2012, Theory of
    Computing 8:415), here over the few voxels within reach, slice by slice, so that all stays in
    the processor's cache: up to 6 mm in voxels of 1 mm in a fifth of the time of
    :func:`distance_to`.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    zooms : ndarray, shape (3,)
        Voxel sizes in mm.
    reach : float
        Largest distance that is wanted, in mm.

    Returns
    -------
    distance : ndarray of float32, shape (X, Y, Z)
        In mm, 0 in the mask; infinite beyond reach.
    """
    if first_is_fastest(mask):
        return near_to(mask.T, zooms[::-1], reach).T
    steps = [
        (zoom * np.arange(1, int(reach / zoom + 1e-6) + 1, dtype=np.float32)) ** 2
        for zoom in np.asarray(zooms, dtype=np.float32)
    ]
    beyond = np.float32(2 * reach**2 + 1)
    squared = np.empty(mask.shape, dtype=np.float32)
    for one, inside in zip(squared, mask, strict=True):
        one[:] = _nearest(
            _nearest(np.where(inside, np.float32(0), beyond), 0, steps[1]), 1, steps[2]
        )
    nearest = squared.copy()
    for number, one in enumerate(nearest):
        for step, more in enumerate(steps[0], start=1):
            for other in (number - step, number + step):
                if 0 <= other < len(squared):
                    np.minimum(one, squared[other] + more, out=one)
    nearest[nearest > np.float32(reach) ** 2] = np.inf
    return np.sqrt(nearest, out=nearest)


def _nearest(squared: np.ndarray, axis: int, steps: np.ndarray) -> np.ndarray:
    """Minimum of squared distances of a slice and of those so many steps away along an axis."""
    nearest = squared.copy()
    source, target = np.moveaxis(squared, axis, 0), np.moveaxis(nearest, axis, 0)
    for step, more in enumerate(steps, start=1):
        moved = source + more
        np.minimum(target[step:], moved[:-step], out=target[step:])
        np.minimum(target[:-step], moved[step:], out=target[:-step])
    return nearest


def within(mask: np.ndarray, zooms: np.ndarray, mm: float) -> np.ndarray:
    """Return the voxels no further than `mm` from a mask, bool."""
    if mm == 0:
        return mask
    box = box_around(mask, np.ceil(mm / zooms).astype(int))
    near = np.zeros_like(mask, dtype=bool)
    near[box] = near_to(mask[box], zooms, mm) <= mm
    return near


def grown(mask: np.ndarray, steps: int) -> np.ndarray:
    """Return a mask with its neighbours across faces, so many times.

    It is a tenth of the time of ``scipy.ndimage.binary_dilation``.
    """
    for _ in range(steps):
        before, mask = mask, mask.copy(order="K")
        for axis in range(mask.ndim):
            source, target = np.moveaxis(before, axis, 0), np.moveaxis(mask, axis, 0)
            target[1:] |= source[:-1]
            target[:-1] |= source[1:]
    return mask


def filled(mask: np.ndarray) -> np.ndarray:
    """Return a mask with what it encloses, bool.

    As ``scipy.ndimage.binary_fill_holes`` in a quarter of its time: what is not in the mask and not
    connected, across faces, with a side of the image.
    """
    if first_is_fastest(mask):
        return filled(mask.T).T
    outside, _ = ndimage.label(~mask)
    open_air = np.zeros(outside.max() + 1, dtype=bool)
    for axis in range(outside.ndim):
        sides = np.moveaxis(outside, axis, 0)
        open_air[np.unique(sides[[0, -1]])] = True
    open_air[0] = False  # the mask
    return np.asarray(~open_air[outside])


def first_is_fastest(data: np.ndarray) -> bool:
    """Whether neighbours along the first axis are neighbours in memory, as in images from files."""
    return data.strides[0] < data.strides[-1]


def box_around(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...]:
    """Return the slices that hold a mask and a margin (voxels); everything if it is empty."""
    box = []
    for axis, (size, more) in enumerate(zip(mask.shape, margin, strict=True)):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        there = np.flatnonzero(mask.any(axis=others))
        if not there.size:
            return tuple(slice(0, n) for n in mask.shape)
        box.append(slice(max(0, int(there[0] - more)), min(size, int(there[-1] + 1 + more))))
    return tuple(box)


def edge_offset(mask: np.ndarray, reference: np.ndarray, zooms: np.ndarray) -> float:
    """Return how far the edge of a mask lies outside (+) or inside (-) of another one's, in mm.

    It is a mean over the edge: parts outside and parts inside cancel each other.

    Parameters
    ----------
    mask, reference : ndarray of bool, shape (X, Y, Z)
        Not empty.
    zooms : ndarray, shape (3,)
        Voxel sizes in mm.
    """
    half = float(np.mean(zooms)) / 2.0  # distances to voxels, not to the edge between them
    outside, inside = distance_to(reference, zooms), distance_to(~reference, zooms)
    signed = np.where(reference, half - inside, outside - half)
    edge, own = (signed[one & ~ndimage.binary_erosion(one)].mean() for one in (mask, reference))
    return float(edge - own)
