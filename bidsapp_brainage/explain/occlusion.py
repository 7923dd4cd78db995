"""Occlude every region of an atlas and measure what happens to the predicted age."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .baselines import make_fill
from .engine.geometry import Patch
from .engine.planning.plan import label_patches
from .engine.planning.regions import count
from .ensemble import Ensemble
from .predictions import Predictions, Progress, entropy

COLUMNS = (
    *("index", "n_voxels", "delta_age"),
    *("delta_age_sd_members", "delta_entropy", "js_divergence"),
)


def occlude(
    ensemble: Ensemble,
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    baseline: str | NDArray[np.floating] = "background",
    background: float = 0.0,
    template: NDArray[np.floating] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Replace each region by a fill and report the change of the predicted age.

    Parameters
    ----------
    ensemble : Ensemble
        The networks, and how they are run.
    volume : ndarray, shape (D, H, W)
        Network input, exactly as the prediction saw it.
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel on the same grid.
    indices : sequence of int
        Regions to report, in this order; regions without voxels get a row as well.
    baseline, background, template
        What the region is replaced by; see :func:`bidsapp_brainage.explain.baselines.make_fill`.
    progress : callable, optional
        Called with (regions done, regions in all).

    Returns
    -------
    DataFrame
        Columns ``index``, ``n_voxels``, ``delta_age`` (years, occluded minus intact),
        ``delta_age_sd_members`` (its SD over members), ``delta_entropy`` (nats, occluded minus
        intact) and ``js_divergence`` (nats, between the two age distributions); NaN for regions
        without voxels. ``attrs`` holds ``intact_age`` (years, of the intact volume).

    Raises
    ------
    UsageError
        If shapes differ, or a baseline name is unknown.
    BrainageError
        If a single occluded volume does not fit into memory.

    Notes
    -----
    Source of the method: network occlusion sensitivity analysis (Abrol et al. 2021, Nature
    Communications 12:353; He et al. 2025, Human Brain Mapping 46:e70239). TensorFloat-32 is off.

    Examples
    --------
    A network that answers with the sum of all voxels, and two regions of four voxels each:

    >>> import numpy as np, torch
    >>> from torch import nn
    >>> from bidsapp_brainage.explain.ensemble import Ensemble
    >>> linear = nn.Linear(64, 1, bias=False)
    >>> _ = nn.init.ones_(linear.weight)
    >>> def decode(output):
    ...     return output.new_zeros(len(output), 0), output[:, 0]
    >>> ensemble = Ensemble((nn.Sequential(nn.Flatten(), linear).eval(),), decode)
    >>> volume = np.ones((4, 4, 4), np.float32)
    >>> labels = np.zeros((4, 4, 4), int)
    >>> labels[0, 0], labels[1, 1] = 1, 2
    >>> occlude(ensemble, volume, labels, [1, 2])[["index", "n_voxels", "delta_age"]]
       index  n_voxels  delta_age
    0      1         4       -4.0
    1      2         4       -4.0
    """
    fill = make_fill(
        volume, labels, indices, baseline=baseline, background=background, template=template
    )
    patches = label_patches(labels, indices)
    occluder = ensemble.open(volume, patches)
    intact = occluder.intact
    predictions = occluder.occlude(fill, progress=progress)
    return effects(indices, sizes(patches), intact, predictions)


def sizes(patches: Sequence[Patch | None]) -> list[int]:
    """Voxels of each patch."""
    return [count(patch) for patch in patches]


def effects(
    indices: Sequence[int], n_voxels: Sequence[int], intact: Predictions, occluded: Predictions
) -> pd.DataFrame:
    """Table of what occlusion changed; NaN for regions without voxels.

    Parameters
    ----------
    indices : sequence of int
        Labels of the regions.
    n_voxels : sequence of int
    intact : Predictions
        One row.
    occluded : Predictions
        One for each region.
    """
    frame = pd.DataFrame(
        {
            "index": np.asarray(indices, dtype=np.int64),
            "n_voxels": np.asarray(n_voxels, dtype=np.int64),
            "delta_age": occluded.ages - intact.ages,
            "delta_age_sd_members": occluded.spread_from(intact),
            "delta_entropy": entropy(occluded.probabilities) - entropy(intact.probabilities),
            "js_divergence": occluded.divergence_from(intact),
        },
        columns=list(COLUMNS),
    )
    frame.loc[frame["n_voxels"] == 0, list(COLUMNS[2:])] = np.nan
    frame.attrs["intact_age"] = float(intact.ages[0])
    return frame
