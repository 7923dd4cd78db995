"""What a region is replaced by when it is occluded: the fill, one volume for all regions.

Regions of a label image do not overlap, so the fills of all regions fit into a single volume:
voxel ``p`` holds the value that the network sees at ``p`` while the region of ``p`` is occluded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.errors import UsageError

from .engine.geometry import Patch

Fill: TypeAlias = float | NDArray[np.floating]
"""What occluded voxels hold: a constant, or a volume (D, H, W)."""

BLUR_SIGMA_VOXELS = 4.0  # 8 mm on a 2 mm grid: wider than the cortex is thick
FEATHER_VOXELS = 1  # depth of the rim in which a blurred region blends into its surroundings
SHELL_VOXELS = 2  # how far the neighbourhood of a region reaches


@dataclass(frozen=True)
class Scene:
    """What a fill is made from.

    Attributes
    ----------
    volume : ndarray, shape (D, H, W)
        Network input, in the intensity units of the model card.
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel; 0 is outside.
    indices : sequence of int
        Labels of the regions that will be occluded.
    background : float
        Intensity of non-brain voxels.
    template : ndarray of shape (D, H, W), optional
        The average brain, scaled like the volume; only for the baseline of this name.
    """

    volume: NDArray[np.floating]
    labels: NDArray[np.integer]
    indices: Sequence[int]
    background: float = 0.0
    template: NDArray[np.floating] | None = None

    @property
    def brain(self) -> NDArray[np.bool_]:
        """Voxels that are not background."""
        return np.asarray(self.volume != self.background)


def make_fill(
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    baseline: str | NDArray[np.floating] = "background",
    background: float = 0.0,
    template: NDArray[np.floating] | None = None,
) -> Fill:
    """Return the fill of every region at once.

    Parameters
    ----------
    volume, labels, indices, background, template
        See :class:`Scene`.
    baseline : str or ndarray of shape (D, H, W)
        A key of :data:`bidsapp_brainage.catalogue.baselines.BASELINES`; the function
        ``fill_KEY`` of this module makes the fill. An array is taken as it is.

    Returns
    -------
    float or ndarray of float32, shape (D, H, W)
        A number where one does for all regions.

    Raises
    ------
    UsageError
        If the name is unknown or the shapes differ.
    """
    _check_shape("labels", labels, volume)
    if not isinstance(baseline, str):
        _check_shape("baseline", baseline, volume)
        return np.asarray(baseline, dtype=np.float32)
    known = [card.key for card in BASELINES]
    if baseline not in known:
        raise UsageError(
            f"Unknown occlusion baseline {baseline!r}; use one of: {', '.join(known)}."
        )
    fill: Fill = globals()[f"fill_{baseline}"](Scene(volume, labels, indices, background, template))
    return fill


def fill_background(scene: Scene) -> float:
    """The constant that the network knows as "no brain here"."""
    return float(scene.background)


def fill_mean(scene: Scene) -> NDArray[np.float32]:
    """Mean brain intensity within two voxels around each region; background stays as it is."""
    volume, labels, brain = scene.volume, scene.labels, scene.brain
    fill = volume.astype(np.float32)
    if not brain.any():
        return fill
    whole_mean = float(volume[brain].mean())
    for index, wide in region_boxes(labels, scene.indices, SHELL_VOXELS):
        region = labels[wide] == index
        shell = ndimage.binary_dilation(region, iterations=SHELL_VOXELS) & ~region & brain[wide]
        value = float(volume[wide][shell].mean()) if shell.any() else whole_mean
        fill[wide][region & brain[wide]] = value
    return fill


def fill_closed(scene: Scene) -> NDArray[np.float32]:
    """The nearest voxel outside each region: what closes in when the region shrinks to nothing."""
    fill = scene.volume.astype(np.float32)
    # The nearest voxel outside is never further away than one beyond the box.
    for index, wide in region_boxes(scene.labels, scene.indices, 1):
        region = scene.labels[wide] == index
        if region.all():
            continue  # nothing lies around it
        nearest = ndimage.distance_transform_edt(
            region, return_distances=False, return_indices=True
        )
        fill[wide][region] = scene.volume[wide][tuple(axis[region] for axis in nearest)]
    return fill


def fill_blur(scene: Scene) -> NDArray[np.float32]:
    """The brain smoothed by a Gaussian of 4 voxels; background stays as it is.

    The outermost voxel of a region takes half of it, so that no edge betrays the region's outline
    (Balasubramanian and Feizi 2023, arXiv 2211.14646).
    """
    weight = np.ones(scene.volume.shape, dtype=np.float32)
    for index, box in region_boxes(scene.labels, scene.indices):
        region = np.pad(scene.labels[box] == index, 1)
        inner = (slice(1, -1),) * scene.volume.ndim
        depth = ndimage.distance_transform_cdt(region, metric="taxicab")[inner]
        inside = region[inner]
        weight[box][inside] = np.minimum(depth[inside] / (FEATHER_VOXELS + 1), 1)
    blurred = _blurred(scene.volume, scene.brain)
    return np.asarray(scene.volume + weight * (blurred - scene.volume), dtype=np.float32)


def fill_template(scene: Scene) -> NDArray[np.float32]:
    """The average brain at the same place.

    Raises
    ------
    UsageError
        There is no template, or it has another shape.
    """
    if scene.template is None:
        raise UsageError("The occlusion baseline 'template' needs the template image.")
    _check_shape("template", scene.template, scene.volume)
    return np.asarray(scene.template, dtype=np.float32)


def _check_shape(name: str, array: NDArray[np.generic], volume: NDArray[np.floating]) -> None:
    if array.shape != volume.shape:
        raise UsageError(
            f"The {name} image has shape {array.shape} but the network input has "
            f"{volume.shape}; resample it on the grid of the network input."
        )


def region_boxes(
    labels: NDArray[np.integer], indices: Sequence[int], margin: int = 0
) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Bounding box of each region that has voxels, with so many voxels more on every side."""
    boxes = ndimage.find_objects(np.maximum(labels, 0).astype(np.int64))
    for index in indices:
        box = boxes[index - 1] if 0 < index <= len(boxes) else None
        if box is not None:
            yield index, tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)


def _blurred(volume: NDArray[np.floating], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    # Normalised convolution: the background does not bleed into the brain.
    weight = ndimage.gaussian_filter(brain.astype(np.float32), BLUR_SIGMA_VOXELS)
    inside = np.where(brain, volume, 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(inside, BLUR_SIGMA_VOXELS)
    fill = volume.astype(np.float32)
    fill[brain] = smooth[brain] / weight[brain]
    return fill


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
