"""Images of any contrast, made from label maps and one real image of each person.

Networks that learn from images with random contrasts segment images of every contrast (SynthSeg:
Billot 2023, Medical Image Analysis 86:102789). Here half of what an image shows comes from a
person's real T1w, passed through random levels of fluid, grey and white matter, because label maps
of 2 mm no longer hold the narrow sulci.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from bidsapp_brainage.segmentation.input import segmentation_input
from bidsapp_brainage.segmentation.labels import Labels

DEEP = (23, 30, 31, 32, 36, 37, 47, 48, 55, 56, 57, 58, 59, 60, 35, 61, 62)  # vary most by contrast
CORTICAL_FLUID = 1
_EMPTY = -0.5  # tissue units below which an image shows nothing

Levels: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Variation:
    """How far a simulated T1w may be from the real one; every part is drawn at random up to it.

    Attributes
    ----------
    fluid : float
        Highest level of fluid; white matter is 1.
    grey : (float, float)
        Lowest and highest level of grey matter between fluid (0) and white matter (1).
    real : float
        Least part of what shows that comes from the real image; the rest has one level per region.
    tight : float
        How far the edge of a stripped image may lie inside the brain (-0.5 to 0.5).
    field : float
        SD of the logarithm of the uneven field.
    curve : float
        SD of the logarithm of the exponent of intensities.
    slices, voxels : float
        Thickest slice and largest voxel, in voxels of the grid.
    noise : float
        SD of the noise as a part of white matter.
    """

    fluid: float
    grey: tuple[float, float]
    real: float
    tight: float
    field: float
    curve: float
    slices: float
    voxels: float
    noise: float


#: To learn to segment, also what is worse than any scanner's image.
WIDE = Variation(0.45, (0.3, 0.88), 0.0, 0.25, 0.35, 0.2, 2.5, 1.6, 0.08)
#: To learn ages from, no worse than what people analyse.
MILD = Variation(0.35, (0.45, 0.85), 0.5, 0.05, 0.2, 0.1, 1.6, 1.3, 0.045)


@dataclass(frozen=True)
class Subject:
    """One person on the network's grid.

    Attributes
    ----------
    units : ndarray of float32, shape (D, H, W)
        The real T1w in tissue units (fluid 0, grey matter 1, white matter 2).
    mask : ndarray of bool, shape (D, H, W)
        The app's brain mask.
    label_map : ndarray of int, shape (I, J, K)
        Reference labels on their own grid.
    to_label_map : ndarray, shape (4, 4)
        From voxels of the network's grid to voxels of the label map.
    """

    units: np.ndarray
    mask: np.ndarray
    label_map: np.ndarray
    to_label_map: np.ndarray


@dataclass(frozen=True)
class Example:
    """What one step of the training sees; arrays of shape (D, H, W)."""

    image: np.ndarray
    where: np.ndarray
    classes: np.ndarray
    units: np.ndarray


def example(subject: Subject, labels: Labels, rng: np.random.Generator) -> Example:
    """Make one random image of a person, with its truth."""
    units, mask, classes = _moved(subject, labels, rng)
    if rng.random() < 0.5:
        units, mask, classes = units[::-1], mask[::-1], labels.mirrored[classes[::-1]]
    units = np.where(classes > 0, np.clip(units, 0, 2.2), units)
    image, mask = _imaged(units, mask, classes, labels, any_levels(rng), WIDE, rng)
    scaled, where = segmentation_input(image, mask)
    truth = np.where(classes > 0, units, 0).astype(np.float32)
    return Example(scaled, where, np.ascontiguousarray(classes), truth)


def other_t1w(
    units: np.ndarray,
    mask: np.ndarray,
    classes: np.ndarray,
    labels: Labels,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A brain as another scanner might show it: another T1w contrast, edge, field, noise.

    Parameters
    ----------
    units : ndarray, shape (D, H, W)
        The image in tissue units; below -0.5 where it is empty.
    mask : ndarray of bool, shape (D, H, W)
        Its brain mask.
    classes : ndarray of int, shape (D, H, W)
        Its segmentation.
    labels : Labels
    rng : numpy.random.Generator

    Returns
    -------
    image, mask : ndarray, shape (D, H, W)
        What :func:`bidsapp_brainage.segmentation.input.segmentation_input` takes. The new mask is
        the old one, or smaller.
    """
    levels = _t1w_levels(MILD, rng)
    image, changed = _imaged(units, mask, classes, labels, levels, MILD, rng)
    changed = changed & mask
    return np.where(units < _EMPTY, 0, image), changed if changed.any() else mask


def from_labels(
    classes: np.ndarray, labels: Labels, levels: Levels, rng: np.random.Generator
) -> np.ndarray:
    """An image of any contrast from a label map alone, without any part of a real image.

    Parameters
    ----------
    classes : ndarray of int, shape (I, J, K)
        Regions, as :meth:`Labels.classes` gives them.
    labels : Labels
    levels : (float, float, float)
        Intensities of fluid, grey and white matter.
    rng : numpy.random.Generator
        Draws the regions' differences from these, the uneven field, the blur and the noise.

    Returns
    -------
    ndarray of float32, shape (I, J, K)
        0 outside the brain.
    """
    flat = _flat(classes, labels, levels, 0.0, _deviation(labels, rng), rng)
    image = np.where(classes > 0, np.clip(flat, 0.02, None), 0)
    return np.asarray(degraded(image.astype(np.float32), MILD, rng), dtype=np.float32)


def real_example(subject: Subject, labels: Labels) -> Example:
    """The person as it is, with its truth."""
    units, mask, classes = _placed(subject, labels, _voxels(subject.units.shape))
    scaled, where = segmentation_input(units + 1.0, mask)  # as `evened` gives it
    truth = np.where(classes > 0, np.clip(units, 0, 2.2), 0).astype(np.float32)
    return Example(scaled, where, classes, truth)


def _moved(
    subject: Subject, labels: Labels, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn, stretch, shift and warp a person."""
    shape = subject.units.shape
    places = _voxels(shape)
    if rng.random() < 0.75:
        centre = (np.array(shape, dtype=np.float32)[:, None, None, None] - 1) / 2
        matrix = (_rotation(rng) * np.exp(rng.normal(0, 0.04, 3))).astype(np.float32)
        shift = rng.normal(0, 1.5, 3).astype(np.float32)[:, None, None, None]
        places = np.tensordot(matrix, places - centre, axes=1) + centre + shift
        for points, spread in ((5, 1.5), (10, 0.7)):
            places = places + np.float32(rng.uniform(0, spread)) * smooth_fields(
                shape, points, rng, 3
            )
    return _placed(subject, labels, places)


def _placed(
    subject: Subject, labels: Labels, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units, mask and classes of a person at places (3, D, H, W) in voxels of the grid."""
    shape = subject.units.shape
    size = np.array(shape, dtype=np.float32)[:, None, None, None]
    unit = torch.from_numpy(((2 * places + 1) / size - 1).astype(np.float32))
    both = torch.from_numpy(np.stack([subject.units, subject.mask.astype(np.float32)]))[None]
    sampled = functional.grid_sample(
        both, unit.flip(0).permute(1, 2, 3, 0)[None], align_corners=False, padding_mode="border"
    )[0].numpy()
    to_own = subject.to_label_map.astype(np.float32)
    own = np.tensordot(to_own[:3, :3], places, axes=1) + to_own[:3, 3][:, None, None, None]
    own = np.rint(own).astype(np.int32)
    limits = np.array(subject.label_map.shape)[:, None, None, None]
    within = ((own >= 0) & (own < limits)).all(axis=0)
    found = subject.label_map[tuple(np.clip(own, 0, limits - 1))]
    return sampled[0], sampled[1] >= 0.5, labels.classes(np.where(within, found, 0))


def _imaged(
    units: np.ndarray,
    mask: np.ndarray,
    classes: np.ndarray,
    labels: Labels,
    levels: Levels,
    most: Variation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """An image with these levels of fluid, grey and white matter, and its brain mask."""
    image = contrasted(units, classes, labels, levels, most, rng)
    image, mask = edge(image, mask, classes, most, rng)
    return degraded(image, most, rng), mask


def contrasted(
    units: np.ndarray,
    classes: np.ndarray,
    labels: Labels,
    levels: Levels,
    most: Variation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Give tissues the levels, with some variation by region; above 0."""
    beyond = rng.uniform(-0.3, 0.3, 2)
    real = np.interp(
        units, [-0.6, 0, 1, 2, 2.6], [levels[0] + beyond[0], *levels, levels[2] + beyond[1]]
    )
    share = rng.choice([most.real, rng.uniform(most.real, 1), 1.0], p=[0.25, 0.35, 0.4])
    deviation = _deviation(labels, rng)
    flat = _flat(classes, labels, levels, real, deviation, rng)
    mixed = share * (real + ndimage.uniform_filter(deviation[classes], 3)) + (1 - share) * flat
    return np.asarray(np.clip(mixed, 0, None) + 0.02, dtype=np.float32)


def _deviation(labels: Labels, rng: np.random.Generator) -> np.ndarray:
    """How much brighter or darker than its tissue every class is, alike on both sides."""
    spread = rng.uniform(0, 0.08)
    deviation = rng.normal(0, spread, labels.n_classes)
    deep = np.isin(labels.indices, DEEP)
    deviation[deep] = rng.normal(0, 2 * spread, int(deep.sum()))
    deviation = (deviation + deviation[labels.mirrored]) / 2
    deviation[0] = 0
    return np.asarray(deviation)


def _flat(
    classes: np.ndarray,
    labels: Labels,
    levels: Levels,
    outside: float | np.ndarray,
    deviation: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One level per region, slightly blurred."""
    flat = np.where(classes > 0, np.asarray(levels)[labels.tissues[classes]], outside)
    return ndimage.gaussian_filter(flat + deviation[classes], rng.uniform(0.3, 0.8))


def _t1w_levels(most: Variation, rng: np.random.Generator) -> Levels:
    fluid = rng.uniform(0, most.fluid)
    return fluid, fluid + (1 - fluid) * rng.uniform(*most.grey), 1.0


def any_levels(rng: np.random.Generator) -> Levels:
    """Intensities of fluid, grey and white matter: mostly like a T1w, else anything."""
    if rng.random() < 0.7:
        return _t1w_levels(WIDE, rng)
    while True:
        levels = rng.random(3)
        apart = np.abs(np.diff(levels[[0, 1, 2, 0]]))
        if apart[1] > 0.1 and apart.max() > 0.25:
            return float(levels[0]), float(levels[1]), float(levels[2])


def edge(
    image: np.ndarray,
    mask: np.ndarray,
    classes: np.ndarray,
    most: Variation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Move the mask's edge; empty what is beyond it where the source is stripped."""
    wobble = 0.15 * smooth_fields(classes.shape, 7, rng, 1)[0]
    if rng.random() < 0.5:
        near = ndimage.uniform_filter(mask.astype(np.float32), 3)
        return image, near > 0.5 + rng.uniform(-0.3, 0.3) + wobble
    part = classes > 0 if rng.random() < 0.5 else classes > CORTICAL_FLUID
    near = ndimage.uniform_filter(part.astype(np.float32), int(rng.choice([3, 5])))
    kept = near > np.clip(0.5 + rng.uniform(-0.35, most.tight) + wobble, 0.05, 0.95)
    return np.where(kept, image, 0), np.asarray(ndimage.binary_fill_holes(kept))


def degraded(image: np.ndarray, most: Variation, rng: np.random.Generator) -> np.ndarray:
    """Uneven field, curve, lower resolution, and noise; what is empty stays empty."""
    shown = image > 0
    field = (
        rng.uniform(0, most.field) * smooth_fields(image.shape, int(rng.integers(3, 6)), rng, 1)[0]
    )
    image = np.exp(field) * image ** math.exp(rng.normal(0, most.curve))
    if rng.random() < 0.4:
        image = _coarse(image, most, rng)
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, rng.uniform(0, 0.7))
    noise = rng.uniform(0, most.noise) * (rng.random() < 0.85)
    first, second = rng.standard_normal((2, *image.shape), dtype=np.float32) * noise
    return np.asarray(np.where(shown, np.hypot(image + first, second) + 1e-3, 0))


def _coarse(image: np.ndarray, most: Variation, rng: np.random.Generator) -> np.ndarray:
    """Thicker slices along one axis, or larger voxels."""
    factors = np.ones(3)
    if rng.random() < 0.5:
        factors[rng.integers(3)] = rng.uniform(1, most.slices)
    else:
        factors[:] = rng.uniform(1, most.voxels)
    size = [max(2, round(n / factor)) for n, factor in zip(image.shape, factors, strict=True)]
    volume = torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None]
    coarse = functional.adaptive_avg_pool3d(volume, (size[0], size[1], size[2]))
    back = functional.interpolate(coarse, image.shape, mode="trilinear", align_corners=False)
    return back[0, 0].numpy()


def smooth_fields(
    shape: tuple[int, ...], points: int, rng: np.random.Generator, count: int
) -> np.ndarray:
    """Random fields (count, D, H, W) of SD about 1 at their knots."""
    knots = torch.from_numpy(rng.standard_normal((1, count, points, points, points)))
    fields = functional.interpolate(knots.float(), shape, mode="trilinear", align_corners=True)
    return fields[0].numpy()


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """Rotation by some degrees about every axis."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(rng.normal(0, 4, 3))):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix


def _voxels(shape: tuple[int, ...]) -> np.ndarray:
    """Coordinates (3, D, H, W) of voxels."""
    return np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))
