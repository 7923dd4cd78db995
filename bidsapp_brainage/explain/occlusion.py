"""Occlude every region of an atlas and measure what happens to the predicted age."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from .baselines import make_fill
from .engine.plan import label_patches
from .engine.tables import count
from .occlusion_engines import EngineName, Fill, open_occluder
from .predictions import Decode, Predictions, Progress, entropy

COLUMNS = (
    *("index", "n_voxels", "delta_age"),
    *("delta_age_sd_members", "delta_entropy", "js_divergence"),
)


def occlude(  # noqa: PLR0913 - the one contract that all engines share
    members: Sequence[nn.Module],
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    decode: Decode,
    baseline: str | NDArray[np.floating] = "background",
    background: float = 0.0,
    engine: EngineName = "auto",
    batch_size: int | None = None,
    n_threads: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Replace each region by a fill and report the change of the predicted age.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        Networks of the ensemble, in eval mode, mapping (N, 1, D, H, W) to logits (N, n_bins).
    volume : ndarray, shape (D, H, W)
        Network input, exactly as the prediction saw it.
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel on the same grid.
    indices : sequence of int
        Regions to report, in this order; regions without voxels get a row as well.
    decode : callable
        Turns the logits of one member into probabilities and mean ages (from the model card:
        ``bidsapp_brainage.model.prediction.decoder``). Members are averaged as the prediction
        averages them: the mean of their distributions, whose mean is the mean of their ages.
    baseline : {"background", "mean", "blur", "template"} or ndarray of shape (D, H, W)
        What the region is replaced by; see :func:`bidsapp_brainage.explain.baselines.make_fill`.
    background : float
        Intensity of non-brain voxels.
    engine : {"auto", "incremental", "loop"}
        See :func:`bidsapp_brainage.explain.occlusion_engines.open_occluder`; they agree to
        rounding.
    batch_size : int, optional
        Regions computed together; halved when the memory does not suffice.
    n_threads : int
        Threads on a CPU.
    device : str
        ``cpu`` or ``cuda[:N]``.
    progress : callable, optional
        Called with (regions done, regions in all).

    Returns
    -------
    DataFrame
        Columns ``index``, ``n_voxels``, ``delta_age`` (years, occluded minus intact),
        ``delta_age_sd_members`` (its SD over members), ``delta_entropy`` (nats, occluded minus
        intact) and ``js_divergence`` (nats, between the two age distributions); NaN for regions
        without voxels. ``attrs`` holds ``baseline_age`` (years, of the intact volume).

    Raises
    ------
    UsageError
        If shapes differ, the batch size is not positive, or a baseline name is unknown.
    BrainageError
        If a single occluded volume does not fit into memory.

    Notes
    -----
    Source of the method: network occlusion sensitivity analysis (Abrol et al. 2021, Nature
    Communications 12:353; He et al. 2025, Human Brain Mapping 46:e70239). TensorFloat-32 is off.
    """
    fill = region_fill(volume, labels, indices, baseline=baseline, background=background)
    patches = label_patches(labels, indices)
    occluder = open_occluder(
        members, volume, patches,
        decode=decode, engine=engine, device=device, batch_size=batch_size, n_threads=n_threads,
    )  # fmt: skip
    intact = occluder.intact
    answers = occluder.occlude(fill, progress=progress)
    return effects(indices, [count(patch) for patch in patches], intact, answers)


def region_fill(
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    baseline: str | NDArray[np.floating],
    background: float,
    template: NDArray[np.floating] | None = None,
) -> Fill:
    """The fill of every region: a number where one does, else one volume for all regions."""
    fill = make_fill(
        volume, labels, indices, baseline=baseline, background=background, template=template
    )
    return float(background) if isinstance(baseline, str) and baseline == "background" else fill


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
        One answer.
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
    frame.attrs["baseline_age"] = float(intact.ages[0])
    return frame
