"""Attributions: other families of methods over the regions that occlusion explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.model.device import cpu_threads

from .engine.geometry import Patch
from .gradients import integrated_gradients, relevance
from .noise import noise_importance
from .nulls import NullParcels, null_scores
from .predictions import members_sd
from .scores import NULL_COLUMNS, rank_by_size

if TYPE_CHECKING:
    from .methods import ExplanationInput

AttributionMethod: TypeAlias = Literal["lrp", "ig", "noise"]
COLUMNS = (
    *("index", "name", "hemisphere", "lobe", "network", "n_voxels", "volume_mm3"),
    *("method", "baseline", "delta_age", "delta_age_sd_members", "delta_age_per_ml"),
    *("importance", "importance_per_ml", *NULL_COLUMNS, "rank", "ood_flag"),
)


@dataclass(frozen=True)
class Attribution:
    """What another method says about the prediction.

    Attributes
    ----------
    table : DataFrame
        Columns ``COLUMNS``, one row for each region and, for ``ig``, baseline.
    volume : ndarray of float32, shape (D, H, W)
        Map with the first baseline: years with the sign of occlusion, or importance (``noise``).
    """

    table: pd.DataFrame
    volume: NDArray[np.float32]


def attribute(
    subject: ExplanationInput,
    method: AttributionMethod,
    *,
    null: NullParcels,
    seed: int,
    ood_flag: str = "none",
) -> Attribution:
    """Explain a prediction by another method, voxel by voxel, and add up over regions.

    Parameters
    ----------
    subject : ExplanationInput
    method : {"lrp", "ig", "noise"}
        See :func:`.gradients.relevance`, :func:`.gradients.integrated_gradients` and
        :func:`.noise.noise_importance`. Each member of an ensemble is explained by itself; tables
        hold the mean and the spread.
    null : NullParcels
        Random parcels that regions are compared with.
    seed : int
        Of ``noise``.
    ood_flag : str
        Out-of-distribution flag of the prediction.

    Raises
    ------
    MissingExecutableError
        captum is not installed (``lrp`` and ``ig``).
    UsageError
        Relevance cannot pass the network (``lrp``).
    """
    baselines: Sequence[str | None] = subject.baselines if method == "ig" else [None]
    tables, first = [], None
    for number, baseline in enumerate(baselines):
        maps = voxel_maps(subject, method, baseline=baseline, seed=seed)
        table = attribution_table(subject, maps, null=null, signed=method != "noise")
        tables.append(table.assign(method=method, baseline=baseline, ood_flag=ood_flag))
        if first is None:
            first = maps.mean(axis=0).astype(np.float32)
        if subject.progress is not None:
            subject.progress(number + 1, len(baselines))
    assert first is not None
    return Attribution(pd.concat(tables, ignore_index=True)[list(COLUMNS)], first)


def voxel_maps(
    subject: ExplanationInput, method: AttributionMethod, *, baseline: str | None, seed: int
) -> NDArray[np.float64]:
    """One map for each member, shape (n_members, D, H, W)."""
    volume, decode, device = subject.volume, subject.decode, subject.device
    maps = []
    with cpu_threads(subject.n_threads):
        for member in subject.members:
            if method == "lrp":
                found = relevance(member, volume, decode, device=device)
            elif method == "ig":
                reference = subject.reference(baseline or subject.baseline)
                found = integrated_gradients(member, volume, reference, decode, device=device)
            else:
                found = noise_importance(
                    member, volume, subject.brain, decode, seed=seed, device=device
                )
            maps.append(found)
    return np.stack(maps)


def attribution_table(
    subject: ExplanationInput, maps: NDArray[np.float64], *, null: NullParcels, signed: bool
) -> pd.DataFrame:
    """Sums of voxel maps over regions.

    Parameters
    ----------
    subject : ExplanationInput
    maps : ndarray, shape (n_members, D, H, W)
        Years, or importance from 0 to 1 where not `signed`.
    null : NullParcels
    signed : bool
        Whether the map is of changes of the age.

    Returns
    -------
    DataFrame
        ``COLUMNS`` but for method, baseline and flag.
    """
    names = ["index", "name", "hemisphere", "lobe", "network"]
    table = subject.atlas.reindex(columns=names).reset_index(drop=True)
    patches = subject.regions
    table["n_voxels"] = [0 if patch is None else int(patch.box.sum()) for patch in patches]
    size_ml = table["n_voxels"] * subject.voxel_ml
    unit = 1.0 if signed else subject.voxel_ml
    sums = unit * np.array([_sums(values, patches) for values in maps])
    total = sums.mean(axis=0)
    table["volume_mm3"] = size_ml * 1000
    table["delta_age"] = total if signed else np.nan
    table["delta_age_sd_members"] = members_sd(sums) if signed else np.nan
    table["delta_age_per_ml"] = table["delta_age"] / size_ml.where(size_ml > 0)
    table["importance"] = np.abs(total)
    table["importance_per_ml"] = table["importance"] / size_ml.where(size_ml > 0)
    table[list(NULL_COLUMNS)] = np.nan
    if null.patches:
        drawn = unit * _sums(maps.mean(axis=0), null.patches)
        scores = null_scores(
            pd.DataFrame({"index": table["index"], "delta_age": total}),
            pd.DataFrame({"delta_age": drawn}),
            null.assignment,
        )
        table[list(NULL_COLUMNS)] = scores[list(NULL_COLUMNS)].to_numpy()
    table["rank"] = rank_by_size(table["importance"])
    return table


def _sums(values: NDArray[np.float64], patches: Sequence[Patch | None]) -> NDArray[np.float64]:
    """Sum of a map over each patch; NaN where there is none."""
    found = np.full(len(patches), np.nan)
    for number, patch in enumerate(patches):
        if patch is not None:
            where = tuple(slice(a, b) for a, b in zip(patch.origin, patch.end, strict=True))
            found[number] = values[where][patch.box].sum()
    return found
