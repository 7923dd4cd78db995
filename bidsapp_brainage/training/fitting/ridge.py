"""Ridge regression for networks that are linear in fixed maps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.stats.folds import assign_folds
from bidsapp_brainage.training.data.pool import Pool

LOGGER = logging.getLogger(__name__)
PENALTIES = tuple(float(10.0**power) for power in np.arange(-6, -0.4, 0.5))
INNER_FOLDS = 5
BATCH = 32


@dataclass(frozen=True)
class _Rows:
    """Maps of scans and their copies, with inner products of every pair, centred on ``mean``."""

    maps: np.ndarray
    scan: np.ndarray
    mean: np.ndarray
    kernel: np.ndarray


def fit_ridge(
    network: TissueLinear,
    pool: Pool,
    ages: np.ndarray,
    scans: np.ndarray,
    units: Sequence[str],
    *,
    mirror_axis: int,
) -> TissueLinear:
    """Fit the weights of the sum to scans and their augmented copies, in place.

    The penalty is the one with the smallest absolute error on original scans of people left out in
    an inner cross-validation. Maps are averaged with their mirror image (`mirror_axis` runs from
    left to right of volumes (D, H, W)), so left and right weigh the same. `scans` are those to
    learn from; `ages` (years) and `units` (person or family) are those of all scans of the cohort.
    """
    network.eval()
    rows = _rows(network, pool, scans, mirror_axis)
    inner = assign_folds([units[scan] for scan in scans], ages[scans], INNER_FOLDS, 0)
    errors = [_inner_error(rows, ages, scans, inner, penalty) for penalty in PENALTIES]
    penalty = PENALTIES[int(np.argmin(errors))]
    LOGGER.info("ridge: penalty %.1e, inner error %.2f years", penalty, min(errors))
    weight, age = _solve(rows, ages, np.arange(len(rows.scan)), penalty)
    direction = weight @ rows.maps
    network.set_sum(torch.from_numpy(direction).float(), float(age - direction @ rows.mean))
    return network


def _rows(network: TissueLinear, pool: Pool, scans: np.ndarray, mirror_axis: int) -> _Rows:
    copies = np.arange(1 + pool.copies)
    pairs = np.array([(scan, copy) for copy in copies for scan in scans])
    content = np.empty((len(pairs), network.sum.in_features), dtype=np.float32)
    with torch.inference_mode():
        for first in range(0, len(pairs), BATCH):
            part = pairs[first : first + BATCH]
            maps = network.amount_maps(pool.batch(part[:, 0], part[:, 1]))
            content[first : first + BATCH] = ((maps + maps.flip(2 + mirror_axis)) / 2).flatten(1)
    mean = content.mean(axis=0)
    content -= mean
    return _Rows(content, pairs[:, 0], mean, (content @ content.T).astype(np.float64))


def _solve(
    rows: _Rows, ages: np.ndarray, chosen: np.ndarray, penalty: float
) -> tuple[np.ndarray, float]:
    """Dual weights of the chosen rows, and the age at ``rows.mean``; the intercept is free."""
    kernel = rows.kernel[np.ix_(chosen, chosen)]
    target = ages[rows.scan[chosen]]
    across = kernel.mean(axis=0)
    centred = kernel - across - across[:, None] + across.mean()
    lift = penalty * np.trace(centred)
    weight = np.linalg.solve(centred + lift * np.eye(len(chosen)), target - target.mean())
    weight = weight - weight.mean()
    return weight, float(target.mean() - weight @ across)


def _inner_error(
    rows: _Rows, ages: np.ndarray, scans: np.ndarray, inner: np.ndarray, penalty: float
) -> float:
    errors = []
    for fold in range(inner.max() + 1):
        tested = scans[inner == fold]
        learnt = np.flatnonzero(~np.isin(rows.scan, tested))
        weight, age = _solve(rows, ages, learnt, penalty)
        asked = np.flatnonzero(inner == fold)  # the first rows are the scans themselves, in order
        predicted = rows.kernel[np.ix_(asked, learnt)] @ weight + age
        errors.append(np.abs(predicted - ages[tested]))
    return float(np.concatenate(errors).mean())
