"""Left against right on homologous pairs of regions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.levels import bare_name
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.stats.intervals import mean_with_interval
from bidsapp_brainage.stats.permutation import false_discovery, sign_flip_max_t

COLUMNS = tuple(columns_of("asymmetry"))


def homologous_pairs(regions: pd.DataFrame) -> pd.DataFrame:
    """Regions of the two hemispheres that have the same name apart from the side.

    From ``index``, ``name`` and ``hemisphere`` (L or R), a row per region, to ``pair``,
    ``index_left``, ``index_right``; names that are not unique on a side have no pair.
    """
    sides = {}
    for side in ("L", "R"):
        part = regions[regions["hemisphere"] == side]
        keys = part["name"].astype(str).map(bare_name).str.casefold()
        single = ~keys.duplicated(keep=False)
        sides[side] = pd.Series(part["index"][single].to_numpy(), index=keys[single])
    common = sides["L"].index.intersection(sides["R"].index, sort=False)
    return pd.DataFrame(
        {
            "pair": common,
            "index_left": sides["L"].loc[common].to_numpy(),
            "index_right": sides["R"].loc[common].to_numpy(),
        }
    )


def asymmetry_table(
    values: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    flipped: pd.DataFrame | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the contributions of homologous regions over participants.

    Parameters
    ----------
    values : DataFrame
        Participants by region index, ``delta_age`` in years.
    pairs : DataFrame
        From :func:`homologous_pairs`; one row of ``COLUMNS`` each. Tests need three participants.
    flipped : DataFrame, optional
        The same for mirrored inputs, with the regions named by the side on which the image shows
        them. What follows the brain changes its sign with the mirror; what the model prefers does
        not.
    n_permutations, seed : int
        Of the sign flips.
    """
    left, right = (
        values.reindex(columns=pairs[name]).to_numpy(dtype=np.float64)
        for name in ("index_left", "index_right")
    )
    difference = left - right
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (np.abs(left) - np.abs(right)) / (np.abs(left) + np.abs(right))
    rows = [_describe(left[:, i], right[:, i], index[:, i]) for i in range(difference.shape[1])]
    table = pd.concat([pairs.reset_index(drop=True), pd.DataFrame(rows)], axis=1)
    if rows:
        table["q"] = false_discovery(table["p"].to_numpy())
        enough = table["p"].notna().any()
        table["p_maxt"] = (
            sign_flip_max_t(difference, n_permutations=n_permutations, seed=seed)
            if enough
            else np.nan
        )
    return _with_flip(table, pairs, flipped).reindex(columns=list(COLUMNS))


def mean_difference(values: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Mean over participants of left minus right, in the order of the pairs."""
    left, right = (values.reindex(columns=pairs[name]) for name in ("index_left", "index_right"))
    return pd.DataFrame(left.to_numpy() - right.to_numpy()).mean()


def _describe(left: np.ndarray, right: np.ndarray, index: np.ndarray) -> dict[str, float]:
    known = np.isfinite(left) & np.isfinite(right)
    difference = (left - right)[known]
    facts: dict[str, float] = {
        "n_participants": len(difference),
        "mean_left": left[known].mean() if len(difference) else np.nan,
        "mean_right": right[known].mean() if len(difference) else np.nan,
        "mean_difference": difference.mean() if len(difference) else np.nan,
        "mean_asymmetry": np.nanmean(index) if np.isfinite(index).any() else np.nan,
    }
    return facts | mean_with_interval(difference).tested


def _with_flip(
    table: pd.DataFrame, pairs: pd.DataFrame, flipped: pd.DataFrame | None
) -> pd.DataFrame:
    if flipped is None or flipped.empty or table.empty:
        return table
    left, right = (
        flipped.reindex(columns=pairs[name]).to_numpy(dtype=np.float64)
        for name in ("index_left", "index_right")
    )
    mirrored = np.nanmean(left - right, axis=0)
    table = table.assign(mean_difference_flipped=mirrored)
    table["brain_part"] = (table["mean_difference"] - mirrored) / 2
    table["model_part"] = (table["mean_difference"] + mirrored) / 2
    return table
