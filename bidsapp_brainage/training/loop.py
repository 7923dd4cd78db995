"""Training of one network: soft age labels, AdamW, averaged weights, resumable by epoch."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from bidsapp_brainage.io import atomic_path, write_tsv
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.training.pool import Pool
from bidsapp_brainage.training.recipe import Recipe

LOGGER = logging.getLogger(__name__)
WARM_UP = 0.1  # part of all steps in which the learning rate rises


@dataclass
class State:
    """Everything that changes while training; saved after every epoch."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Split:
    """Indices of scans to learn from and to stop early by (possibly none)."""

    train: np.ndarray
    validation: np.ndarray


class Labels:
    """Ages as soft labels over the card's bins (Peng 2021)."""

    def __init__(self, output: dict[str, Any], label_sd: float) -> None:
        edges = output["lower"] + output["width"] * torch.arange(output["n_bins"] + 1)
        self.edges = edges.double()
        self.centers = (self.edges[:-1] + output["width"] / 2).float()
        self.label_sd = label_sd

    def soft(self, ages: torch.Tensor) -> torch.Tensor:
        """Gaussian mass in every bin: (N,) years to (N, n_bins), rows summing to 1."""
        z = (self.edges - ages.double()[:, None]) / self.label_sd
        mass = torch.special.ndtr(z).diff(dim=1)
        return (mass / mass.sum(dim=1, keepdim=True).clamp(min=1e-12)).float()

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean age (N,) of logits (N, n_bins)."""
        return torch.softmax(logits, dim=1) @ self.centers


def train_network(
    pool: Pool, ages: np.ndarray, split: Split, recipe: Recipe, *, folder: Path, seed: int
) -> nn.Module:
    """Train one network and return its averaged weights in evaluation mode.

    Epochs are reproducible on their own (their random numbers come from ``seed`` and the
    epoch), so a run that was killed goes on from ``folder/checkpoint.pt`` to the same result.

    Parameters
    ----------
    pool : Pool
    ages : ndarray, shape (n_scans,)
        Years.
    split : Split
        The scans of the test fold are in neither part.
    recipe : Recipe
    folder : Path
        For the checkpoint and the learning curve (``curve.tsv``).
    seed : int
        Of this network.
    """
    checkpoint = Path(folder) / "checkpoint.pt"
    labels = Labels(recipe.card["output"], recipe.label_sd)
    state = _initial_state(recipe, seed)
    if checkpoint.is_file():
        _restore(state, checkpoint)
    while state.epoch < recipe.epochs and not _exhausted(state, split, recipe):
        started = time.monotonic()
        row = _train_epoch(state, pool, ages, split.train, recipe=recipe, labels=labels, seed=seed)
        state.epoch += 1
        if len(split.validation):
            row["validation_mae"] = _validate(state, pool, ages, split.validation, labels)
        row["seconds"] = time.monotonic() - started
        state.history.append({"epoch": state.epoch, **row})
        _save(state, checkpoint)
        write_tsv(Path(folder) / "curve.tsv", pd.DataFrame(state.history))
        LOGGER.info("%s epoch %d/%d %s", Path(folder).name, state.epoch, recipe.epochs, _line(row))
    if state.best_weights:
        state.average.load_state_dict(state.best_weights)
    return state.average.eval()


def learning_rate_factor(progress: float) -> float:
    """Part of the largest learning rate at ``progress`` (0 to 1): linear rise, cosine fall."""
    if progress < WARM_UP:
        return (progress + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and batch statistics, in place."""
    with torch.no_grad():
        current = network.state_dict()
        for name, value in average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def predict_scans(network: nn.Module, pool: Pool, scans: np.ndarray) -> torch.Tensor:
    """Logits (N, n_bins) of the original scans, in float32."""
    network.eval()
    with torch.inference_mode():
        rows = [network(pool.batch(np.array([scan]), np.array([0]))) for scan in scans]
    return torch.cat(rows)


def _initial_state(recipe: Recipe, seed: int) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(recipe.card["architecture"])
    # this layout makes 3D convolutions on a CPU about twice as fast
    network = network.to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return State(network, copy.deepcopy(network), optimiser)


def _train_epoch(
    state: State,
    pool: Pool,
    ages: np.ndarray,
    scans: np.ndarray,
    *,
    recipe: Recipe,
    labels: Labels,
    seed: int,
) -> dict[str, float]:
    generator = np.random.default_rng([seed, state.epoch])
    order = generator.permutation(scans)
    steps = max(1, len(order) // recipe.batch_size)
    losses, errors = [], []
    state.network.train()
    with torch.random.fork_rng():
        torch.manual_seed(int(generator.integers(2**31)))  # dropout
        for step, batch in enumerate(np.array_split(order, steps)):
            rate = learning_rate_factor((state.epoch + step / steps) / recipe.epochs)
            state.optimiser.param_groups[0]["lr"] = recipe.learning_rate * rate
            x, target = _mixed(pool, ages, batch, scans, recipe, generator)
            loss, error = _step(state, x, target, labels, recipe)
            losses.append(loss)
            errors.append(error)
            done = state.epoch * steps + step
            # a short memory at first, so that the first weights are soon forgotten
            decay = min(recipe.ema_decay, (1 + done) / (10 + done))
            update_average(state.average, state.network, decay)
    return {
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        "loss": float(np.mean(losses)),
        "mae": float(np.mean(errors)),
    }


def _mixed(
    pool: Pool,
    ages: np.ndarray,
    batch: np.ndarray,
    scans: np.ndarray,
    recipe: Recipe,
    generator: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Volumes and ages of a batch; some mixed with another scan of a person of similar age."""
    x, age = _draw(pool, batch, generator), ages[batch]
    mixed = np.flatnonzero(generator.random(len(batch)) < recipe.mixing)
    if mixed.size:
        partners = np.array(
            [_partner(ages[batch[i]], ages, scans, recipe, generator) for i in mixed]
        )
        share = generator.uniform(0.5, 1.0, size=len(mixed))
        weight = torch.from_numpy(share).float()[:, None, None, None, None]
        x[mixed] = weight * x[mixed] + (1 - weight) * _draw(pool, partners, generator)
        age = age.copy()
        age[mixed] = share * age[mixed] + (1 - share) * ages[partners]
    return x, torch.from_numpy(age).float()


def _partner(
    age: float,
    ages: np.ndarray,
    scans: np.ndarray,
    recipe: Recipe,
    generator: np.random.Generator,
) -> int:
    nearness = np.exp(-0.5 * ((ages[scans] - age) / recipe.mixing_years) ** 2)
    return int(generator.choice(scans, p=nearness / nearness.sum()))


def _draw(pool: Pool, scans: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
    """One random copy of each scan (the scan itself if there are none), half of them mirrored."""
    first = 1 if pool.copies else 0
    copies = generator.integers(first, pool.copies + 1, size=len(scans))
    x = pool.batch(scans, copies)
    mirrored = torch.from_numpy(generator.random(len(scans)) < 0.5)[:, None, None, None, None]
    return torch.where(mirrored, x.flip(2), x).contiguous(memory_format=torch.channels_last_3d)


def _step(
    state: State, x: torch.Tensor, ages: torch.Tensor, labels: Labels, recipe: Recipe
) -> tuple[float, float]:
    state.optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        logits = state.network(x)
    logits = logits.float()
    error = (labels.mean(logits) - ages).abs().mean()
    divergence = functional.kl_div(
        functional.log_softmax(logits, dim=1), labels.soft(ages), reduction="batchmean"
    )
    (divergence + recipe.mean_weight * error).backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimiser.step()
    return float(divergence.detach()), float(error.detach())


def _validate(
    state: State, pool: Pool, ages: np.ndarray, scans: np.ndarray, labels: Labels
) -> float:
    """Error on the people held out; remembers the best averaged weights so far."""
    predicted = labels.mean(predict_scans(state.average, pool, scans)).numpy()
    error = float(np.abs(predicted - ages[scans]).mean())
    if error < state.best:
        state.best, state.best_epoch = error, state.epoch
        state.best_weights = copy.deepcopy(state.average.state_dict())
    return error


def _exhausted(state: State, split: Split, recipe: Recipe) -> bool:
    return bool(len(split.validation)) and state.epoch - state.best_epoch >= recipe.patience


def _save(state: State, path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(
            {
                "network": state.network.state_dict(),
                "average": state.average.state_dict(),
                "optimiser": state.optimiser.state_dict(),
                "best_weights": state.best_weights,
                "numbers": (state.epoch, state.best, state.best_epoch),
                "history": state.history,
            },
            temporary,
        )


def _restore(state: State, path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimiser.load_state_dict(saved["optimiser"])
    state.best_weights = saved["best_weights"]
    state.epoch, state.best, state.best_epoch = saved["numbers"]
    state.history = saved["history"]
    LOGGER.info("%s goes on after epoch %d", path.parent.name, state.epoch)


def _line(row: dict[str, float]) -> str:
    parts = [f"{name} {value:.4g}" for name, value in row.items()]
    return ", ".join(parts)
