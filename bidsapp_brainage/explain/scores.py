"""From raw occlusion effects to the columns that readers compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.explanation_columns import NULL
from bidsapp_brainage.catalogue.lookup import columns_of

NULL_COLUMNS = tuple(column.name for column in NULL)
COLUMNS = tuple(columns_of("table"))
MIN_REGIONS_FOR_ADJUSTMENT = 3


def nosa_importance(
    predicted_occluded: NDArray[np.floating],
    predicted: float | NDArray[np.floating],
    age: float | NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """Published NOSA importance, ``||age - occluded| - |age - intact||`` in years.

    Parameters
    ----------
    predicted_occluded : ndarray, shape (n_regions,)
        Predicted age with each region occluded, in years; NaN where a region is empty.
    predicted : float or ndarray, shape (n_regions,)
        Predicted age of the intact brain, in years.
    age : float, ndarray of shape (n_regions,) or None
        Chronological age in years; where it is unknown the importance is NaN.

    Returns
    -------
    ndarray, shape (n_regions,)
        Importance in years; it loses the sign of the effect and depends on the true age.

    Notes
    -----
    Source: He et al. 2025, Human Brain Mapping 46:e70239.
    """
    occluded = np.asarray(predicted_occluded, dtype=np.float64)
    true = np.nan if age is None else np.asarray(age, dtype=np.float64)
    return np.abs(np.abs(true - occluded) - np.abs(true - np.asarray(predicted)))


def min_max(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale to 0..1 within one image; NaN stays, and all NaN when the values do not vary."""
    known = np.asarray(values, dtype=np.float64)
    finite = known[np.isfinite(known)]
    if finite.size == 0 or finite.max() == finite.min():
        return np.full(known.shape, np.nan)
    return (known - finite.min()) / (finite.max() - finite.min())


def size_adjusted(
    effect: NDArray[np.floating], volume: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Residual of ``effect`` on the logarithm of ``volume`` (least squares with intercept).

    Parameters
    ----------
    effect : ndarray, shape (n_regions,)
        Absolute changes in years.
    volume : ndarray, shape (n_regions,)
        Region volumes, any unit; regions with volume 0 or NaN effect are left out and NaN.

    Returns
    -------
    ndarray, shape (n_regions,)
        Years above (positive) or below what a region of this size changes on average; all NaN
        with fewer than three regions or with regions of equal volume.
    """
    effect = np.asarray(effect, dtype=np.float64)
    volume = np.asarray(volume, dtype=np.float64)
    residual = np.full(effect.shape, np.nan)
    used = np.isfinite(effect) & (volume > 0)
    if used.sum() < MIN_REGIONS_FOR_ADJUSTMENT or np.ptp(volume[used]) == 0:
        return residual
    trend = np.polynomial.Polynomial.fit(np.log(volume[used]), effect[used], deg=1)
    residual[used] = effect[used] - trend(np.log(volume[used]))
    return residual


def occlusion_table(
    effects: pd.DataFrame,
    atlas_table: pd.DataFrame,
    *,
    voxel_ml: float,
    age: float | None,
    baseline: str,
    ood_flag: str = "none",
) -> pd.DataFrame:
    """Return the full region table of one image, one row per atlas region.

    Parameters
    ----------
    effects : DataFrame
        Result of :func:`bidsapp_brainage.explain.occlusion.occlude`; without
        ``delta_age_sd_members`` that column is NaN.
    atlas_table : DataFrame
        ``index``, ``name`` and, where the atlas has them, ``hemisphere``, ``lobe``, ``network``.
        Every row gets a row in the result, in this order.
    voxel_ml : float
        Volume of a voxel of the label image, in millilitres.
    age : float or None
        Chronological age in years, for the published importance only.
    baseline : str
        Name of the fill.
    ood_flag : str
        Out-of-distribution flag of the prediction that is explained.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``; those of the null are NaN until one is drawn (:mod:`.nulls`), and so
        are ``delta_age_mirrored`` and ``stable``
        (:func:`bidsapp_brainage.stats.regional.signs.signs`).
    """
    names = ["index", "name", "hemisphere", "lobe", "network"]
    table = atlas_table.reindex(columns=names).merge(effects, on="index", how="left")
    table["n_voxels"] = table["n_voxels"].fillna(0).astype(int)
    intact = float(effects.attrs["intact_age"])
    importance = nosa_importance(intact + table["delta_age"].to_numpy(), intact, age)
    size_ml = table["n_voxels"] * voxel_ml
    table["volume_mm3"] = size_ml * 1000
    table["baseline"] = baseline
    table["abs_delta_age"] = table["delta_age"].abs()
    table["delta_age_per_ml"] = table["delta_age"] / size_ml.where(size_ml > 0)
    table["delta_age_adj"] = size_adjusted(table["abs_delta_age"].to_numpy(), size_ml.to_numpy())
    table["nosa_importance"] = importance
    table["nosa_importance_scaled"] = min_max(importance)
    table[[*NULL_COLUMNS, "delta_age_mirrored"]] = np.nan
    table["rank"] = rank_by_size(table["delta_age"])
    table["ood_flag"] = ood_flag
    return table.reindex(columns=list(COLUMNS))


BASELINE_COLUMNS = tuple(columns_of("baselines"))


def baseline_table(
    atlas_table: pd.DataFrame, effects: Mapping[str, pd.DataFrame], *, voxel_ml: float
) -> pd.DataFrame:
    """Contributions with every baseline, one below the other.

    Parameters
    ----------
    atlas_table : DataFrame
        ``index`` and ``name``.
    effects : mapping
        By baseline, the result of :func:`bidsapp_brainage.explain.occlusion.effects`.
    voxel_ml : float
        Volume of a voxel of the label image, in millilitres.

    Returns
    -------
    DataFrame
        Columns ``BASELINE_COLUMNS``.
    """
    parts = []
    for baseline, changes in effects.items():
        part = atlas_table[["index", "name"]].merge(changes, on="index", how="left")
        part["n_voxels"] = part["n_voxels"].fillna(0).astype(int)
        size_ml = part["n_voxels"] * voxel_ml
        part["delta_age_per_ml"] = part["delta_age"] / size_ml.where(size_ml > 0)
        part["rank"] = rank_by_size(part["delta_age"])
        parts.append(part.assign(baseline=baseline))
    return pd.concat(parts, ignore_index=True)[list(BASELINE_COLUMNS)]


def rank_by_size(values: pd.Series) -> pd.Series:
    """Rank of the absolute values, 1 for the largest; missing where the value is."""
    return values.abs().rank(ascending=False, method="min").astype("Int64")


def paint_map(
    labels: NDArray[np.integer], indices: Sequence[int], values: Sequence[float]
) -> NDArray[np.float32]:
    """Give every voxel the value of its region.

    Parameters
    ----------
    labels : ndarray of int
        Region label of each voxel.
    indices : sequence of int
        Labels that have a value.
    values : sequence of float
        Value of each label; NaN is painted as 0.

    Returns
    -------
    ndarray of float32, same shape as ``labels``
        0 outside the listed regions.
    """
    labels = np.asarray(labels)
    other = max(indices, default=0) + 1
    table = np.zeros(other + 1, dtype=np.float32)
    table[list(indices)] = np.nan_to_num(np.asarray(values, dtype=np.float32))
    return table[np.where((labels < 0) | (labels > other), other, labels)]
