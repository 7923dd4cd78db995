"""Attributions: other families of methods over the regions that occlusion explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.model.device import cpu_threads

from .engine.geometry import Patch
from .nulls import null_scores
from .occlusion import sizes
from .predictions import members_sd
from .scores import NULL_COLUMNS, rank_by_size
from .session import ExplanationSession, Results

VoxelMap: TypeAlias = Callable[[nn.Module, str], NDArray[np.float64]]
"""From one network and a baseline to a map (D, H, W)."""


def attribution(
    session: ExplanationSession,
    method: str,
    voxel_map: VoxelMap,
    *,
    by_baseline: bool = False,
    signed: bool = True,
) -> Results:
    """Explain a prediction voxel by voxel, and add up over regions.

    Parameters
    ----------
    session : ExplanationSession
    method : str
        Its key.
    voxel_map : callable
        Each member of an ensemble is explained by itself; tables hold the mean and the spread.
    by_baseline : bool
        Whether the map depends on the baseline; then the table has rows for each of them.
    signed : bool
        Whether the map is of changes of the age, in years; else of importance from 0 to 1.

    Returns
    -------
    dict
        Table `method`, one row for each region and baseline; map
        ``METHOD_map``, the mean over members with the first baseline.
    """
    inputs = session.inputs
    baselines = inputs.baselines if by_baseline else inputs.baselines[:1]
    tables, first = [], None
    for number, baseline in enumerate(baselines):
        with cpu_threads(inputs.ensemble.n_threads):
            maps = np.stack([voxel_map(member, baseline) for member in inputs.ensemble.members])
        table = attribution_table(session, maps, signed=signed)
        named = baseline if by_baseline else None
        tables.append(table.assign(method=method, baseline=named, ood_flag=inputs.ood_flag))
        if first is None:
            first = maps.mean(axis=0).astype(np.float32)
        if inputs.progress is not None:
            inputs.progress(number + 1, len(baselines))
    assert first is not None
    table = pd.concat(tables, ignore_index=True)[columns_of(method)]
    return {method: table, f"{method}_map": first}


def attribution_table(
    session: ExplanationSession, maps: NDArray[np.float64], *, signed: bool
) -> pd.DataFrame:
    """Sums of voxel maps over regions.

    Parameters
    ----------
    session : ExplanationSession
    maps : ndarray, shape (n_members, D, H, W)
        Years, or importance from 0 to 1 where not `signed`.
    signed : bool
        Whether the map is of changes of the age.

    Returns
    -------
    DataFrame
        Columns of the card but for method, baseline and flag.
    """
    names = ["index", "name", "hemisphere", "lobe", "network"]
    inputs, null = session.inputs, session.nulls
    table = inputs.atlas.reindex(columns=names).reset_index(drop=True)
    patches = session.blocks["regions"]
    table["n_voxels"] = sizes(patches)
    size_ml = table["n_voxels"] * inputs.voxel_ml
    unit = 1.0 if signed else inputs.voxel_ml
    sums = unit * np.array([_sums(values, patches) for values in maps])
    total = sums.mean(axis=0)
    table["volume_mm3"] = size_ml * 1000
    table["delta_age"] = total if signed else np.nan
    table["delta_age_sd_members"] = members_sd(sums) if signed else np.nan
    table["delta_age_per_ml"] = table["delta_age"] / size_ml.where(size_ml > 0)
    table["importance"] = np.abs(total)
    table["importance_sd_members"] = members_sd(np.abs(sums))
    table["importance_per_ml"] = table["importance"] / size_ml.where(size_ml > 0)
    table[list(NULL_COLUMNS)] = np.nan
    if null.patches:
        drawn = unit * _sums(maps.mean(axis=0), null.patches)
        scores = null_scores(
            table[["index", "n_voxels"]].assign(delta_age=total),
            pd.DataFrame({"n_voxels": sizes(null.patches), "delta_age": drawn}),
            null.assignment,
        )
        table[list(NULL_COLUMNS)] = scores[list(NULL_COLUMNS)].to_numpy()
    table["rank"] = rank_by_size(table["importance"])
    return table


def _sums(values: NDArray[np.float64], patches: Sequence[Patch | None]) -> NDArray[np.float64]:
    """Sum of a map over each patch; NaN where there is none."""
    sums = np.full(len(patches), np.nan)
    for number, patch in enumerate(patches):
        if patch is not None:
            where = tuple(slice(a, b) for a, b in zip(patch.origin, patch.end, strict=True))
            sums[number] = values[where][patch.box].sum()
    return sums


def as_batch(volume: NDArray[np.float32], network: nn.Module, device: str) -> Tensor:
    """A volume (D, H, W) as the network takes it, (1, 1, D, H, W)."""
    dtype = next(network.parameters(), torch.empty(0)).dtype
    return torch.as_tensor(volume.copy(), dtype=dtype, device=device)[None, None]


def negated(attribution: Tensor) -> NDArray[np.float64]:
    """Minus a batch of one as a volume: negative where the voxel makes the brain look older."""
    return -attribution.detach()[0, 0].double().cpu().numpy()
