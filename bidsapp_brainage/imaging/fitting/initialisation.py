"""Where is the head, and which way does it look: an exhaustive, deterministic first guess.

Gradient descent from the header's pose fails for heads that are tilted by 40 degrees, whose axes
were swapped by a converter, or that sit at the edge of a long field of view. Here every candidate
rotation is tried, and for each the best translation is found exactly by masked normalised
cross-correlation in the Fourier domain (Padfield 2012, IEEE TIP 21:2706).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import fft, ndimage

GRID_MM = 8.0
# Brains measure 0.8 to 1 of the MNI template along each axis.
SCALES = (0.93, 0.83)
# Rotations that fit best at a size in between are tried at both.
MIDDLE_SCALE, N_ROTATIONS = 0.88, 8
TILTS_DEG = (-40.0, -20.0, 0.0, 20.0, 40.0)
# Heads in a right pose correlate by 0.66 to 0.83, those with swapped axes by at most 0.63 in every
# tilt: from here on no swaps are tried.
RIGHT_POSE = 0.68
# A swapped or flipped axis must fit clearly better than the header's own pose to be believed.
HEADER_PREFERENCE = 0.05


@dataclass(frozen=True)
class Pose:
    """A first guess, from template RAS mm to T1w RAS mm, and its correlation."""

    matrix: np.ndarray
    score: float


def best_poses(
    t1w: nib.Nifti1Image, template: nib.Nifti1Image, mask: nib.Nifti1Image, *, n: int = 3
) -> list[Pose]:
    """Return the ``n`` best poses of the template in a T1w image (RAS), best first.

    Correlations are computed at 8 mm inside `mask`: the template's brain, on the template's grid,
    and a rim around it. The dark shell of fluid and bone is what sets a brain apart from neck and
    face.
    """
    search = _TranslationSearch(*_coarse(t1w), _kernel(template, mask))
    best = sorted(_scored(search), key=lambda turn: -turn[2])[:N_ROTATIONS]
    poses = [search.pose(turn, bonus, scale) for scale in SCALES for turn, bonus, _ in best]
    return sorted(poses, key=lambda pose: -pose.score)[:n]


def _scored(search: _TranslationSearch) -> list[tuple[np.ndarray, float, float]]:
    """Rotations, their preferences and scores: only tilts where one of them is surely right."""
    scored: list[tuple[np.ndarray, float, float]] = []
    for rotation, bonus in candidate_rotations():
        if not bonus and max(score for *_, score in scored) >= RIGHT_POSE + HEADER_PREFERENCE:
            break
        scored.append((rotation, bonus, search.pose(rotation, bonus, MIDDLE_SCALE).score))
    return scored


def candidate_rotations() -> Iterator[tuple[np.ndarray, float]]:
    """Yield proper rotations to try, each with its preference added to the correlation.

    First tilts about the header's own pose, then the other 23 axis permutations with nods.
    """
    for angles in itertools.product(TILTS_DEG, repeat=3):
        if np.count_nonzero(angles) <= 2:
            yield rotation_matrix(*angles), HEADER_PREFERENCE
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            cube = np.zeros((3, 3))
            cube[range(3), permutation] = signs
            if np.linalg.det(cube) > 0 and not np.allclose(cube, np.eye(3)):
                for nod in (-30.0, 0.0, 30.0):
                    yield cube @ rotation_matrix(nod, 0.0, 0.0), 0.0


def rotation_matrix(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    """Return the 3 x 3 rotation about x, then y, then z (degrees)."""
    cx, cy, cz = np.cos(np.deg2rad([x_deg, y_deg, z_deg]))
    sx, sy, sz = np.sin(np.deg2rad([x_deg, y_deg, z_deg]))
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def _coarse(img: nib.Nifti1Image) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels averaged to about 8 mm and the affine of that axis-aligned grid."""
    zooms = np.linalg.norm(img.affine[:3, :3], axis=0)
    shape = np.ceil(np.array(img.shape) * zooms / GRID_MM).astype(int)
    data = ndimage.gaussian_filter(
        np.asarray(img.dataobj, dtype=np.float32), 0.4 * GRID_MM / zooms, mode="constant"
    )
    scale = GRID_MM / zooms
    out = ndimage.affine_transform(data, np.diag(scale), output_shape=tuple(shape), order=1)
    return out, img.affine @ np.diag([*scale, 1.0])


@dataclass(frozen=True)
class _Kernel:
    """Template and metric mask at 8 mm, with the middle of the mask and its extent."""

    brain: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    center: np.ndarray
    side: int


def _kernel(template: nib.Nifti1Image, mask: nib.Nifti1Image) -> _Kernel:
    brain, affine = _coarse(template)
    inside, _ = _coarse(mask)
    where = np.argwhere(inside > 0.5)
    middle = where.mean(axis=0)
    center = nib.affines.apply_affine(affine, middle)
    # holds the mask however it is turned
    side = int(np.ceil(2 * np.linalg.norm(where - middle, axis=1).max())) + 3
    return _Kernel(brain, inside, affine, np.asarray(center), side)


class _TranslationSearch:
    """Masked normalised cross-correlation of one image with many rotated templates."""

    def __init__(self, moving: np.ndarray, affine: np.ndarray, kernel: _Kernel) -> None:
        # Saturate bright fat and vessels: they would dominate the correlation.
        high = np.percentile(moving[moving > 0.05 * moving.max()], 95)
        clipped = np.minimum(moving, high) / high
        self.kernel = kernel
        self.affine = affine
        self.shape = moving.shape
        # The brain's middle lies in the image: half a kernel beyond it is enough.
        self.padded = [
            int(fft.next_fast_len(n + kernel.side // 2 + 1, real=True)) for n in moving.shape
        ]
        self.spectrum = fft.rfftn(clipped, self.padded)
        self.spectrum_squared = fft.rfftn(clipped**2, self.padded)

    def pose(self, rotation: np.ndarray, bonus: float, scale: float) -> Pose:
        """Return the best translation for one rotation and size (template mm to T1w mm)."""
        kernel = self.kernel
        # Kernel grid: parallel to the moving grid, its middle voxel at the template's centre.
        middle = (kernel.side - 1) / 2.0
        to_template = np.eye(4)
        to_template[:3, :3] = rotation.T @ self.affine[:3, :3] / scale
        to_template[:3, 3] = kernel.center - to_template[:3, :3] @ np.full(3, middle)
        voxel = np.linalg.inv(kernel.affine) @ to_template
        weight = _sample(kernel.mask, voxel, kernel.side) > 0.5
        values = np.where(weight, _sample(kernel.brain, voxel, kernel.side), 0.0)
        shift, score = self._correlate(values, weight.astype(np.float32))
        matrix = np.eye(4)
        matrix[:3, :3] = scale * rotation
        target = nib.affines.apply_affine(self.affine, shift + middle)
        matrix[:3, 3] = target - matrix[:3, :3] @ kernel.center
        return Pose(matrix=matrix, score=score + bonus)

    def _correlate(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
        n = float(weight.sum())
        centred = np.where(weight > 0, values - values.sum() / n, 0.0)
        kernel = np.conj(fft.rfftn(weight, self.padded))
        cross = fft.irfftn(self.spectrum * np.conj(fft.rfftn(centred, self.padded)), self.padded)
        total = fft.irfftn(self.spectrum * kernel, self.padded)
        squares = fft.irfftn(self.spectrum_squared * kernel, self.padded)
        variance = squares - total**2 / n
        floor = 1e-3 * float(squares.max()) + 1e-6
        score = cross / np.sqrt(np.maximum(variance, floor) * float((centred**2).sum()))
        # Shifts of the kernel's first voxel that put its middle into the image (negative ones lie
        # at the end); others would see both sides of the image at once.
        half = self.kernel.side // 2
        shifts = [np.arange(-half, n - half) for n in self.shape]
        valid = score[np.ix_(*shifts)]
        best = np.unravel_index(int(np.argmax(valid)), valid.shape)
        shift = [each[place] for each, place in zip(shifts, best, strict=True)]
        return np.array(shift, dtype=float), float(valid[best])


def _sample(data: np.ndarray, voxel: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(
        ndimage.affine_transform(
            data, voxel[:3, :3], offset=voxel[:3, 3], output_shape=(side,) * 3, order=1
        )
    )
