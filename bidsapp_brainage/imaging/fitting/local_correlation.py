"""The affine under which two images correlate best around every voxel of a mask.

The sum of squared local correlations (that of greedy, Yushkevich 2016, and of ANTs, Avants 2008)
with its exact slope, climbed by L-BFGS in coordinates in which a Gauss-Newton
step is a unit. Nothing is sampled at random and every sum has one order, so that the same images
give the same bytes with any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bidsapp_brainage.imaging.conversion import affine_to_sitk, grid_affine
from bidsapp_brainage.imaging.distance import box_around

WINDOW = 5  # voxels along each axis
# A change of this part of a voxel, at the edge of the brain, ends the search on a grid.
TOLERANCE = 0.02
MAX_STEPS = 40
RADIUS_MM = 60.0  # of a brain: scales and shears are measured by how far they move its edge
_FIRST_STEP = 1.5  # voxels
_FLAT = 1e-5  # variance of what counts as constant; tissues differ by some 0.1


def refined(
    fixed: sitk.Image,
    mask: sitk.Image,
    moving: sitk.Image,
    starts: Sequence[np.ndarray],
    voxel_mm: float,
) -> np.ndarray:
    """Refine affines on a coarse grid and return the best.

    Parameters
    ----------
    fixed, mask, moving : SimpleITK.Image
        Scalar images with values of about 0 to 1; the mask (0 or 1) is on the grid of `fixed`.
    starts : sequence of numpy.ndarray
        4 x 4 matrices, RAS mm of `fixed` to RAS mm of `moving`.
    voxel_mm : float
        Of the grid, a multiple of those of `fixed`.

    Returns
    -------
    numpy.ndarray
        4 x 4, as the starts.
    """
    metric = LocalCorrelation(*(_binned(image, voxel_mm) for image in (fixed, mask, moving)))
    return max((_climbed(metric, start) for start in starts), key=lambda fit: fit[1])[0]


def _binned(image: sitk.Image, voxel_mm: float) -> sitk.Image:
    """Average whole voxels into larger ones, of at most so many mm."""
    factors = [max(1, int(voxel_mm / zoom + 1e-3)) for zoom in image.GetSpacing()]
    return sitk.BinShrink(image, factors) if max(factors) > 1 else image


def cut_to(mask: sitk.Image, image: sitk.Image, margin: int) -> sitk.Image:
    """The part of an image on a mask's grid that holds the mask, and a margin (voxels)."""
    inside = sitk.GetArrayViewFromImage(mask).T > 0.5
    box = box_around(inside, np.full(3, margin))
    return image[tuple(slice(axis.start, axis.stop) for axis in box)]


class LocalCorrelation:
    """Mean squared correlation (negative ones count against it) within windows in a mask."""

    def __init__(self, fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image) -> None:
        self.grid, inside = (cut_to(mask, image, WINDOW) for image in (fixed, mask))
        self.moving = moving
        self.mask = (sitk.GetArrayViewFromImage(inside) > 0.5).astype(np.float32)
        self.fixed = sitk.GetArrayFromImage(self.grid)
        self.fixed /= self.fixed[self.mask > 0].mean()
        self.fixed_mean = _windowed(self.fixed)
        self.fixed_variance = _windowed(self.fixed**2) - self.fixed_mean**2 + _FLAT
        self.near = ndimage.maximum_filter(self.mask, WINDOW) > 0
        to_world = grid_affine(self.grid)
        self.to_voxels = np.linalg.inv(to_world[:3, :3])
        self.voxel_mm = float(np.min(self.grid.GetSpacing()))
        points = nib.affines.apply_affine(to_world, np.argwhere(self.near)[:, ::-1])
        self.center = points.mean(axis=0)
        scaled = (points - self.center).T / RADIUS_MM
        self.points = np.vstack([scaled, np.ones(len(points))]).astype(np.float32)

    def affine(self, start: np.ndarray, change: np.ndarray) -> np.ndarray:
        """An affine after a change of its 12 parameters: mm at the radius of a brain."""
        return start @ self._moved_by(change)

    def _moved_by(self, change: np.ndarray) -> np.ndarray:
        linear, shift = np.split(change.reshape(3, 4), [3], axis=1)
        matrix = np.eye(4)
        matrix[:3, :3] += linear / RADIUS_MM
        matrix[:3, 3] = shift[:, 0] - linear @ self.center / RADIUS_MM
        return matrix

    def slope(
        self, start: np.ndarray, change: np.ndarray, *, curved: bool = False
    ) -> tuple[float, np.ndarray, np.ndarray | None]:
        """The metric, its slope (12), and if `curved` its Gauss-Newton curvature (12 x 12)."""
        out = sitk.Resample(
            self.moving, self.grid, affine_to_sitk(self.affine(start, change)), sitk.sitkLinear, 0.0
        )
        image = sitk.GetArrayFromImage(out)
        mean = _windowed(image)
        variance = _windowed(image**2) - mean**2 + _FLAT
        scale = 1 / np.sqrt(self.fixed_variance * variance)
        r = (_windowed(self.fixed * image) - self.fixed_mean * mean) * scale
        n = float(self.mask.sum(dtype=np.float64))
        value = float((r * np.abs(r) * self.mask).sum(dtype=np.float64)) / n

        # Derivative by every voxel of the image: it is part of the windows of all its neighbours.
        weight = 2 * np.abs(r) * self.mask
        own, other = weight * r / variance, weight * scale
        pull = self.fixed * _windowed(other) - _windowed(other * self.fixed_mean)
        pull += _windowed(own * mean) - image * _windowed(own)
        pull = pull[self.near] / n
        edges = np.stack([axis[self.near] for axis in np.gradient(image)[::-1]])
        back = np.linalg.inv(self._moved_by(change)[:3, :3])
        edges = np.einsum("ij,in->jn", (self.to_voxels @ back).astype(np.float32), edges)
        slope = _sums(pull * edges, self.points).ravel()
        if not curved:
            return value, slope, None
        stiff = _windowed(weight / variance)[self.near] / n
        return value, slope, self._curvature(stiff, edges)

    def _curvature(self, stiff: np.ndarray, edges: np.ndarray) -> np.ndarray:
        blocks = np.empty((3, 4, 3, 4))
        for i, j in zip(*np.triu_indices(3), strict=True):
            weighted = stiff * edges[i] * edges[j]
            blocks[i, :, j] = blocks[j, :, i] = _sums(weighted * self.points, self.points)
        return blocks.reshape(12, 12)


def _windowed(values: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(values, WINDOW, mode="nearest"))


def _sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of all rows of two arrays; not by BLAS, whose sums depend on its threads."""
    return np.array([[(one * two).sum(dtype=np.float64) for two in b] for one in a])


def _climbed(metric: LocalCorrelation, start: np.ndarray) -> tuple[np.ndarray, float]:
    """The affine at the top, and the metric there."""
    from scipy import optimize

    minimize: Callable[..., Any] = optimize.minimize
    value, slope, curvature = metric.slope(start, np.zeros(12), curved=True)
    if curvature is None or not np.trace(curvature) > 0:  # nothing of the image is here
        return start, value
    root = np.linalg.cholesky(curvature + np.eye(12) * 1e-6 * np.trace(curvature) / 12)
    newton = np.linalg.solve(root, slope)
    # L-BFGS begins with a step of length 1. Twice Gauss and Newton's is nearer to the top, because
    # brains of two people never correlate fully.
    units = np.linalg.inv(root).T * 2 * np.linalg.norm(newton)
    first = _reach(units @ newton / np.linalg.norm(newton))
    units *= min(1.0, _FIRST_STEP * metric.voxel_mm / first)
    before = [np.zeros(12)]

    def fallen(x: np.ndarray) -> tuple[float, np.ndarray]:
        if not x.any():
            return -value, -units.T @ slope
        here, down, _ = metric.slope(start, units @ x)
        return -here, -units.T @ down

    def small(x: np.ndarray) -> None:
        step, before[0] = _reach(units @ (x - before[0])), x.copy()
        if step < TOLERANCE * metric.voxel_mm:
            raise StopIteration

    top = minimize(
        fallen,
        np.zeros(12),
        jac=True,
        method="L-BFGS-B",
        callback=small,
        options={"maxiter": MAX_STEPS, "maxls": 6, "ftol": 1e-7, "gtol": 1e-9, "maxcor": 12},
    )
    return metric.affine(start, units @ top.x), -float(top.fun)


def _reach(change: np.ndarray) -> float:
    """How far (mm) a change moves the edge of a brain, at most."""
    return float(np.abs(change.reshape(3, 4)).sum(axis=1).max())
