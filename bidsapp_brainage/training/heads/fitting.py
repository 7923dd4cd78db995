"""Gradient descent on images of heads made as they are needed; stops and resumes."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.headvolumes import HeadVolumes
from bidsapp_brainage.model.specs import Architecture
from bidsapp_brainage.segmentation.labels import Labels, muse_labels
from bidsapp_brainage.training.fitting.loop import learning_rate_factor, update_average
from bidsapp_brainage.training.fitting.state import STATE, Stateful, keep, resume

from .subjects import load_head
from .synthesis import head_example

_KEEP_EVERY = 50  # steps


@dataclass(frozen=True)
class HeadRecipe:
    """How the U-Net of a network for raw heads is trained.

    Attributes
    ----------
    steps : int
        Images seen.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises and falls as that of other networks.
    overlap_weight : float
        Weight of the error of overlap (soft Dice) and of volumes beside the cross entropy.
    ema_decay : float
        Of the running mean of the weights, which is what is kept.
    """

    steps: int = 1600
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    overlap_weight: float = 0.5
    ema_decay: float = 0.99
    seed: int = 20261122


def fit_heads(
    people: Sequence[Path], out: Path, card: Mapping[str, Any], recipe: HeadRecipe
) -> HeadVolumes:
    """Train on packed people, going on from the last state kept in ``out``.

    `card` has the architecture and the input of the network.

    Returns
    -------
    HeadVolumes
        With the running mean of the weights, in evaluation mode; its ages are not fitted yet.
    """
    torch.manual_seed(recipe.seed)
    architecture, spec = card["architecture"], card["input"]
    network = build_network(architecture)
    assert isinstance(network, HeadVolumes)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    labels = muse_labels()
    places = region_places(architecture, labels)
    mean = copy.deepcopy(network)
    learned = [part for part in network.parameters() if part.requires_grad]
    optimiser = torch.optim.AdamW(
        learned, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    parts: dict[str, Stateful] = {"network": network, "mean": mean, "optimiser": optimiser}
    step = resume(out / STATE, parts)
    began, losses = time.process_time(), []
    while step < recipe.steps:
        rng = np.random.default_rng([recipe.seed, step])
        head = load_head(people[int(rng.integers(len(people)))])
        image, classes = head_example(head, labels, spec, rng)
        rate = learning_rate_factor(step / recipe.steps)
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * rate
        losses.append(_step(network, optimiser, image, places[classes], recipe))
        update_average(mean, network, min(recipe.ema_decay, (1 + step) / (10 + step)))
        step += 1
        if step % _KEEP_EVERY == 0 or step == recipe.steps:
            entropy, overlap = np.mean(losses[-_KEEP_EVERY:], axis=0)
            each = (time.process_time() - began) / len(losses)
            print(f"{step}/{recipe.steps} {entropy:.3f} {overlap:.3f} {each:.2f} s", flush=True)
            keep(out / STATE, parts, step)
    return mean.eval()


def region_places(architecture: Architecture, labels: Labels) -> np.ndarray:
    """Place of every class of `labels` among the network's: 0 outside, then its regions."""
    places = np.zeros(labels.n_classes, dtype=np.int64)
    for place, indices in enumerate(architecture["parameters"]["regions"].values(), start=1):
        places[np.isin(labels.indices, indices)] = place
    return places


def _step(
    network: HeadVolumes,
    optimiser: torch.optim.Optimizer,
    image: np.ndarray,
    truth: np.ndarray,
    recipe: HeadRecipe,
) -> tuple[float, float]:
    x = torch.from_numpy(image)[None, None].contiguous(memory_format=torch.channels_last_3d)
    wanted = torch.from_numpy(truth)[None]
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.logits(x)
    logs = logits.float().log_softmax(dim=1)
    entropy = functional.nll_loss(logs, wanted)
    overlap = _overlap_error(logs[0].flatten(1), wanted.flatten())
    optimiser.zero_grad(set_to_none=True)
    (entropy + recipe.overlap_weight * overlap).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return entropy.item(), overlap.item()


def _overlap_error(logs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 minus the mean soft Dice of the regions that are there (Milletari 2016)."""
    count = len(logs)
    chances = logs.exp()
    right = chances.gather(0, wanted[None])[0]
    both = torch.zeros(count).index_add(0, wanted, right)
    sizes = torch.bincount(wanted, minlength=count)
    dice = (2 * both + 1) / (chances.sum(dim=1) + sizes + 1)
    return 1 - dice[1:][sizes[1:] > 0].mean()
