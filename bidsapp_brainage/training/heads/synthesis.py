"""Heads as any scanner might show them, from one raw head and its labels.

Contrast, noise and resolution are drawn as for the segmentation
(:mod:`bidsapp_brainage.training.segmentation.synthesis`; Billot 2023); added here are what happens
to images that nobody has aligned: pose, offset, field of view, missing faces, missing skulls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bidsapp_brainage.model.intensity import scale_intensity
from bidsapp_brainage.model.specs import InputSpec
from bidsapp_brainage.segmentation.labels import Labels
from bidsapp_brainage.training.segmentation.synthesis import (
    WIDE,
    any_levels,
    contrasted,
    degraded,
    edge,
    smooth_fields,
)

from .subjects import Head


@dataclass(frozen=True)
class Placement:
    """Bounds of the random pose of a head in its box.

    Attributes
    ----------
    tilt_degrees : float
        SD of the rotation about every axis.
    shift_mm : float
        SD of the offset along every axis.
    log_scale : float
        SD of the logarithm of the stretch along every axis.
    warp_mm : float
        Largest SD of a smooth warp.
    """

    tilt_degrees: float = 9.0
    shift_mm: float = 8.0
    log_scale: float = 0.05
    warp_mm: float = 3.0


#: How often an image is the raw one in another pose, loses its face, or a part of its field.
RAW, DEFACED, CUT = 0.35, 0.25, 0.3
_CUT_MM = 12.0  # how far a cut field of view may reach into the brain
_NO_LEVEL = 1e-3


def head_example(
    head: Head,
    labels: Labels,
    spec: InputSpec,
    rng: np.random.Generator,
    placement: Placement | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make one random image of a head, with its truth.

    Returns
    -------
    image : ndarray of float32, shape (D, H, W)
        As :func:`bidsapp_brainage.imaging.network_input.head_input` would give it.
    classes : ndarray of uint8, shape (D, H, W)
        Classes of `labels`.
    """
    places = _places(head, spec, rng, placement or Placement())
    raw, units, shown = _sampled(np.stack([head.raw, head.units, head.shown]), places)
    classes = _nearest(head.classes, places)
    if rng.random() < 0.5:
        raw, units, shown = raw[::-1], units[::-1], shown[::-1]
        classes = labels.mirrored[classes[::-1]].astype(np.uint8)
    inside = classes > 0
    if rng.random() < RAW:
        image = np.where(raw > _NO_LEVEL, raw, 0)
    else:
        image = contrasted(units, classes, labels, any_levels(rng), WIDE, rng)
        image = image * np.where(inside, 1, shown / 255)
    image, _ = edge(image, inside, classes, WIDE, rng)
    voxel_mm = float(spec["resolution_mm"])
    if rng.random() < DEFACED:
        image = np.where(_face(inside, voxel_mm, rng), 0, image)
    image = degraded(image + 1e-3 * (image > 0), WIDE, rng)
    if rng.random() < CUT:
        image = np.where(_beyond_field(inside, voxel_mm, rng), 0, image)
    scaled = scale_intensity(image, None, spec["intensity"])
    return np.ascontiguousarray(scaled), np.ascontiguousarray(classes)


def _places(
    head: Head, spec: InputSpec, rng: np.random.Generator, placement: Placement
) -> np.ndarray:
    """Voxels of the head (3, D, H, W) at the voxels of the box."""
    shape, voxel_mm = tuple(spec["shape"]), float(spec["resolution_mm"])
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(rng.normal(0, placement.tilt_degrees, 3))):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    matrix = matrix * np.exp(rng.normal(0, placement.log_scale, 3)) * voxel_mm
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    mm = np.tensordot(matrix.astype(np.float32), grid, axes=1)
    mm += rng.normal(0, placement.shift_mm, 3).astype(np.float32)[:, None, None, None]
    mm += np.float32(rng.uniform(0, placement.warp_mm)) * smooth_fields(shape, 6, rng, 3)
    own = mm / head.voxel_mm.astype(np.float32)[:, None, None, None]
    return np.asarray(own + head.centre.astype(np.float32)[:, None, None, None])


def _sampled(volumes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear interpolation of volumes (C, I, J, K) at places (3, D, H, W); the border goes on."""
    size = np.array(volumes.shape[1:], dtype=np.float32)[:, None, None, None]
    unit = torch.from_numpy(((2 * places + 1) / size - 1).astype(np.float32))
    return functional.grid_sample(
        torch.from_numpy(volumes.astype(np.float32))[None],
        unit.flip(0).permute(1, 2, 3, 0)[None],
        align_corners=False,
        padding_mode="zeros",
    )[0].numpy()


def _nearest(classes: np.ndarray, places: np.ndarray) -> np.ndarray:
    own = np.rint(places).astype(np.int32)
    limits = np.array(classes.shape)[:, None, None, None]
    within = ((own >= 0) & (own < limits)).all(axis=0)
    return np.where(within, classes[tuple(np.clip(own, 0, limits - 1))], 0).astype(np.uint8)


def _face(inside: np.ndarray, voxel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """What a tool that removes faces takes: in front of and below a plane that misses the brain."""
    normal = np.array([0.0, rng.uniform(0.5, 1.0), -rng.uniform(0.3, 1.0)])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in inside.shape], indexing="ij"))
    along = np.tensordot(normal / np.linalg.norm(normal), grid, axes=1)
    if not inside.any():
        return np.zeros(inside.shape, dtype=bool)
    limit = along[inside].max() + rng.uniform(-3, 20) / voxel_mm
    return np.asarray((along > limit) & ~inside)


def _beyond_field(inside: np.ndarray, voxel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Outside of a smaller field of view, which may cut a little of the brain."""
    cut = np.zeros(inside.shape, dtype=bool)
    if not inside.any():
        return cut
    for axis in range(3):
        filled = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        for side in (0, 1):
            if rng.random() < 0.4:
                margin = rng.uniform(-_CUT_MM if rng.random() < 0.3 else 0, 40) / voxel_mm
                index: list[slice] = [slice(None)] * 3
                if side:
                    index[axis] = slice(max(0, round(filled[-1] + 1 + margin)), None)
                else:
                    index[axis] = slice(None, max(0, round(filled[0] - margin)))
                cut[tuple(index)] = True
    return cut
