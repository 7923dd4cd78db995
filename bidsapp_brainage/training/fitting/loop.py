"""Training of one network: AdamW, a cosine of learning rates, averaged weights, resumable."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from bidsapp_brainage.io import atomic_path, write_tsv
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.uncertainty import left_right_axis
from bidsapp_brainage.training.data.pool import Pool
from bidsapp_brainage.training.fitting.freezing import freeze, take_over
from bidsapp_brainage.training.fitting.losses import Objective
from bidsapp_brainage.training.recipe import Recipe

LOGGER = logging.getLogger(__name__)
WARM_UP = 0.1  # part of all steps in which the learning rate rises


@dataclass(frozen=True)
class Start:
    """Weights to begin with instead of random ones; see :func:`~.freezing.take_over`."""

    weights: Mapping[str, torch.Tensor]
    keep_head: bool = False


@dataclass(frozen=True)
class Task:
    """What a network learns from."""

    pool: Pool
    targets: np.ndarray  # (n_scans, n_columns), of losses.encode
    objective: Objective
    recipe: Recipe
    ages: np.ndarray  # (n_scans,): decide who is mixed with whom; NaN mixes with anybody
    device: str = "cpu"
    start: Start | None = None


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


def train_network(task: Task, split: Split, *, folder: Path, seed: int) -> nn.Module:
    """Train one network and return its averaged weights in evaluation mode, on the CPU.

    Epochs are reproducible on their own (their random numbers come from ``seed`` and the epoch), so
    a run that was killed goes on from ``folder/checkpoint.pt`` to the same result; the learning
    curve is in ``folder/curve.tsv``. The scans of the test fold are in neither part of the split.
    """
    checkpoint = Path(folder) / "checkpoint.pt"
    recipe = task.recipe
    state = _initial_state(task, seed)
    if checkpoint.is_file():
        _restore(state, checkpoint)
    while state.epoch < recipe.epochs and not _exhausted(state, split, recipe):
        started = time.monotonic()
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            row = _train_epoch(state, task, split.train, seed)
            state.epoch += 1
            if len(split.validation):
                row |= _validate(state, task, split.validation)
        row["seconds"] = time.monotonic() - started
        state.history.append({"epoch": state.epoch, **row})
        _save(state, checkpoint)
        write_tsv(Path(folder) / "curve.tsv", pd.DataFrame(state.history))
        LOGGER.info("%s epoch %d/%d %s", Path(folder).name, state.epoch, recipe.epochs, _line(row))
    if state.best_weights:
        state.average.load_state_dict(state.best_weights)
    return state.average.eval().cpu()


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


def predict_scans(
    network: nn.Module, pool: Pool, scans: np.ndarray, device: str = "cpu"
) -> torch.Tensor:
    """Outputs (N, n_outputs) for the original scans, in float32 on the CPU."""
    network.eval()
    with torch.inference_mode():
        rows = [
            network(pool.batch(np.array([scan]), np.array([0])).to(device)).float().cpu()
            for scan in scans
        ]
    return torch.cat(rows)


def frozen_blocks(recipe: Recipe, epoch: int) -> int:
    """How many blocks keep their weights in an epoch (0 is the first)."""
    freed = epoch // recipe.unfreeze_every if recipe.unfreeze_every else 0
    return max(0, recipe.freeze - freed)


def _initial_state(task: Task, seed: int) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(task.recipe.card["architecture"])
    if task.start is not None:
        take_over(network, task.start.weights, keep_head=task.start.keep_head)
    # this layout makes 3D convolutions on a CPU about twice as fast
    layout = torch.channels_last_3d
    network = network.to(task.device, memory_format=layout)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=task.recipe.learning_rate, weight_decay=task.recipe.weight_decay
    )
    return State(network, copy.deepcopy(network), optimiser)


def _train_epoch(state: State, task: Task, scans: np.ndarray, seed: int) -> dict[str, float]:
    recipe = task.recipe
    generator = np.random.default_rng([seed, state.epoch])
    order = generator.permutation(scans)
    steps = max(1, len(order) // recipe.batch_size)
    rows = []
    state.network.train()
    freeze(state.network, frozen_blocks(recipe, state.epoch))
    with torch.random.fork_rng():
        torch.manual_seed(int(generator.integers(2**31)))  # dropout
        for step, batch in enumerate(np.array_split(order, steps)):
            rate = learning_rate_factor((state.epoch + step / steps) / recipe.epochs)
            state.optimiser.param_groups[0]["lr"] = recipe.learning_rate * rate
            x, targets = _mixed(task, batch, scans, generator)
            rows.append(_step(state, task, x, targets))
            done = state.epoch * steps + step
            # a short memory at first, so that the first weights are soon forgotten
            decay = min(recipe.ema_decay, (1 + done) / (10 + done))
            update_average(state.average, state.network, decay)
    means = pd.DataFrame(rows).mean()
    return {
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        **{str(name): float(value) for name, value in means.items()},
    }


def _mixed(
    task: Task, batch: np.ndarray, scans: np.ndarray, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Volumes and targets of a batch; some mixed with a scan of a person of similar age."""
    x, targets = _draw(task, batch, generator)
    mixed = np.flatnonzero(generator.random(len(batch)) < task.recipe.mixing)
    if mixed.size:
        partners = np.array([_partner(batch[i], task, scans, generator) for i in mixed])
        share = generator.uniform(0.5, 1.0, size=len(mixed))
        weight = torch.from_numpy(share).float()[:, None, None, None, None]
        other, other_targets = _draw(task, partners, generator)
        x[mixed] = weight * x[mixed] + (1 - weight) * other
        targets[mixed] = share[:, None] * targets[mixed] + (1 - share[:, None]) * other_targets
    return x.to(task.device), torch.from_numpy(targets).float().to(task.device)


def _partner(scan: int, task: Task, scans: np.ndarray, generator: np.random.Generator) -> int:
    distance = (task.ages[scans] - task.ages[scan]) / task.recipe.mixing_years
    nearness = np.exp(-0.5 * np.nan_to_num(distance) ** 2)
    return int(generator.choice(scans, p=nearness / nearness.sum()))


def _draw(
    task: Task, scans: np.ndarray, generator: np.random.Generator
) -> tuple[torch.Tensor, np.ndarray]:
    """One random copy of each scan (the scan itself if there are none), half of them mirrored."""
    pool = task.pool
    first = 1 if pool.copies else 0
    copies = generator.integers(first, pool.copies + 1, size=len(scans))
    x = pool.batch(scans, copies)
    targets = task.targets[scans].copy()
    for part in task.objective.parts:
        if part.head.name == "age":
            targets[:, part.columns] += pool.years(scans, copies)[:, None]
    if task.recipe.flip:
        mirrored = torch.from_numpy(generator.random(len(scans)) < 0.5)
        axis = 2 + left_right_axis(task.recipe.card["input"])
        x = torch.where(mirrored[:, None, None, None, None], x.flip(axis), x)
    return x.contiguous(memory_format=torch.channels_last_3d), targets


def _step(state: State, task: Task, x: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    state.optimiser.zero_grad(set_to_none=True)
    kind = torch.device(task.device).type
    with torch.autocast(kind, torch.bfloat16, enabled=task.recipe.bfloat16):
        outputs = state.network(x)
    outputs = outputs.float()
    loss = task.objective.loss(outputs, targets)
    if loss.requires_grad:  # false if nobody in the batch has a known target
        loss.backward()
        nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
        state.optimiser.step()
    errors = task.objective.errors(outputs.detach(), targets)
    return {
        "loss": float(loss.detach()),
        **{f"{name}_error": error for name, error in errors.items()},
    }


def _validate(state: State, task: Task, scans: np.ndarray) -> dict[str, float]:
    """Errors on the people held out; remembers the best averaged weights so far."""
    outputs = predict_scans(state.average, task.pool, scans, task.device)
    targets = torch.from_numpy(task.targets[scans]).float()
    score = task.objective.score(outputs, targets)
    if score < state.best:
        state.best, state.best_epoch = score, state.epoch
        state.best_weights = copy.deepcopy(state.average.state_dict())
    errors = task.objective.errors(outputs, targets)
    return {
        "validation_score": score,
        **{f"validation_{name}_error": error for name, error in errors.items()},
    }


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
    saved = torch.load(path, weights_only=True, map_location="cpu")
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimiser.load_state_dict(saved["optimiser"])
    state.best_weights = saved["best_weights"]
    state.epoch, state.best, state.best_epoch = saved["numbers"]
    state.history = saved["history"]
    LOGGER.info("%s goes on after epoch %d", path.parent.name, state.epoch)


def _line(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items())
