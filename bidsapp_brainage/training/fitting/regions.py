"""Ridge regression on the volumes of regions."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.networks.headvolumes import HeadVolumes
from bidsapp_brainage.model.networks.regional import RegionLinear
from bidsapp_brainage.model.specs import InputSpec
from bidsapp_brainage.stats.folds import assign_folds
from bidsapp_brainage.training.data.cohort import Cohort, load_regions, load_volume
from bidsapp_brainage.training.data.pool import Pool

LOGGER = logging.getLogger(__name__)
PENALTIES = tuple(float(10.0**power) for power in np.arange(-1, 4.1, 0.5))
INNER_FOLDS = 5


def region_fractions(
    network: RegionLinear, cohort: Cohort, spec: InputSpec, scans: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Volumes of regions as parts of the intracranial volume, shape (n_scans, n_regions).

    Raises
    ------
    DataError
        An image has no regions beside it.
    """
    rows = []
    for scan in scans:
        path = cohort.paths[scan]
        regions = load_regions(path)
        if regions is None:
            raise DataError(
                f"{path} has no regions (*_dseg.nii.gz) beside it: make the inputs anew with "
                "brainage-model prepare, or run the app with this model."
            )
        rows.append(network.fractions(load_volume(path, spec, prepared=cohort.prepared), regions))
    return np.array(rows)


def head_features(
    network: HeadVolumes, pool: Pool, scans: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Logarithms of the parts of the intracranial volume, shape (n_scans, n_regions).

    Means over each head and its mirror image.
    """
    network.eval()
    rows = []
    with torch.inference_mode():
        for scan in scans:
            head = pool.batch(np.array([scan]), np.array([0]))
            both = torch.cat([head, head.flip(2)])
            rows.append(network.features(both).mean(dim=0).double().numpy())
    return np.array(rows)


def fit_regions(
    network: RegionLinear | HeadVolumes,
    fractions: np.ndarray,
    ages: np.ndarray,
    units: Sequence[str],
    simulated: np.ndarray,
) -> RegionLinear | HeadVolumes:
    """Fit the weights of the regions in closed form, in place.

    Regions are scaled to the same spread. The penalty is the one with the smallest absolute error
    on real scans of people left out in an inner cross-validation.

    Parameters
    ----------
    network : RegionLinear or HeadVolumes
    fractions : ndarray, shape (n_scans, n_regions)
    ages : ndarray, shape (n_scans,)
        Years.
    units : sequence of str
        Person or family of every scan.
    simulated : ndarray of bool, shape (n_scans,)
        Scans that were made from others: learned from, never measured on.
    """
    spread = fractions[~simulated].std(axis=0)
    scaled = fractions / np.where(spread > 0, spread, 1.0)
    inner = assign_folds(list(units), ages, INNER_FOLDS, 0)
    errors = []
    for penalty in PENALTIES:
        missed = []
        for fold in range(INNER_FOLDS):
            weight, intercept = _ridge(scaled[inner != fold], ages[inner != fold], penalty)
            asked = (inner == fold) & ~simulated
            missed.append(np.abs(scaled[asked] @ weight + intercept - ages[asked]))
        errors.append(float(np.concatenate(missed).mean()))
    best = int(np.argmin(errors))
    LOGGER.info("regions: penalty %.1e, inner error %.2f years", PENALTIES[best], errors[best])
    weight, intercept = _ridge(scaled, ages, PENALTIES[best])
    network.set_weights(weight / np.where(spread > 0, spread, 1.0), intercept)
    return network


def _ridge(values: np.ndarray, ages: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    mean = values.mean(axis=0)
    centred = values - mean
    gram = centred.T @ centred + penalty * np.eye(values.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (ages - ages.mean()))
    return weight, float(ages.mean() - mean @ weight)
