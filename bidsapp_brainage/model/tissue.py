"""Intensities in units of tissue, so that scanners and contrasts look alike to a network.

Fluid becomes 0, grey matter 1, white matter 2, with straight lines between. As the background is
0 too, it matters little where a brain mask ends within fluid, or whether a skull-stripping tool
emptied the fluid before. White and grey matter are each made equally bright everywhere, which
removes what bias correction left of the inhomogeneity of the scanner's field.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.specs import Ellipsoid

Levels: TypeAlias = tuple[float, float, float]

ROUNDS = 2  # of making white and grey matter equally bright everywhere
FLUID_PERCENTILE = 0.3  # of the middle of the brain: the ventricles' fluid
WHITE = (1.5, 2.5)  # tissue units that are taken for white matter
GREY = (0.6, 1.4)  # ... and for grey matter
WINDOW_VOXELS = 19  # of the mean, taken twice, with which tissue speaks for its surroundings
PRIOR = 0.003  # weight of "as bright as everywhere" where there is none of a tissue
_BINS = 256
_STEPS = 60
_START_PERCENTILES = (8.0, 45.0, 85.0)
MIDDLE = 0.88  # of the ellipsoid's radii


def tissue_units(volume: np.ndarray, inside: np.ndarray, ellipsoid: Ellipsoid) -> np.ndarray:
    """Bring a T1w brain (D, H, W) to fluid 0, grey matter 1, white matter 2 inside its mask.

    Intensities are in any unit, white matter brighter than grey, grey brighter than fluid. Levels
    are read in the ellipsoid (voxels), a part of the brain that does not reach the mask's edge, so
    that they do not depend on the mask: those of grey and white matter are the means of the upper
    two of three Gaussians fitted by expectation maximisation (Dempster 1977). The result is
    float32.

    Raises
    ------
    DataError
        The three levels cannot be told apart.
    """
    where = [inside & _within(volume.shape, ellipsoid, part) for part in (1.0, MIDDLE)]
    if not where[1].any():
        raise DataError("The brain mask is empty on the model's grid: registration has failed.")
    values = np.asarray(volume, dtype=np.float32)
    units = _in_units(values, _levels(values, *where))
    for _ in range(ROUNDS):
        white = _local_level(units, inside, WHITE, 2.0)
        units = units * (2.0 / white)
        grey = _local_level(units, inside, GREY, 1.0)
        units = np.where(units < grey, units / grey, 1 + (units - grey) / (2.0 - grey))
    return units


def _local_level(
    units: np.ndarray, inside: np.ndarray, bounds: tuple[float, float], usual: float
) -> np.ndarray:
    """Mean of a tissue around every voxel; ``usual`` where there is none of it."""
    tissue = (inside & (units > bounds[0]) & (units < bounds[1])).astype(np.float32)
    return (_around(tissue * units) + usual * PRIOR) / (_around(tissue) + PRIOR)


def three_levels(values: np.ndarray) -> np.ndarray:
    """Means of three Gaussians fitted to a sample, rising, shape (3,)."""
    low, high = np.percentile(values, (0.2, 99.8))
    if not high > low:
        raise DataError("The brain has the same intensity everywhere: it cannot be scaled.")
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    x, share = (edges[1:] + edges[:-1]) / 2, counts / counts.sum()
    mean = np.percentile(values, _START_PERCENTILES)
    sd, weight = np.full(3, (high - low) / 10), np.array([0.2, 0.45, 0.35])
    for _ in range(_STEPS):
        density = weight * np.exp(-0.5 * ((x[:, None] - mean) / sd) ** 2) / sd
        part = density / (density.sum(axis=1, keepdims=True) + 1e-30) * share[:, None]
        weight = part.sum(axis=0) + 1e-9
        mean = (part * x[:, None]).sum(axis=0) / weight
        variance = (part * (x[:, None] - mean) ** 2).sum(axis=0) / weight
        sd = np.maximum(np.sqrt(variance), 0.02 * (high - low))
    return np.sort(mean)


def _around(values: np.ndarray) -> np.ndarray:
    """Mean over a wide neighbourhood with soft ends; 0 beyond the volume."""
    once = ndimage.uniform_filter(values, WINDOW_VOXELS, mode="constant")
    return np.asarray(ndimage.uniform_filter(once, WINDOW_VOXELS, mode="constant"))


def _levels(values: np.ndarray, brain: np.ndarray, middle: np.ndarray) -> Levels:
    """Intensities of fluid, grey and white matter."""
    _, grey, white = (float(level) for level in three_levels(values[brain]))
    fluid = float(np.percentile(values[middle], FLUID_PERCENTILE))
    if not fluid < grey < white:
        raise DataError(
            "Fluid, grey and white matter cannot be told apart: the image is no T1w of a brain, "
            "or registration has failed."
        )
    return fluid, grey, white


def _in_units(values: np.ndarray, levels: Levels) -> np.ndarray:
    """Straight lines through fluid (0), grey (1) and white matter (2), going on at both ends."""
    fluid, grey, white = levels
    below = 1 + (values - grey) * (1 / (grey - fluid))
    above = 1 + (values - grey) * (1 / (white - grey))
    return np.where(values < grey, below, above).astype(np.float32)


def _within(shape: tuple[int, ...], ellipsoid: Ellipsoid, part: float) -> np.ndarray:
    total = np.zeros(shape)
    for axis, (center, radius) in enumerate(
        zip(ellipsoid["center"], ellipsoid["radii"], strict=True)
    ):
        place = (np.arange(shape[axis]) - center) / (part * radius)
        total = total + np.expand_dims(place**2, [other for other in range(3) if other != axis])
    return np.asarray(total < 1)
