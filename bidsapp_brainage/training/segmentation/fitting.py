"""Gradient descent on images made as they are needed; stops and resumes."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from bidsapp_brainage.segmentation.labels import TISSUES, Labels, muse_labels
from bidsapp_brainage.segmentation.network import SegmentationNet
from bidsapp_brainage.training.fitting.loop import update_average
from bidsapp_brainage.training.fitting.state import STATE, Stateful, keep, resume

from .subjects import load_subject
from .synthesis import Example, example

_KEEP_EVERY = 100  # steps


@dataclass(frozen=True)
class Recipe:
    """How the segmentation network is trained.

    Attributes
    ----------
    steps : int
        Images seen.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to 0 along a cosine after ``warm_up`` steps.
    voxels : int
        Drawn from every image for the loss.
    balanced : float
        Part of them that is drawn with equal shares for all classes.
    tissue_weight, units_weight : float
        Weights of the cross entropy of tissues and of the error of tissue units, beside the cross
        entropy of regions.
    ema_decay : float
        Of the running mean of the weights, which is what is kept.
    """

    steps: int = 1700
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warm_up: int = 100
    voxels: int = 60_000
    balanced: float = 0.25
    tissue_weight: float = 2.0
    units_weight: float = 2.0
    ema_decay: float = 0.995
    seed: int = 20261121


class Examples(IterableDataset):  # type: ignore[misc]
    """Endless random images of packed people."""

    def __init__(self, folder: Path, left_out: Sequence[str], seed: int) -> None:
        self.folder, self.left_out, self.seed = folder, set(left_out), seed

    def __iter__(self) -> Iterator[Example]:
        """Draw people and make images of them."""
        worker = get_worker_info()
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        labels = muse_labels()
        paths = [p for p in sorted(self.folder.glob("*.npz")) if p.stem not in self.left_out]
        while True:
            yield example(load_subject(paths[rng.integers(len(paths))]), labels, rng)


def fit(folder: Path, left_out: Sequence[str], out: Path, recipe: Recipe, workers: int) -> None:
    """Train, going on from the last state kept in ``out``; see :class:`Recipe`."""
    torch.manual_seed(recipe.seed)
    labels = muse_labels()
    network = SegmentationNet(labels.n_classes)
    mean = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    parts: dict[str, Stateful] = {"network": network, "mean": mean, "optimizer": optimizer}
    step = resume(out / STATE, parts)
    data = DataLoader(
        Examples(folder, left_out, recipe.seed + step), batch_size=None, num_workers=workers
    )
    rng = np.random.default_rng([recipe.seed, step])
    began, losses = time.time(), []
    for image in data:
        if step >= recipe.steps:
            break
        _schedule(optimizer, recipe, step)
        losses.append(_step(network, optimizer, image, labels, recipe, rng))
        update_average(mean, network, min(recipe.ema_decay, step / (step + 10)))
        step += 1
        if step % 20 == 0:
            entropy, error = np.mean(losses[-20:], axis=0)
            each = (time.time() - began) / len(losses)
            print(
                f"{step}/{recipe.steps} ce {entropy:.3f} units {error:.3f} {each:.2f} s", flush=True
            )
        if step % _KEEP_EVERY == 0 or step == recipe.steps:
            keep(out / STATE, parts, step)


def _step(
    network: SegmentationNet,
    optimizer: torch.optim.Optimizer,
    image: Example,
    labels: Labels,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[float, float]:
    where = _drawn(image, labels, recipe, rng)
    x = torch.from_numpy(image.image)[None, None].contiguous(memory_format=torch.channels_last_3d)
    classes = torch.from_numpy(image.classes[where])
    units = torch.from_numpy(image.units[where])
    with torch.autocast("cpu", torch.bfloat16):
        logits, found = network(x, torch.from_numpy(where))
    entropy = functional.cross_entropy(logits.float(), classes)
    tissue = _tissue_entropy(logits.float(), classes, labels)
    error = functional.l1_loss(found.float(), units)
    optimizer.zero_grad()
    (entropy + recipe.tissue_weight * tissue + recipe.units_weight * error).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return entropy.item(), error.item()


def _tissue_entropy(logits: torch.Tensor, classes: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Cross entropy of fluid, grey matter, white matter and the outside."""
    tissues = torch.from_numpy(labels.tissues)
    kinds = [logits[:, tissues == code].logsumexp(dim=1) for code in range(-1, len(TISSUES))]
    return functional.cross_entropy(torch.stack(kinds, dim=1), tissues[classes] + 1)


def _drawn(image: Example, labels: Labels, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Voxels for the loss: most anywhere, some with equal shares for all classes."""
    inside = np.flatnonzero(image.where)
    classes = image.classes.reshape(-1)[inside]
    count = np.bincount(classes, minlength=labels.n_classes)
    weight = (1 - recipe.balanced) / len(inside) + recipe.balanced / (
        count[classes] * np.count_nonzero(count)
    )
    chosen = rng.random(len(inside)) < weight * recipe.voxels
    drawn = np.zeros(image.where.size, dtype=bool)
    drawn[inside[chosen]] = True
    return drawn.reshape(image.where.shape)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    share = min(1.0, (step + 1) / recipe.warm_up)
    share *= 0.5 * (1 + np.cos(np.pi * min(1.0, step / recipe.steps)))
    for group in optimizer.param_groups:
        group["lr"] = float(recipe.learning_rate * share)
