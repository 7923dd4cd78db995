"""A tiny ensemble, a volume and six regions, and the age of any volume by a full pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from bidsapp_brainage.explain.engine.planning.plan import label_patches
from bidsapp_brainage.explain.engine.planning.regions import count
from bidsapp_brainage.explain.ensemble import Ensemble, Occluder
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession, Results

ENGINES = ("incremental", "loop")
EMPTY = 4  # the region without voxels
FILL = -1.5
N_BINS = 7
GRID = (8, 9, 8)


def decode(logits):
    probabilities = torch.softmax(logits.double(), dim=1)
    centers = 15.0 + 2.0 * torch.arange(N_BINS, dtype=torch.float64)
    return probabilities, probabilities @ centers.to(logits.device)


def tiny_network(seed: int, *, inplace: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1),
        nn.BatchNorm3d(3),
        nn.ReLU(inplace=inplace),
        nn.MaxPool3d(2),
        nn.Conv3d(3, 4, 3, padding=1),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, N_BINS),
    )
    with torch.no_grad():
        network[-1].weight.mul_(4)
    return network.eval()


@dataclass
class Toy:
    members: list
    volume: np.ndarray
    labels: np.ndarray
    n_regions: int = 6

    @property
    def indices(self) -> list[int]:
        return list(range(1, self.n_regions + 1))

    @property
    def patches(self) -> list:
        return label_patches(self.labels, self.indices)

    @property
    def n_voxels(self) -> list[int]:
        return [count(patch) for patch in self.patches]

    def occluder(self, engine: str, patches: list | None = None) -> Occluder:
        regions = self.patches if patches is None else patches
        return self.ensemble(engine).open(self.volume, regions)

    def ensemble(self, engine: str = "auto") -> Ensemble:
        return Ensemble(tuple(self.members), decode, engine=engine)

    def age(self, regions=(), fill=FILL) -> float:
        """Age with some regions (numbers from 0) occluded, by definition."""
        hidden = np.isin(self.labels, [self.indices[region] for region in regions])
        return self.age_of(np.where(hidden, fill, self.volume))

    def age_of(self, volume) -> float:
        batch = torch.as_tensor(volume)[None, None]
        with torch.inference_mode():
            return float(np.mean([decode(member(batch))[1].item() for member in self.members]))


def make_toy(seed: int = 5) -> Toy:
    """In float64, so that engines and full passes agree to 1e-9 or so."""
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=(8, 7, 6))
    labels = rng.integers(0, 7, size=volume.shape)
    labels[labels == EMPTY + 1] = 0
    return Toy([tiny_network(seed + k).double() for k in range(2)], volume, labels)


def bits(occluder: Occluder) -> tuple[bytes, bytes]:
    """The occluder's state, as far as its answers show it."""
    intact, occluded = occluder.intact, occluder.occlude(FILL)
    return (
        intact.probabilities.tobytes() + intact.ages.tobytes(),
        occluded.probabilities.tobytes() + occluded.ages.tobytes(),
    )


def planted(*, gain: float = 1.0, centre: float = 0.0) -> nn.Module:
    """Predictions by the mean intensity of one corner alone, in a way that is not linear.

    The answer is the middle of the ages where the mean, taken over the whole image, is `centre`.
    """
    front = nn.Conv3d(1, 2, 3, padding=1)
    network = nn.Sequential(front, nn.ReLU(), nn.Flatten(), nn.Linear(2 * 576, 7))
    corner = torch.zeros(2, *GRID)
    corner[:, :4, :4, :4] = 1 / 576
    slope = gain * torch.linspace(-9, 9, 7)
    with torch.no_grad():
        front.weight.zero_()
        front.weight[:, 0, 1, 1, 1] = 1.0
        front.bias.zero_()
        network[-1].weight.copy_(slope[:, None] * corner.flatten())
        network[-1].bias.copy_(-2 * centre * slope)
    return network.eval()


def make_input(*members: nn.Module, **changes) -> ExplanationInput:
    """Four regions on a small grid, and an empty one."""
    rng = np.random.default_rng(4)
    volume = rng.uniform(0.5, 1.5, size=GRID).astype(np.float32)
    labels = np.zeros(GRID, np.int32)
    labels[:4, :4, :4], labels[4:, :4, :4], labels[:4, 5:, :4], labels[4:, 5:, 4:] = 1, 2, 3, 4
    atlas = pd.DataFrame({"index": [1, 2, 3, 4, 9], "name": list("abcde")})
    ensemble = Ensemble(members, decode)
    return ExplanationInput(ensemble, volume, labels, atlas, voxel_ml=0.008, **changes)


def explain(key: str, inputs: ExplanationInput, **options) -> Results:
    """Results of one method."""
    return find(key)(ExplanationSession(inputs), **options)
