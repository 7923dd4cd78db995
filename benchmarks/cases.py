"""What the occlusion benchmarks occlude: a network, a volume and regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidsapp_brainage.model.networks.sfcn import SFCN

from .anatomy import ball, brain, calibrated, compact_regions, cortical_shells

PENG_CHANNELS = (32, 64, 128, 256, 256, 64)
QUICK_CHANNELS = (4, 8, 8, 8, 8, 8)
QUICK_GRID = (48, 48, 48)
FIRST_AGE = 42
LOGIT_SPREAD = 4.0


@dataclass(frozen=True)
class Case:
    """A network with a volume and two parcellations of it.

    Attributes
    ----------
    channels : tuple of int
        Of :class:`SFCN`.
    network : SFCN
        With random weights, calibrated so that activations have the size of a trained one's.
    volume : ndarray of float32
    mask : ndarray of bool
    regions, shells : ndarray of int32
        Compact regions, and curved ones in the outer part of the mask.
    """

    channels: tuple[int, ...]
    network: nn.Module
    volume: NDArray[np.float32]
    mask: NDArray[np.bool_]
    regions: NDArray[np.int32]
    shells: NDArray[np.int32]

    @classmethod
    def make(cls, *, quick: bool) -> Case:
        """Make the case: SFCN, 246 compact regions and 100 shells, or a tiny one."""
        channels = QUICK_CHANNELS if quick else PENG_CHANNELS
        volume, mask = ball(QUICK_GRID) if quick else brain()
        return cls(
            channels=channels,
            network=sharpened(calibrated(SFCN(channels), volume), volume),
            volume=volume,
            mask=mask,
            regions=compact_regions(mask, 12 if quick else 246),
            shells=cortical_shells(mask, 8 if quick else 100),
        )

    def save(self, folder: Path) -> None:
        """Write the case for child processes, which must not pay for making it."""
        np.savez(
            folder / "case.npz",
            channels=self.channels, volume=self.volume, mask=self.mask,
            regions=self.regions, shells=self.shells,
        )  # fmt: skip
        torch.save(self.network.state_dict(), folder / "network.pt")

    @classmethod
    def load(cls, folder: Path) -> Case:
        """Read a case."""
        with np.load(folder / "case.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        channels = tuple(arrays.pop("channels").tolist())
        network = SFCN(channels)
        network.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
        return cls(channels, network.eval(), **arrays)

    @property
    def input(self) -> Tensor:
        """The volume as a network takes it, (1, 1, D, H, W)."""
        return torch.from_numpy(self.volume)[None, None]

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Large masks by name."""
        hemisphere = self.mask.copy()
        hemisphere[hemisphere.shape[0] // 2 :] = False
        return {
            "one lobe (1/8 of the brain)": compact_regions(self.mask, 8) == 1,
            "one hemisphere": hemisphere,
            "whole brain": self.mask,
            "whole volume": np.ones_like(self.mask),
        }


def sharpened(network: SFCN, volume: NDArray[np.float32]) -> SFCN:
    """Scale the last layer, so that the age distribution is about as narrow as a trained one's.

    A flat distribution would hide differences.
    """
    with torch.inference_mode():
        spread = network(torch.from_numpy(volume)[None, None]).std()
    head = list(network.classifier)[-1]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(LOGIT_SPREAD / float(spread))
    return network


def labels_of(image: NDArray[np.integer]) -> range:
    """Labels of a parcellation."""
    return range(1, int(image.max()) + 1)


def ages(logits: Tensor) -> Tensor:
    """Mean ages in years of logits (N, one-year bins from 42)."""
    centres = torch.arange(logits.shape[1], dtype=torch.float64) + FIRST_AGE + 0.5
    return torch.softmax(logits.double().cpu(), dim=1) @ centres


def decode(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and ages, as :mod:`bidsapp_brainage.explain` wants a decoder."""
    return torch.softmax(logits.double(), dim=1), ages(logits)


def occluded(case: Case, labels: NDArray[np.integer], indices: Sequence[int]) -> Tensor:
    """Ages of full forward passes over volumes with a region set to 0, float32 arithmetic."""
    logits = []
    with torch.inference_mode():
        for index in indices:
            volume = torch.from_numpy(np.where(labels == index, np.float32(0), case.volume))
            logits.append(case.network(volume[None, None]))
    return ages(torch.cat(logits))
