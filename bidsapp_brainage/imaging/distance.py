"""Distances in millimetres between voxels and a mask."""

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


def within(mask: np.ndarray, zooms: np.ndarray, mm: float) -> np.ndarray:
    """Return the voxels no further than `mm` from a mask, bool."""
    if mm == 0:
        return mask
    box = box_around(mask, np.ceil(mm / zooms).astype(int))
    near = np.zeros(mask.shape, dtype=bool)
    near[box] = distance_to(mask[box], zooms) <= mm
    return near


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
