"""Ridge regression for every patch."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bidsapp_brainage.io import atomic_path
from bidsapp_brainage.model.networks.patches import PatchLinear
from bidsapp_brainage.stats.folds import assign_folds
from bidsapp_brainage.training.data.pool import OUTSIDE, Pool

LOGGER = logging.getLogger(__name__)
#: Beside the weights of a network: ages of patches of the people that its fold left out.
FILE = "patches.npy"
LEAST_BRAIN = 0.5  # of a patch, in everybody
PENALTIES = tuple(float(10.0**power) for power in np.arange(-4, 0.1, 0.5))
INNER_FOLDS = 5


def fit_patches(
    network: PatchLinear,
    pool: Pool,
    ages: NDArray[np.float64],
    scans: NDArray[np.intp],
    units: Sequence[str],
) -> PatchLinear:
    """Fit the weighted sum of every place to original scans, in place.

    The penalty is the same for all places, the one with the smallest mean absolute error of patches
    of people left out in an inner cross-validation. `scans` are those to learn from; `ages` (years)
    and `units` (person or family) are those of all scans of the cohort. Places that are less than
    half brain in anybody have no age.
    """
    network.eval()
    seen = _patches(network, pool, scans)
    fitted = _brain(network, pool, scans)
    inner = assign_folds([units[scan] for scan in scans], ages[scans], INNER_FOLDS, 0)
    places = [(int(i), int(j), int(k)) for i, j, k in np.argwhere(fitted)]
    errors = np.zeros(len(PENALTIES))
    for place in places:
        errors += _inner_errors(seen[_at(place)], ages[scans], inner) / len(places)
    penalty = PENALTIES[int(np.argmin(errors))]
    LOGGER.info("patches: penalty %.1e, inner error %.2f years", penalty, errors.min())
    weights = np.zeros((*network.places, seen.shape[-1]))
    empty = np.zeros(network.places)
    for place in places:
        values = seen[_at(place)].astype(np.float64)
        (weights[place],), empty[place] = _ridge(values, ages[scans], (penalty,))
        empty[place] -= values.mean(axis=0) @ weights[place]
    network.set_patches(weights, empty, fitted)
    return network


def keep_patch_ages(
    network: PatchLinear, pool: Pool, scans: NDArray[np.intp], folder: Path
) -> None:
    """Write ages (n_scans, *places) of original scans; NaN where a place has none."""
    original = np.array([0])
    with torch.inference_mode():
        found = [network.patch_ages(pool.batch(np.array([n]), original))[0].numpy() for n in scans]
    with atomic_path(folder / FILE) as temporary:
        np.save(temporary, np.array(found, dtype=np.float32))


def _patches(network: PatchLinear, pool: Pool, scans: NDArray[np.intp]) -> NDArray[np.float32]:
    """Amounts of tissue in the patches of scans, (n_scans, *places, n)."""
    original = np.array([0])
    with torch.inference_mode():
        return np.concatenate(
            [network.patches(pool.batch(np.array([scan]), original)).numpy() for scan in scans]
        )


def _brain(network: PatchLinear, pool: Pool, scans: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Places that are brain enough in everybody, shape `places`."""
    edge, stride = network.edge, network.step * network.block
    least = np.ones(network.places)
    for scan in scans:
        inside = np.asarray(pool.volumes[scan][0]) != OUTSIDE
        for place in itertools.product(*map(range, network.places)):
            where = tuple(slice(n * stride, n * stride + edge) for n in place)
            least[place] = min(least[place], inside[where].mean())
    return least >= LEAST_BRAIN


def _at(place: tuple[int, int, int]) -> tuple[slice, int, int, int]:
    return (slice(None), *place)


def _ridge(
    values: NDArray[np.float64], ages: NDArray[np.float64], penalties: Sequence[float]
) -> tuple[NDArray[np.float64], float]:
    """Weights (n_penalties, n) of centred values, and the mean age.

    The penalty is in units of the values' total variance.
    """
    centred = values - values.mean(axis=0)
    spread, turn = np.linalg.eigh(centred @ centred.T)
    spread = np.clip(spread, 0, None)
    turned = turn.T @ (ages - ages.mean())
    lifts = np.array(penalties)[:, None] * max(float(spread.sum()), 1e-12)
    return (turned / (spread + lifts)) @ turn.T @ centred, float(ages.mean())


def _inner_errors(
    seen: NDArray[np.float32], ages: NDArray[np.float64], inner: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Mean absolute error (years) of people left out, for every penalty."""
    values = seen.astype(np.float64)
    total = np.zeros(len(PENALTIES))
    for fold in range(INNER_FOLDS):
        learnt, asked = np.flatnonzero(inner != fold), np.flatnonzero(inner == fold)
        weights, mean = _ridge(values[learnt], ages[learnt], PENALTIES)
        predicted = (values[asked] - values[learnt].mean(axis=0)) @ weights.T + mean
        total += np.abs(predicted - ages[asked][:, None]).sum(axis=0)
    return total / len(ages)
