"""What a region is replaced by when it is occluded: the fill, one volume for all regions.

Regions of a label image do not overlap, so the fills of all regions fit into a single volume:
voxel ``p`` holds the value that the network sees at ``p`` while the region of ``p`` is occluded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp_brainage.errors import UsageError

from .engine.geometry import Patch

BaselineName = Literal["background", "mean", "blur", "template"]

BLUR_SIGMA_VOXELS = 4.0  # 8 mm on a 2 mm grid: wider than the cortex is thick
FEATHER_VOXELS = 1  # depth of the rim in which a blurred region blends into its surroundings
SHELL_VOXELS = 2  # how far the neighbourhood of a region reaches
#: Fills that depend on the outline of what is occluded.
OUTLINED = ("mean", "blur")


def make_fill(
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    baseline: str | NDArray[np.floating] = "background",
    background: float = 0.0,
    template: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """Return the fill of every region as one volume.

    Parameters
    ----------
    volume : ndarray, shape (D, H, W)
        Network input, in the intensity units of the model card.
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel; 0 is outside.
    indices : sequence of int
        Labels of the regions that will be occluded.
    baseline : {"background", "mean", "blur", "template"} or ndarray of shape (D, H, W)
        ``background`` is the constant that the network knows as "no brain here"; ``mean`` is the
        mean brain intensity within two voxels around the region; ``blur`` is the brain smoothed
        by a Gaussian of 4 voxels, of which the outermost voxel of a region takes half, so that
        no edge betrays the region's outline (Balasubramanian and Feizi 2023, arXiv 2211.14646);
        ``template`` is the average brain at the same place; an array is taken as it is.
    background : float
        Intensity of non-brain voxels.
    template : ndarray of shape (D, H, W), optional
        The average brain, scaled like the volume; only for ``template``.

    Returns
    -------
    ndarray of float32, shape (D, H, W)
        ``mean`` and ``blur`` leave background voxels as they are: they never invent brain.

    Raises
    ------
    UsageError
        If the name is unknown or the shapes differ.
    """
    _check_shape("labels", labels, volume)
    if not isinstance(baseline, str):
        _check_shape("baseline", baseline, volume)
        return np.asarray(baseline, dtype=np.float32)
    if baseline == "background":
        return np.full(volume.shape, background, dtype=np.float32)
    if baseline == "mean":
        return _local_mean(volume, labels, indices, background)
    if baseline == "blur":
        return _feathered(volume, _blur(volume, background), labels, indices)
    if baseline == "template":
        if template is None:
            raise UsageError("The occlusion baseline 'template' needs the template image.")
        _check_shape("template", template, volume)
        return np.asarray(template, dtype=np.float32)
    known = ", ".join(get_args(BaselineName))
    raise UsageError(f"Unknown occlusion baseline {baseline!r}; use one of: {known}.")


def _check_shape(name: str, array: NDArray[np.generic], volume: NDArray[np.floating]) -> None:
    if array.shape != volume.shape:
        raise UsageError(
            f"The {name} image has shape {array.shape} but the network input has "
            f"{volume.shape}; resample it on the grid of the network input."
        )


def _local_mean(
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    background: float,
) -> NDArray[np.float32]:
    fill = volume.astype(np.float32)
    brain = volume != background
    if not brain.any():
        return fill
    whole_mean = float(volume[brain].mean())
    boxes = ndimage.find_objects(np.maximum(labels, 0).astype(np.int64))
    for index in indices:
        box = boxes[index - 1] if 0 < index <= len(boxes) else None
        if box is None:
            continue
        wide = tuple(slice(max(s.start - SHELL_VOXELS, 0), s.stop + SHELL_VOXELS) for s in box)
        region = labels[wide] == index
        shell = ndimage.binary_dilation(region, iterations=SHELL_VOXELS) & ~region & brain[wide]
        value = float(volume[wide][shell].mean()) if shell.any() else whole_mean
        fill[wide][region & brain[wide]] = value
    return fill


def _blur(volume: NDArray[np.floating], background: float) -> NDArray[np.float32]:
    # Normalised convolution: the background does not bleed into the brain.
    brain = volume != background
    weight = ndimage.gaussian_filter(brain.astype(np.float32), BLUR_SIGMA_VOXELS)
    inside = np.where(brain, volume, 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(inside, BLUR_SIGMA_VOXELS)
    fill = volume.astype(np.float32)
    fill[brain] = smooth[brain] / weight[brain]
    return fill


def _feathered(
    volume: NDArray[np.floating],
    fill: NDArray[np.float32],
    labels: NDArray[np.integer],
    indices: Sequence[int],
) -> NDArray[np.float32]:
    """Blend a fill into the volume at the rim of each region; whole outside the regions."""
    weight = np.ones(volume.shape, dtype=np.float32)
    boxes = ndimage.find_objects(np.maximum(labels, 0).astype(np.int64))
    for index in indices:
        box = boxes[index - 1] if 0 < index <= len(boxes) else None
        if box is None:
            continue
        region = np.pad(labels[box] == index, 1)
        inner = (slice(1, -1),) * volume.ndim
        depth = ndimage.distance_transform_cdt(region, metric="taxicab")[inner]
        inside = region[inner]
        weight[box][inside] = np.minimum(depth[inside] / (FEATHER_VOXELS + 1), 1)
    return np.asarray(volume + weight * (fill - volume), dtype=np.float32)


def disjoint_layers(
    patches: Sequence[Patch], shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.int32], list[int]]]:
    """Sort patches that may overlap into label images in which none do.

    Parameters
    ----------
    patches : sequence of Patch
    shape : tuple of int
        Grid of the label images.

    Yields
    ------
    labels : ndarray of int32, shape `shape`
        The number of a patch plus one; 0 outside.
    numbers : list of int
        Of the patches of this layer.
    """
    waiting = list(range(len(patches)))
    while waiting:
        labels, later = np.zeros(shape, dtype=np.int32), []
        for number in waiting:
            patch = patches[number]
            where = tuple(slice(a, b) for a, b in zip(patch.origin, patch.end, strict=True))
            if labels[where][patch.box].any():
                later.append(number)
            else:
                labels[where][patch.box] = number + 1
        yield labels, [number for number in waiting if number not in set(later)]
        waiting = later
