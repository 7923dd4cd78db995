"""Random changes of brains that keep their age: for few people and for unseen scanners.

A volume is a z-scored brain on a background of exactly 0. Networks with such a background react
to the edge of the mask by years, so the edge is moved too, and after every change the brain is
z-scored again and the background set to 0, as in a real input.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from bidsapp_brainage.training.recipe import Augmentation

KNOTS = 8
WARP_POINTS = 6  # of the random warp, along every axis
RANGE = 5.0  # SDs that the intensity curve covers on either side


def augment(
    volumes: torch.Tensor,
    bounds: Augmentation,
    generator: torch.Generator,
    clip: float = 5.0,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Change every volume of a batch (N, 1, D, H, W), float32 with background exactly 0, at random.

    The generator is the only source of randomness. The result is bounded by `clip` SDs; `mask` is 1
    inside, by default wherever a volume is not 0.
    """
    values, weight = move(volumes, bounds, generator, mask)
    values, mask = shift_edge(values, weight, bounds.edge, generator)
    values = blur(values, mask, bounds.blur, generator)
    if bounds.resolution > 1:
        values = coarsen(values, mask, bounds.resolution, generator)
    values = bend_intensities(zscore(values, mask), bounds.curve, generator)
    field = bounds.bias_field * smooth_field(values.shape, 4, generator)
    values = (values + RANGE) * torch.exp(field)
    values = zscore(values, mask)
    amount = bounds.noise * torch.rand(len(values), 1, 1, 1, 1, generator=generator)
    values = values + amount * torch.randn(values.shape, generator=generator)
    return zscore(values, mask).clamp(-clip, clip) * mask


def move(
    volumes: torch.Tensor,
    bounds: Augmentation,
    generator: torch.Generator,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate, stretch, shift and gently warp brain and mask.

    Gives the mean over the brain part of every new voxel (0 where there is none), and that part.
    """
    theta = _random_affines(volumes.shape, bounds, generator)
    mask = (volumes != 0).float() if mask is None else mask
    grid = functional.affine_grid(theta, [*volumes.shape], align_corners=False)
    if bounds.warp_voxels:
        grid = grid + _smooth_displacement(volumes.shape, bounds.warp_voxels, generator)
    both = torch.cat([volumes, mask], dim=1)
    moved = functional.grid_sample(both, grid, align_corners=False)
    values, weight = moved[:, :1], moved[:, 1:]
    return values / weight.clamp(min=1e-3), weight


def shift_edge(
    values: torch.Tensor, weight: torch.Tensor, bound: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the mask's edge in or out by up to about a voxel, differently from place to place.

    Voxels that the mask gains take the mean of their neighbours inside.
    """
    near = functional.avg_pool3d(weight, 3, stride=1, padding=1)
    around = functional.avg_pool3d(values * weight, 3, stride=1, padding=1)
    level = bound * (2 * torch.rand(len(values), 1, 1, 1, 1, generator=generator) - 1)
    level = level + 0.5 * bound * smooth_field(values.shape, 6, generator)
    # the voxel itself counts half, so that a level of 0 leaves the mask as it is
    mask = ((near + weight) / 2 > (0.5 + level).clamp(0.1, 0.9)).float()
    filled = torch.where(weight > 0.5, values, around / near.clamp(min=1e-3))
    return filled * mask, mask


def blur(
    values: torch.Tensor, mask: torch.Tensor, bound: float, generator: torch.Generator
) -> torch.Tensor:
    """Mix half of the volumes with their mean over 3 x 3 x 3 voxels inside the mask."""
    share = bound * torch.rand(len(values), 1, 1, 1, 1, generator=generator)
    share = share * (torch.rand(len(values), 1, 1, 1, 1, generator=generator) < 0.5)
    around = functional.avg_pool3d(values * mask, 3, stride=1, padding=1)
    near = functional.avg_pool3d(mask, 3, stride=1, padding=1).clamp(min=1e-3)
    return values + share * (around / near - values)


def coarsen(
    values: torch.Tensor, mask: torch.Tensor, bound: float, generator: torch.Generator
) -> torch.Tensor:
    """Take half of the volumes to thicker slices along one axis, and back to the grid."""
    result = values.clone()
    for index in range(len(values)):
        chosen, factor = torch.rand(2, generator=generator).tolist()
        axis = int(torch.randint(3, (1,), generator=generator))
        if chosen < 0.5:
            size = list(values.shape[2:])
            size[axis] = max(2, round(size[axis] / (1 + (bound - 1) * factor)))
            inside = mask[index : index + 1]
            both = torch.cat([values[index : index + 1] * inside, inside])
            thick = functional.adaptive_avg_pool3d(both, (size[0], size[1], size[2]))
            back = functional.interpolate(thick, [*values.shape[2:]], mode="trilinear")
            result[index] = back[0] / back[1].clamp(min=1e-3)
    return result


def atrophy(volumes: torch.Tensor, mask: torch.Tensor, amount: float) -> torch.Tensor:
    """Widen ventricles and sulci (``amount`` above 0), or narrow them (below 0).

    The middle of the brain, where the ventricles are, is stretched by the part ``amount`` (about
    -0.5 to 0.5) about the mask's centre with a smooth fall-off; beyond it fluid, the darkest
    voxels, grows by a part of a voxel, as sulci do. Volume and mask are of shape (1, 1, D, H, W).
    """
    size = torch.tensor([float(n) for n in volumes.shape[2:]])
    axes = [torch.linspace(-1 + 1 / n, 1 - 1 / n, int(n)) for n in size]
    # affine_grid's order of coordinates is the reverse of the axes'
    here = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    inside = mask[0, 0, ..., None]
    centre = (here * inside).sum(dim=(0, 1, 2)) / inside.sum().clamp(min=1)
    spread = ((here - centre).square() * inside).sum(dim=(0, 1, 2)) / inside.sum().clamp(min=1)
    distance = ((here - centre).square() / spread.clamp(min=1e-6)).sum(dim=-1, keepdim=True)
    source = here - amount * torch.exp(-distance) * (here - centre)
    grid = source.flip(-1)[None]
    stretched = functional.grid_sample(volumes, grid, align_corners=False, padding_mode="border")
    sign = -1 if amount > 0 else 1  # the darkest of the neighbours, or the brightest
    inside_only = torch.where(mask > 0, sign * stretched, torch.full_like(stretched, -torch.inf))
    grown = sign * functional.max_pool3d(inside_only, 3, stride=1, padding=1)
    widened = stretched + 0.5 * abs(amount) * (grown - stretched)
    return torch.where(mask > 0, widened, volumes)


def bend_intensities(
    values: torch.Tensor, spread: float, generator: torch.Generator
) -> torch.Tensor:
    """Pass intensities through a random rising curve of straight pieces (another contrast)."""
    slopes = torch.exp(spread * torch.randn(len(values), KNOTS, generator=generator))
    rises = torch.cat([torch.zeros(len(values), 1), slopes.cumsum(dim=1)], dim=1)
    position = ((values + RANGE) * (KNOTS / (2 * RANGE))).clamp(0, KNOTS - 1e-4).flatten(1)
    piece = position.long()
    bent = rises.gather(1, piece) + (position - piece) * slopes.gather(1, piece)
    return (bent * (2 * RANGE / KNOTS) - RANGE).view_as(values)


def smooth_field(shape: torch.Size, points: int, generator: torch.Generator) -> torch.Tensor:
    """Random field of SD about 1 that varies over 1 / ``points`` of the volume."""
    coarse = torch.randn(shape[0], 1, points, points, points, generator=generator)
    return functional.interpolate(coarse, [*shape[2:]], mode="trilinear", align_corners=True)


def zscore(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean 0 and SD 1 inside the mask of every volume; the outside is not touched by meaning."""
    count = mask.sum(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1)
    mean = (values * mask).sum(dim=(1, 2, 3, 4), keepdim=True) / count
    centred = values - mean
    variance = (centred.square() * mask).sum(dim=(1, 2, 3, 4), keepdim=True) / count
    return centred / variance.sqrt().clamp(min=1e-6)


def _random_affines(
    shape: torch.Size, bounds: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Matrices (N, 3, 4) for ``affine_grid``, whose axes are reversed and run from -1 to 1."""
    count = shape[0]
    draw = 2 * torch.rand(count, 3, 3, generator=generator) - 1
    angles = math.radians(bounds.rotation_degrees) * draw[:, 0]
    matrices = torch.eye(3).expand(count, 3, 3)
    for axis in range(3):
        matrices = matrices @ _rotation(angles[:, axis], axis)
    matrices = matrices * torch.exp(bounds.log_scale * draw[:, 1])[:, None, :]
    size = torch.tensor([float(n) for n in shape[2:]])
    matrices = matrices * size[None, None, :] / size[None, :, None]
    shift = 2 * bounds.shift_voxels * draw[:, 2] / size
    return torch.cat([matrices.flip(1, 2), shift.flip(1)[:, :, None]], dim=2)


def _smooth_displacement(
    shape: torch.Size, spread: float, generator: torch.Generator
) -> torch.Tensor:
    """Displacements (N, D, H, W, 3) in the units of ``affine_grid``; SD about ``spread`` voxels."""
    coarse = torch.randn(shape[0], 3, WARP_POINTS, WARP_POINTS, WARP_POINTS, generator=generator)
    field = functional.interpolate(coarse, [*shape[2:]], mode="trilinear", align_corners=True)
    size = torch.tensor([float(n) for n in shape[2:]]).flip(0)
    return field.permute(0, 2, 3, 4, 1) * (2 * spread / size)


def _rotation(angle: torch.Tensor, axis: int) -> torch.Tensor:
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(3).repeat(len(angle), 1, 1)
    matrix[:, first, first] = matrix[:, second, second] = torch.cos(angle)
    matrix[:, first, second] = -torch.sin(angle)
    matrix[:, second, first] = torch.sin(angle)
    return matrix
