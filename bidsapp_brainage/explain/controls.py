"""What an occlusion map is to be seen beside: what lies outside, and whether the parts add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.lookup import columns_of

from .engine.geometry import Patch
from .engine.planning.plan import label_patches

COLUMNS = tuple(columns_of("controls"))
SUM = "sum_of_regions"


def control_patches(
    labels: NDArray[np.integer], indices: Sequence[int], brain: NDArray[np.bool_]
) -> dict[str, Patch | None]:
    """Voxels that are occluded at once, by the name of the control.

    Parameters
    ----------
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel.
    indices : sequence of int
        Labels of the regions.
    brain : ndarray of bool, shape (D, H, W)

    Returns
    -------
    dict
        ``outside_brain`` (0, or what the network takes from outside), ``unlabelled`` (what the
        regions cannot show: brain that belongs to none), ``all_regions`` and ``whole_brain``;
        None where there are no voxels.
    """
    labelled = np.isin(labels, indices)
    masks = {
        "outside_brain": ~brain & ~labelled,
        "unlabelled": brain & ~labelled,
        "all_regions": labelled,
        "whole_brain": brain,
    }
    return {name: label_patches(mask.astype(np.int32), [1])[0] for name, mask in masks.items()}


def control_table(
    effects: pd.DataFrame, region_effects: pd.DataFrame, names: Sequence[str], baseline: str
) -> pd.DataFrame:
    """Controls of one baseline, and the sum of the regions beside them.

    Parameters
    ----------
    effects : DataFrame
        Result of :func:`.occlusion.effects`, one row for each of `names`.
    region_effects : DataFrame
        The same for single regions.
    names : sequence of str
    baseline : str

    Returns
    -------
    DataFrame
        Columns ``COLUMNS`` without the volume. ``sum_of_regions`` equals ``all_regions`` where
        regions act independently.
    """
    table = effects.drop(columns=["index", "delta_entropy"]).assign(control=list(names))
    parts = region_effects["delta_age"]
    total = {
        "control": SUM,
        "n_voxels": int(region_effects["n_voxels"].sum()),
        "delta_age": float(parts.sum(min_count=1)),
    }
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True).assign(baseline=baseline)
