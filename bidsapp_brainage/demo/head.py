"""A head in template space: the bundled brain, and a made-up skull, scalp, face and neck.

Everything is deterministic and made from nilearn's bundled ICBM152 2009a maps. Distances are in
mm, coordinates RAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]

_BOX_MIN = np.array([-116.0, -160.0, -150.0])  # mm: head, face and neck fit inside
_BOX_MAX = np.array([116.0, 136.0, 136.0])
ZONE_SHELL, ZONE_BRAIN = 1, 2
_STEP = 2.0  # mm, grid of everything outside the brain
_VENTRICLE_SIGMA, _SULCUS_SIGMA = 6.0, 2.5  # mm
_THINNING_STEP, _THINNING_SIGMA = 0.4, 0.4  # voxels of 1 mm

# What atrophy 1 is: how far, at most, walls of ventricles and banks of sulci move, and how much
# cortex turns into fluid.
VENTRICLES_MM, SULCI_MM, THINNING_MM = 4.0, 1.0, 1.4
# Age (years) and atrophy. benchmarks/demo_ages.py fits them to the model that is shipped.
ATROPHY = ((25.0, 0.0), (45.0, 0.85), (60.0, 1.3), (75.0, 1.6))


@dataclass(frozen=True)
class Head:
    """What is sampled to make an image of a person.

    Attributes
    ----------
    brain : ndarray, shape (197, 233, 189)
        Skull-stripped T1w of the template on its 1 mm grid, 0 to 1.
    brain_affine : ndarray, shape (4, 4)
        Voxels of `brain` to mm.
    shell : ndarray
        Intensities outside the brain on a 2 mm grid, 0 to 1.
    fluid : ndarray, shape of `brain`
        Part of each voxel that is fluid, 0 to 1; 1 outside the brain.
    fluid_level : float
        Intensity of fluid in `brain`.
    atrophy : ndarray, shape (3, ...)
        Displacement in mm, on the grid of `shell`, that widens ventricles and sulci when it is
        added to the coordinates at which `brain` is sampled. Its size is that of atrophy 1.
    zone : ndarray of uint8
        What may be near a voxel of that grid: 0 air, `ZONE_SHELL`, `ZONE_BRAIN` (or both).
    box_affine : ndarray, shape (4, 4)
        Voxels of the 2 mm grid to mm.
    """

    brain: Volume
    brain_affine: NDArray[np.float64]
    shell: Volume
    fluid: Volume
    fluid_level: float
    atrophy: Volume
    zone: NDArray[np.uint8]
    box_affine: NDArray[np.float64]


def build_head() -> Head:
    """Make the head model (about 3 s)."""
    from nilearn import datasets

    images = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    brain, grey, white = (np.asarray(img.dataobj, dtype=np.float32) for img in images)
    brain_affine = np.asarray(images[0].affine, dtype=float)
    box_affine = np.diag([_STEP, _STEP, _STEP, 1.0])
    box_affine[:3, 3] = _BOX_MIN
    mask = _on_box((brain > 0).astype(np.float32), brain_affine, box_affine) > 0.5
    fluid = np.where(brain > 0, np.clip(1 - grey - white, 0, 1), 1).astype(np.float32)
    level = float(np.median(brain[(brain > 0) & (fluid > 0.95)]))
    inside = np.where(brain > 0, fluid, 0).astype(np.float32)
    shell = _shell(mask)
    atrophy = _atrophy(_on_box(inside, brain_affine, box_affine), mask)
    zones = _zones(mask, shell)
    return Head(brain, brain_affine, shell, fluid, level, atrophy, zones, box_affine)


def atrophy_at(age: float) -> float:
    """How much atrophy a synthetic person of some age (years) shows.

    0 is the template, an average of young adults; 1 is about what the oldest adults show. Between
    and beyond the ages of `ATROPHY` the line goes on straight.
    """
    ages, amounts = np.array(ATROPHY).T
    place = int(np.clip(np.searchsorted(ages, age), 1, len(ages) - 1))
    slope = (amounts[place] - amounts[place - 1]) / (ages[place] - ages[place - 1])
    return float(amounts[place - 1] + slope * (age - ages[place - 1]))


def thinned_brain(head: Head, atrophy: float) -> Volume:
    """The brain with a cortex that lost up to `THINNING_MM` times `atrophy` to the fluid beside it.

    The boundary of the fluid moves along its normal (a level set, in steps of under half a voxel);
    what becomes fluid takes its intensity. Same shape as ``head.brain``, 0 outside of it.
    """
    from scipy import ndimage

    thickness = THINNING_MM * max(atrophy, 0.0)
    if thickness == 0:
        return head.brain
    steps = int(np.ceil(thickness / _THINNING_STEP))
    before = after = ndimage.gaussian_filter(head.fluid, _THINNING_SIGMA)
    for _ in range(steps):
        slope = np.zeros_like(after)
        for axis in range(3):
            slope += np.square(np.gradient(after, axis=axis))
        np.sqrt(slope, out=slope)
        after = np.clip(after + np.float32(thickness / steps) * slope, 0, 1)
    share = (after - before) / np.maximum(1 - before, 0.1)
    solid = np.maximum(head.brain - np.float32(head.fluid_level), 0)
    thin = head.brain - np.clip(share, 0, 1) * solid
    return np.where(head.brain > 0, thin, 0).astype(np.float32)


def _zones(mask: NDArray[np.bool_], shell: Volume) -> NDArray[np.uint8]:
    """Where the warp (never more than some 12 mm) may bring brain or shell."""
    from scipy import ndimage

    zone = np.zeros(mask.shape, np.uint8)
    for number, inside in ((ZONE_SHELL, mask | (shell > 0.005)), (ZONE_BRAIN, mask)):
        zone[ndimage.distance_transform_edt(~inside, sampling=_STEP) <= 14] = number
    return zone


def _box_shape() -> tuple[int, int, int]:
    nx, ny, nz = ((_BOX_MAX - _BOX_MIN) / _STEP).astype(int) + 1
    return (int(nx), int(ny), int(nz))


def _on_box(volume: Volume, affine: NDArray[np.float64], box_affine: NDArray[np.float64]) -> Volume:
    """Resample a 1 mm volume on the 2 mm grid of the box."""
    from scipy import ndimage

    matrix = np.linalg.inv(affine) @ box_affine
    smooth = ndimage.uniform_filter(volume, 2)
    resampled = ndimage.affine_transform(
        smooth, matrix[:3, :3], matrix[:3, 3], output_shape=_box_shape(), order=1
    )
    return np.asarray(resampled, np.float32)


def _grid() -> tuple[Volume, Volume, Volume]:
    """Coordinates (mm) of the box's voxels, broadcastable."""
    x, y, z = (
        _BOX_MIN[axis] + _STEP * np.arange(size, dtype=np.float32)
        for axis, size in enumerate(_box_shape())
    )
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Volume:
    """Squared relative distance from a centre: below 1 is inside."""
    return np.asarray(
        sum(
            ((axis - middle) / radius) ** 2
            for axis, middle, radius in zip(_grid(), centre, radii, strict=True)
        ),
        np.float32,
    )


def _shell(mask: NDArray[np.bool_]) -> Volume:
    """Fluid, skull with marrow, scalp, face, eyes and neck around a brain mask."""
    from scipy import ndimage

    _, y, z = _grid()
    closed = ndimage.binary_closing(mask, iterations=5)
    depth = ndimage.distance_transform_edt(~closed, sampling=_STEP).astype(np.float32)
    # Vary the thickness of the bone: thicker behind and above, thin at the temples.
    depth = depth * (1.15 - 0.0012 * np.abs(y + 20) - 0.0008 * np.clip(z, 0, 80))
    shell = np.zeros(mask.shape, np.float32)
    tissue = _ellipsoid((0, 42, -62), (58, 52, 62)) < 1  # face
    tissue |= _ellipsoid((0, -34, -95), (52, 58, 90)) < 1  # neck
    tissue |= _ellipsoid((0, 100, -48), (14, 18, 22)) < 1  # nose
    shell[tissue] = 0.42  # muscle
    soft = ndimage.distance_transform_edt(tissue, sampling=_STEP)
    shell[tissue & (soft < 6)] = 0.78  # fat under the skin
    shell[_ellipsoid((0, 48, -78), (24, 30, 14)) < 1] = 0.03  # mouth and pharynx: air
    shell[_ellipsoid((0, 62, -38), (12, 26, 16)) < 1] = 0.05  # nasal cavity
    shell[_ellipsoid((0, -40, -110), (11, 11, 60)) < 1] = 0.2  # spinal canal
    for side in (-1, 1):
        shell[_ellipsoid((32 * side, 62, -36), (13, 13, 13)) < 1] = 0.14  # eyes
    scalp = (depth <= 15) & ~tissue
    shell[scalp] = 0.5  # skin
    shell[scalp & (depth <= 13.5)] = 0.86  # fat
    for limit, value in ((9.5, 0.07), (7.5, 0.38), (5.0, 0.07), (3.0, 0.22)):
        shell[depth <= limit] = value  # bone, marrow, bone, fluid: from outside inwards
    return np.asarray(ndimage.gaussian_filter(shell, 0.5), np.float32)


def _atrophy(fluid: Volume, mask: NDArray[np.bool_]) -> Volume:
    """Displacement towards fluid: what is sampled there shows more of it. That of atrophy 1."""
    from scipy import ndimage

    x, y, z = _grid()
    ventricles = fluid * ((np.abs(x) < 36) & (y > -58) & (y < 34) & (z > -5) & (z < 30))
    ventricles = ventricles * ((np.abs(x) > 3) | (z < 16) | (y > -40))
    inner = ndimage.gaussian_filter(ventricles, _VENTRICLE_SIGMA / _STEP)
    outer = ndimage.gaussian_filter(fluid - ventricles, _SULCUS_SIGMA / _STEP)
    potentials = ((inner, VENTRICLES_MM), (outer, SULCI_MM))
    total = np.zeros((3, *mask.shape), np.float32)
    for potential, largest in potentials:
        gradient = np.asarray(np.gradient(potential, _STEP), np.float32)
        length = np.sqrt((gradient**2).sum(axis=0))
        total += gradient * (largest / np.percentile(length[mask], 99.5))
    near = ndimage.gaussian_filter(mask.astype(np.float32), 1.0)
    return np.asarray(total * near, np.float32)
