"""What a network is told to learn: targets as tensors, losses by type of head, errors to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bidsapp_brainage.model.outputs import Head
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.recipe import Recipe


@dataclass(frozen=True)
class Part:
    """One head with its places in the network's outputs and in the matrix of targets."""

    head: Head
    outputs: slice
    columns: slice
    spread: float  # SD of the target, to add up errors of different units


class Objective:
    """Losses of all heads of a network.

    Targets are a matrix (n_scans, n_columns): one column for a number, one per class for classes
    (1 or 0, or between where people are mixed); NaN where unknown, which then costs nothing. Their
    spread weighs errors against each other.
    """

    def __init__(self, heads: Sequence[Head], recipe: Recipe, targets: np.ndarray) -> None:
        self.recipe = recipe
        parts, output, column = [], 0, 0
        for head in heads:
            columns = slice(column, column + n_columns(head))
            spread = float(np.nanstd(targets[:, columns])) or 1.0
            parts.append(Part(head, slice(output, output + head.n_outputs), columns, spread))
            output, column = output + head.n_outputs, columns.stop
        self.parts = tuple(parts)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Sum of the heads' losses; in the number's unit divided by its spread if several."""
        total = outputs.new_zeros(())
        for part in self.parts:
            known = torch.isfinite(targets[:, part.columns]).all(dim=1)
            if known.any():
                own, wanted = outputs[known, part.outputs], targets[known, part.columns]
                total = total + self._part_loss(part, own, wanted)
        return total

    def errors(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        """Mean absolute error of numbers, share of wrong classes; NaN where nothing is known."""
        return {
            part.head.name: _error(part, outputs[:, part.outputs], targets[:, part.columns])
            for part in self.parts
        }

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        """What early stopping looks at, lower is better: mean over the heads.

        Absolute errors in units of the target's spread, and the cross-entropy of classes (which,
        unlike the share of wrong ones, changes smoothly).
        """
        values = []
        for part in self.parts:
            own, wanted = outputs[:, part.outputs], targets[:, part.columns]
            known = torch.isfinite(wanted).all(dim=1)
            if not known.any():
                continue
            if part.head.coding == "classes":
                values.append(float(functional.cross_entropy(own[known], wanted[known])))
            else:
                values.append(_error(part, own, wanted) / part.spread)
        return float(np.mean(values)) if values else float("nan")

    def _part_loss(self, part: Part, own: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        if part.head.coding == "classes":
            return functional.cross_entropy(own, wanted)
        recipe = self.recipe
        # squares of years are so large that the bound on gradients would cut every step
        squared = recipe.loss == "mse" or part.head.coding == "scalar"
        scale = part.spread if len(self.parts) > 1 or squared else 1.0
        value, target = part.head.decode(own)[1].float(), wanted[:, 0]
        error = (value - target) / scale
        if recipe.loss == "kl" and part.head.coding == "bins":
            soft = soft_labels(part.head, target, recipe.label_sd)
            log_p = functional.log_softmax(own, dim=1)
            loss = functional.kl_div(log_p, soft, reduction="batchmean")
            loss = loss + recipe.mean_weight * error.abs().mean()
        else:
            loss = error.square().mean() if recipe.loss == "mse" else error.abs().mean()
        if recipe.rank_weight:
            loss = loss + recipe.rank_weight * rank_loss(value, target, part.spread)
        if recipe.difference_weight:
            loss = loss + recipe.difference_weight * difference_loss(value, target) / scale
        return loss


def n_columns(head: Head) -> int:
    """Columns of a head in the matrix of targets."""
    return head.n_outputs if head.coding == "classes" else 1


def encode(cohort: Cohort, heads: Sequence[Head]) -> np.ndarray:
    """Targets of all scans as a float64 matrix; see :class:`Objective`."""
    columns: list[np.ndarray] = []
    for head in heads:
        if head.coding == "classes":
            texts = cohort.texts(head.name)
            rows = np.array([[float(text == label) for label in head.classes] for text in texts])
            rows[~rows.any(axis=1)] = np.nan
            columns.append(rows)
        else:
            columns.append(cohort.values(head.name)[:, None])
    return np.concatenate(columns, axis=1)


def soft_labels(head: Head, values: torch.Tensor, sd: float) -> torch.Tensor:
    """Gaussian mass in every bin (Peng 2021): (N,) to (N, n_bins), rows summing to 1."""
    steps = torch.arange(head.n_outputs + 1, dtype=torch.float64, device=values.device)
    edges = head.lower + head.width * steps
    z = (edges - values.double()[:, None]) / sd
    mass = torch.special.ndtr(z).diff(dim=1)
    return (mass / mass.sum(dim=1, keepdim=True).clamp(min=1e-12)).float()


def rank_loss(values: torch.Tensor, targets: torch.Tensor, spread: float) -> torch.Tensor:
    """Squared difference between soft ranks of predictions and ranks of targets, both in 0 to 1.

    For Spearman's correlation, as in Cheng 2021, who learn the ranks with a network of its own;
    here a rank is the sum of sigmoids of the differences to the others.
    """
    if len(values) < 2:
        return values.new_zeros(())
    soft = torch.sigmoid((values[:, None] - values[None]) / (0.1 * spread)).mean(dim=1)
    hard = (targets[:, None] > targets[None]).float() + 0.5 * (targets[:, None] == targets[None])
    return (soft - hard.mean(dim=1)).square().mean()


def difference_loss(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the differences between all pairs of a batch (Cheng 2021)."""
    wanted = targets[:, None] - targets[None]
    return (values[:, None] - values[None] - wanted).abs().mean()


def _error(part: Part, outputs: torch.Tensor, wanted: torch.Tensor) -> float:
    known = torch.isfinite(wanted).all(dim=1)
    if not known.any():
        return float("nan")
    if part.head.coding == "classes":
        wrong = outputs[known].argmax(dim=1) != wanted[known].argmax(dim=1)
        return float(wrong.float().mean())
    return float((part.head.decode(outputs[known])[1] - wanted[known, 0]).abs().mean())
