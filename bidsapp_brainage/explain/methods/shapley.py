"""Shapley values of regions: a fair division of what occluding all of them changes.

The players are regions, a coalition is the set of occluded regions, and its worth is the predicted
age. Sources: Castro et al. 2009, Computers & Operations Research 36:1726 (sampling of
permutations); Mitchell et al. 2022, Journal of Machine Learning Research 23(43) (antithetic pairs:
each permutation is also walked backwards, which cancels what is symmetric about the middle).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.baselines import Fill
from bidsapp_brainage.explain.ensemble import Occluder
from bidsapp_brainage.explain.predictions import Progress, members_sd
from bidsapp_brainage.explain.session import ExplanationSession, Results
from bidsapp_brainage.explain.walks import walk

COLUMNS = ("region", "shapley_age", "standard_error", "shapley_age_sd_members")


def explain(session: ExplanationSession, *, shapley_permutations: int) -> Results:
    """Shapley values of the regions beside their single effects.

    Parameters
    ----------
    session : ExplanationSession
    shapley_permutations : int
        Random orders of the regions; an odd number is rounded up.

    Returns
    -------
    dict
        ``shapley``: columns ``index``, ``name``, ``hemisphere``, ``lobe``, ``network``,
        ``n_voxels``, ``delta_age``, ``shapley_age``, ``standard_error``,
        ``shapley_age_sd_members``; years.
    """
    inputs, n_voxels = session.inputs, session.region_sizes
    single = session.region_effects()
    values = shapley_values(
        session.occluder, session.fill(), range(len(n_voxels)), n_voxels,
        n_permutations=shapley_permutations + shapley_permutations % 2, seed=inputs.seed,
        progress=inputs.progress,
    )  # fmt: skip
    table = inputs.atlas.reindex(columns=["index", "name", "hemisphere", "lobe", "network"])
    table = table.assign(
        n_voxels=n_voxels,
        delta_age=single["delta_age"].to_numpy(),
        **{name: values[name].to_numpy() for name in COLUMNS[1:]},
    )
    return {"shapley": table.reset_index(drop=True)}


def shapley_values(
    occluder: Occluder,
    fill: Fill,
    regions: Sequence[int],
    n_voxels: Sequence[int],
    *,
    n_permutations: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Estimate the Shapley values of regions.

    Parameters
    ----------
    occluder : Occluder
        Left as it was, to the last bit.
    fill : float or ndarray of shape (D, H, W)
        What occluded voxels hold.
    regions : sequence of int
        Numbers of regions of the occluder.
    n_voxels : sequence of int
        Size of every region of the occluder.
    n_permutations : int
        Walks through all regions, an even number: every second one is the one before, backwards.
    seed : int
        The same seed gives the same numbers.
    progress : callable, optional
        Called with (occlusions done, occlusions in all).

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``, one row for each of `regions` in their order: mean change of the
        predicted age (years, occluded minus intact) when the region is occluded after those
        before it, its standard error over pairs of walks (NaN with one pair), and its SD over the
        members of the ensemble (NaN with a single one). NaN for regions
        without voxels. ``attrs`` holds ``n_permutations`` and ``total``: the age with all regions
        occluded minus that with none, in years. The values sum to it, exactly to rounding.

    Raises
    ------
    UsageError
        A region is listed twice, or the number of permutations is odd or below 2.
    """
    if n_permutations < 2 or n_permutations % 2:
        raise UsageError(f"Shapley values need an even number of walks, not {n_permutations}.")
    if len(set(regions)) != len(regions):
        raise UsageError("A region is listed twice.")
    present = np.array([n_voxels[region] > 0 for region in regions], dtype=bool)
    players = np.asarray(regions, dtype=np.int64)[present]
    by_member = np.empty((n_permutations // 2, len(occluder.intact.member_ages), len(players)))
    rng = np.random.default_rng(seed)
    for number in range(len(by_member)):
        order = rng.permutation(len(players))
        forward = marginal_effects(occluder, fill, players[order].tolist())
        backward = marginal_effects(occluder, fill, players[order[::-1]].tolist())
        by_member[number][:, order] = (forward + backward[:, ::-1]) / 2
        if progress is not None:
            progress(2 * (number + 1) * len(players), n_permutations * len(players))
    pairs = by_member.mean(axis=1)
    frame = pd.DataFrame({"region": np.asarray(regions, dtype=np.int64)})
    frame.loc[present, "shapley_age"] = pairs.mean(axis=0)
    frame.loc[present, "standard_error"] = _standard_error(pairs)
    frame.loc[present, "shapley_age_sd_members"] = members_sd(by_member.mean(axis=0))
    frame = frame.reindex(columns=list(COLUMNS))
    frame.attrs |= {"n_permutations": n_permutations, "total": float(pairs.sum(axis=1).mean())}
    return frame


def marginal_effects(occluder: Occluder, fill: Fill, order: Sequence[int]) -> NDArray[np.float64]:
    """Change of the predicted age (years) at each step of occluding regions one after another.

    Parameters
    ----------
    occluder : Occluder
        Left as it was, to the last bit.
    fill : float or ndarray of shape (D, H, W)
    order : sequence of int
        Numbers of regions of the occluder.

    Returns
    -------
    ndarray, shape (n_members, len(order))
        Of each member; their mean is that of the ensemble.
    """
    return np.diff(walk(occluder, fill, order).member_ages, axis=1)


def _standard_error(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    # The two walks of a pair depend on each other: pairs are the independent draws.
    if len(pairs) < 2:
        return np.full(pairs.shape[1], np.nan)
    return np.asarray(pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs)))
