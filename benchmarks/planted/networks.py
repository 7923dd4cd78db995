"""Small networks that learn planted ages: a convolutional one and a linear one on tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn
from torch.nn import functional

from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.model.networks.sfcn import SFCN
from bidsapp_brainage.model.outputs import Head

from .anatomies import SHAPE, Anatomy
from .plants import FIRST_AGE, LAST_AGE, Plant

LOWER, WIDTH, N_BINS = 5.0, 3.0, 30
LABEL_SD = 4.0
HEAD = Head("age", "bins", "year", LOWER, WIDTH, N_BINS)
CHANNELS = (12, 24, 32, 16)
EPOCHS, BATCH, PEAK_RATE = 24, 8, 4e-3
SHIFT = 1  # voxels by which copies of images are moved at most
PENALTIES = tuple(10.0**power for power in range(-2, 6))


@dataclass(frozen=True)
class Cohort:
    """Volumes (n, D, H, W) as float16, labels and ages of people."""

    volumes: NDArray[np.float16]
    labels: NDArray[np.int16]
    ages: NDArray[np.float64]


def cohort(
    anatomy: Anatomy, plant: Plant, people: range, seed: int, step: Callable[[int, int], None]
) -> Cohort:
    """People with planted ages; who they are does not depend on the plant."""
    rng = np.random.default_rng([seed, 1])
    ages = rng.uniform(FIRST_AGE, LAST_AGE, people.stop)[people.start :]
    volumes = np.empty((len(people), *SHAPE), np.float16)
    labels = np.empty((len(people), *SHAPE), np.int16)
    for k, (person, age) in enumerate(zip(people, ages, strict=True)):
        own = np.random.default_rng([seed, 2, person])
        brain = plant.aged(anatomy.brain(1000 * seed + person), age, own)
        volumes[k], labels[k] = brain.volume, brain.labels
        step(k + 1, len(people))
    return Cohort(volumes, labels, ages)


def decode(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of the bins, and ages."""
    probabilities, ages = HEAD.decode(logits)
    assert probabilities is not None
    return probabilities, ages


def convolutional(people: Cohort, seed: int, step: Callable[[int, int], None]) -> nn.Module:
    """An SFCN that learns the distribution over bins of age."""
    torch.manual_seed(seed)
    network = SFCN(CHANNELS, N_BINS, 0.2, stem_stride=2)
    n_steps = EPOCHS * (len(people.ages) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=n_steps)
    rng = np.random.default_rng([seed, 3])
    for number in range(n_steps):
        if number % (n_steps // EPOCHS) == 0:
            order = rng.permutation(len(people.ages))
            step(number * EPOCHS // n_steps, EPOCHS)
        at = number % (n_steps // EPOCHS) * BATCH
        chosen = order[at : at + BATCH]
        shifts = rng.integers(-SHIFT, SHIFT + 1, 3)
        batch = torch.from_numpy(people.volumes[chosen].astype(np.float32))[:, None]
        batch = torch.roll(batch, tuple(int(n) for n in shifts), (2, 3, 4))
        batch = batch.to(memory_format=torch.channels_last_3d)
        loss = functional.kl_div(
            torch.log_softmax(network(batch), 1), _soft(people.ages[chosen]), reduction="batchmean"
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def linear(people: Cohort, seed: int, step: Callable[[int, int], None]) -> nn.Module:
    """Ridge regression on local amounts of grey and white matter."""
    network = TissueLinear(SHAPE, LOWER, WIDTH, N_BINS, label_sd=LABEL_SD)
    maps = []
    with torch.inference_mode():
        for volume in people.volumes:
            maps.append(
                network.amount_maps(torch.from_numpy(volume.astype(np.float32))[None, None])
            )
    features = torch.cat(maps).flatten(1).numpy()
    fitted = RidgeCV(PENALTIES).fit(features, people.ages)
    network.set_sum(torch.from_numpy(fitted.coef_).float(), float(fitted.intercept_))
    return network.eval()


NETWORKS = {"convolutional": convolutional, "linear": linear}


def predicted(network: nn.Module, people: Cohort) -> NDArray[np.float64]:
    """Ages (years)."""
    with torch.inference_mode():
        return np.array([
            float(decode(network(torch.from_numpy(volume.astype(np.float32))[None, None]))[1][0])
            for volume in people.volumes
        ])  # fmt: skip


def _soft(ages: NDArray[np.float64]) -> Tensor:
    away = torch.from_numpy(ages).float()[:, None] - torch.from_numpy(HEAD.bin_centers).float()
    return torch.softmax(-(away**2) / (2 * LABEL_SD**2), 1)
