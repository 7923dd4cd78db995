"""Blurring before an image is sampled on a coarser grid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Standard deviation of a Gaussian whose full width at half maximum is 1.
SIGMA_PER_FWHM = 0.425


def blurred_to(data: np.ndarray, zooms: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Blur away detail finer than ``voxel_mm``, so that sampling there does not alias.

    Parameters
    ----------
    data : numpy.ndarray
        Image, any float dtype, kept.
    zooms : numpy.ndarray
        Voxel size along each axis of `data`, mm; axes coarser than `voxel_mm` are left as they
        are.
    voxel_mm : float
        Voxel size of the grid that will be sampled.
    """
    sigma = SIGMA_PER_FWHM * np.sqrt(np.maximum(voxel_mm**2 - zooms**2, 0.0)) / zooms
    return np.asarray(ndimage.gaussian_filter(data, sigma, mode="nearest")) if sigma.any() else data
