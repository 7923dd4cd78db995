"""Volumes, atlases and networks for benchmarks: made from the template that nilearn carries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PENG_GRID = (160, 192, 160)


def brain(
    shape: Sequence[int] = PENG_GRID, resolution_mm: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a noisy MNI152 brain, divided by its mean, and its mask, cropped to a shape."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    template = load_mni152_template(resolution=resolution_mm).get_fdata(dtype=np.float32)
    mask = _cropped(load_mni152_brain_mask(resolution=resolution_mm).get_fdata() > 0, shape)
    mask |= mask[::-1]
    noise = np.random.default_rng(0).standard_normal(tuple(shape)).astype(np.float32)
    volume = np.where(mask, _cropped(template, shape) + 0.03 * noise, 0).astype(np.float32)
    return volume / volume.mean(), mask


def ball(shape: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return noise inside the largest ellipsoid of a grid, and that ellipsoid: a quick brain."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    mask = sum(axis**2 for axis in axes) < 0.8
    noise = np.random.default_rng(0).standard_normal(tuple(shape))
    return np.where(mask, noise, 0).astype(np.float32), mask


def compact_regions(mask: NDArray[np.bool_], n_regions: int) -> NDArray[np.int32]:
    """Parcel a mask into compact regions of about equal size, mirrored left to right."""
    return _mirrored(mask, n_regions // 2, (1.0, 1.0, 1.0))


def cortical_shells(mask: NDArray[np.bool_], n_regions: int) -> NDArray[np.int32]:
    """Parcel the outer 18 mm into curved, elongated regions."""
    from scipy import ndimage

    shell = mask & (ndimage.distance_transform_edt(mask) <= 18)
    return _mirrored(shell, n_regions // 2, (1.0, 0.35, 0.8))


def calibrated(network, volume: NDArray[np.float32], seed: int = 0):
    """Give a network random weights whose activations have the size of a trained one's."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    batch = torch.from_numpy(volume)[None, None]
    with torch.no_grad():
        network.train()(torch.cat([batch, batch.flip(2)]))
    return network.eval()


def _cropped(array: NDArray, shape: Sequence[int]) -> NDArray:
    """Cut or pad around the middle."""
    out = np.zeros(tuple(shape), array.dtype)
    source, target = [], []
    for have, want in zip(array.shape, shape, strict=True):
        n = min(have, want)
        source.append(slice((have - n) // 2, (have - n) // 2 + n))
        target.append(slice((want - n) // 2, (want - n) // 2 + n))
    out[tuple(target)] = array[tuple(source)]
    return out


def _mirrored(
    mask: NDArray[np.bool_], n_regions: int, stretch: Sequence[float]
) -> NDArray[np.int32]:
    from scipy.spatial import cKDTree

    half = mask.shape[0] // 2
    voxels = np.argwhere(mask[:half])
    points = voxels * np.asarray(stretch)
    centres = points[np.random.default_rng(0).choice(len(points), n_regions, replace=False)]
    for _ in range(12):
        nearest = cKDTree(centres).query(points)[1]
        sizes = np.maximum(np.bincount(nearest, minlength=n_regions), 1)
        centres = np.stack(
            [np.bincount(nearest, points[:, d], n_regions) / sizes for d in range(3)], axis=1
        )
    labels = np.zeros(mask.shape, np.int32)
    labels[tuple(voxels.T)] = cKDTree(centres).query(points)[1] + 1
    left = labels[:half]
    labels[-half:] = np.where(left > 0, left + n_regions, 0)[::-1]
    return labels
