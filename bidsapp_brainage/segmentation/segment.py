"""From a T1w image to tissue and regions on the grid of the segmentation network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from bidsapp_brainage.imaging.network_input import Tissue, brought_to, card_grid
from bidsapp_brainage.model.device import cpu_threads

from .input import RIM_VOXELS, evened, segmentation_input
from .labels import TISSUES, Labels
from .overlap import dice

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .card import SegmentationCard
    from .network import SegmentationNet

#: A tissue that makes up less of what is found inside the skull was not found.
MIN_TISSUE_SHARE = 0.01
_TOGETHER = 2048  # voxels whose posteriors stay in the processor's cache


@dataclass(frozen=True)
class Segmentation:
    """What the network says about every voxel of the brain and of its rim.

    Attributes
    ----------
    where : ndarray of bool, shape (D, H, W)
        Voxels that the network was asked about; none if there is no brain mask on the grid.
    posteriors : ndarray of float32, shape (n_voxels, n_classes)
        Of these voxels in the order of ``where``; each row sums to 1.
    mask : ndarray of bool, shape (D, H, W)
        The brain mask that was given.
    affine : ndarray, shape (4, 4)
        Voxels of the grid to template RAS mm.
    to_t1w : ndarray, shape (4, 4)
        Template RAS mm to T1w RAS mm.
    labels : Labels
        Regions in the order of the classes; class 0 is outside the brain.
    """

    where: np.ndarray
    posteriors: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    to_t1w: np.ndarray
    labels: Labels

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of the grid in the person's own space."""
        scale = abs(np.linalg.det(self.to_t1w[:3, :3] @ self.affine[:3, :3]))
        return float(scale) / 1000

    @cached_property
    def brain(self) -> np.ndarray:
        """Voxels that are rather inside the brain than outside, bool, shape (D, H, W)."""
        return self.on_grid(self.posteriors[:, 0] <= 0.5)

    @cached_property
    def dseg(self) -> np.ndarray:
        """Index of the most probable region, int16, shape (D, H, W); 0 outside the brain."""
        return self.on_grid(self.labels.indices[self.posteriors.argmax(axis=1)].astype(np.int16))

    @cached_property
    def tissues(self) -> np.ndarray:
        """Posteriors of ``TISSUES``, float32, shape (n_voxels, 3)."""
        member = self.labels.tissues[:, None] == np.arange(len(TISSUES))
        return np.asarray(self.posteriors @ member.astype(np.float32))

    @property
    def mask_dice(self) -> float:
        """Dice overlap of the given mask with the brain that was found; 0 without brain."""
        return dice(self.mask, self.brain) if self.mask.any() else 0.0

    @property
    def tissues_found(self) -> int:
        """Of fluid, grey and white matter, those that make up a part of what was found."""
        amounts = self.tissues[self.posteriors[:, 0] <= 0.5].sum(axis=0)
        return int((amounts > MIN_TISSUE_SHARE * amounts.sum()).sum())

    @property
    def tissue(self) -> Tissue:
        """Tissue units as images: what the posteriors expect (fluid 0, grey matter 1, white 2).

        Outside the brain they are 0. (The units that the network learns beside follow the
        intensities of its training scanner: ages of people of another one were off by decades.)
        """
        expected = self.tissues @ np.arange(len(TISSUES), dtype=np.float32)
        units = np.where(self.brain, self.on_grid(expected), np.float32(0))
        within = self.labels.indices[1 + self.posteriors[:, 1:].argmax(axis=1)]
        regions = np.where(self.brain, self.on_grid(within), 0)
        return Tissue(
            nib.Nifti1Image(units.astype(np.float32), self.affine),
            nib.Nifti1Image(regions.astype(np.int16), self.affine),
        )

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Values (n_voxels,) as a volume (D, H, W), 0 elsewhere."""
        volume = np.zeros(self.where.shape, dtype=values.dtype)
        volume[self.where] = values
        return volume


def segment(
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    affine: np.ndarray,
    network: SegmentationNet,
    card: SegmentationCard,
    *,
    n_threads: int | None = None,
) -> Segmentation:
    """Segment a brain, whatever its contrast.

    Parameters
    ----------
    t1w, mask : nibabel.Nifti1Image
        Bias-corrected T1w and brain mask on one grid.
    affine : ndarray, shape (4, 4)
        Template RAS mm to T1w RAS mm.
    network : SegmentationNet
        From :func:`.card.load_network`.
    card : SegmentationCard
        Its grid and regions.
    n_threads : int, optional
        CPU threads; None leaves torch's setting alone.

    Returns
    -------
    Segmentation
        With no voxel at all where the mask is empty on the grid.

    Raises
    ------
    DataError
        The image is the same everywhere inside the mask.
    """
    volume, inside = brought_to(card_grid(card.grid), t1w, mask, affine, rim=RIM_VOXELS)
    return segment_on_grid(volume, inside, affine, network, card, n_threads=n_threads)


def segment_on_grid(
    volume: np.ndarray,
    inside: np.ndarray,
    affine: np.ndarray,
    network: SegmentationNet,
    card: SegmentationCard,
    *,
    both_ways: bool = True,
    n_threads: int | None = None,
) -> Segmentation:
    """Segment a brain that is on the network's grid; all else as :func:`segment`.

    `volume` (float32) and `inside` (bool) are T1w and brain mask, shape (D, H, W). The answers are
    averaged over the brain and its mirror image, unless `both_ways` is False, which takes half the
    time.
    """
    where = np.zeros(volume.shape, dtype=bool)
    posteriors = np.zeros((0, card.labels.n_classes), dtype=np.float32)
    if inside.any():
        grid = np.array(card.grid["affine"], dtype=float)
        scaled, where = segmentation_input(evened(volume, inside, grid), inside)
        with cpu_threads(n_threads):
            posteriors = answers(network, scaled, where, card.labels, both_ways=both_ways)
    return Segmentation(
        where=where,
        posteriors=posteriors,
        mask=inside,
        affine=np.array(card.grid["affine"], dtype=float),
        to_t1w=np.asarray(affine, dtype=float),
        labels=card.labels,
    )


def answers(
    network: SegmentationNet,
    scaled: np.ndarray,
    where: np.ndarray,
    labels: Labels,
    *,
    both_ways: bool = True,
) -> np.ndarray:
    """Posteriors of the voxels that a network is asked about.

    Parameters
    ----------
    network : SegmentationNet
    scaled, where : ndarray, shape (D, H, W)
        From :func:`.input.segmentation_input`; the first axis runs from left to right or back.
    labels : Labels
        Its classes, with those of the other side.
    both_ways : bool
        Average over the brain and its mirror image.

    Returns
    -------
    posteriors : ndarray of float32, shape (n_voxels, n_classes)
    """
    import torch

    voxels = np.argwhere(where)
    posteriors = np.empty((len(voxels), labels.n_classes), dtype=np.float32)
    with torch.inference_mode():
        hidden, classes = [_hidden(network, scaled, voxels)], [network.classes]
        if both_ways:
            voxels[:, 0] = where.shape[0] - 1 - voxels[:, 0]
            hidden.append(_hidden(network, scaled[::-1], voxels))
            classes.append(_reordered(network.classes, labels.mirrored))
        for start in range(0, len(voxels), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            ways = [
                torch.softmax(own(seen[part]), dim=1)
                for seen, own in zip(hidden, classes, strict=True)
            ]
            posteriors[part] = sum(ways) / len(ways)
    return posteriors


def _hidden(network: SegmentationNet, scaled: np.ndarray, voxels: np.ndarray) -> Tensor:
    import torch

    x = torch.from_numpy(np.ascontiguousarray(scaled))[None, None]
    return network.hidden(x, torch.from_numpy(voxels)).float()


def _reordered(classes: nn.Linear, order: np.ndarray) -> nn.Linear:
    """The same layer with its outputs in another order."""
    from torch import nn

    layer = nn.Linear(classes.in_features, classes.out_features)
    layer.weight = nn.Parameter(classes.weight[order], requires_grad=False)
    layer.bias = nn.Parameter(classes.bias[order], requires_grad=False)
    return layer
