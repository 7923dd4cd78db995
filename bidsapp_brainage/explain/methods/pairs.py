"""Pairs of regions: whether occluding two changes more, or less, than the sum of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.baselines import Fill
from bidsapp_brainage.explain.ensemble import Occluder
from bidsapp_brainage.explain.predictions import Progress
from bidsapp_brainage.explain.session import ExplanationSession, Results
from bidsapp_brainage.explain.walks import temporary_commits

COLUMNS = ("a", "b", "delta_a", "delta_b", "delta_both", "interaction")
TOP_REGIONS = 12


def explain(session: ExplanationSession, *, n_regions: int = TOP_REGIONS) -> Results:
    """Interactions of the regions with the largest contributions.

    Parameters
    ----------
    session : ExplanationSession
    n_regions : int
        How many regions are paired with each other.

    Returns
    -------
    dict
        ``pairs``: columns ``index_a``, ``name_a``, ``index_b``, ``name_b``, ``delta_a``,
        ``delta_b``, ``delta_both``, ``interaction`` (years), the largest interaction first.

    Raises
    ------
    DataError
        No region has voxels.
    """
    inputs = session.inputs
    top = session.ranking()[:n_regions]
    table = pairwise(
        session.occluder, session.fill(), top, session.region_sizes, progress=inputs.progress
    )
    names = inputs.atlas["name"].tolist()
    for end in ("b", "a"):
        numbers = table.pop(end).astype(int)
        table.insert(0, f"name_{end}", [names[number] for number in numbers])
        table.insert(0, f"index_{end}", [inputs.indices[number] for number in numbers])
    order = table["interaction"].abs().sort_values(ascending=False, kind="stable").index
    return {"pairs": table.loc[order].reset_index(drop=True)}


def pairwise(
    occluder: Occluder,
    fill: Fill,
    regions: Sequence[int],
    n_voxels: Sequence[int],
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Interaction of every pair of some regions.

    Parameters
    ----------
    occluder : Occluder
        Left as it was, to the last bit.
    fill : float or ndarray of shape (D, H, W)
        What occluded voxels hold.
    regions : sequence of int
        Numbers of regions of the occluder. The work grows with the square of their number.
    n_voxels : sequence of int
        Size of every region of the occluder.
    progress : callable, optional
        Called with (pairs done, pairs in all).

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``, one row for each pair, ``a`` before ``b`` in `regions`. All changes of
        age are in years, occluded minus intact; ``interaction`` is ``delta_both - delta_a -
        delta_b``: 0 where the two act independently. NaN where a region has no voxels.

    Raises
    ------
    UsageError
        A region is listed twice.

    Notes
    -----
    This is the interaction of a pair in the absence of all other occlusions, the pair's dividend
    of Harsanyi; the interaction index of Grabisch and Roubens 1999 (International Journal of Game
    Theory 28:547) averages it over what else is occluded.
    """
    if len(set(regions)) != len(regions):
        raise UsageError("A region is listed twice.")
    regions = [int(region) for region in regions]
    missing = np.array([n_voxels[region] == 0 for region in regions], dtype=bool)
    intact = occluder.intact.ages[0]
    # Once more, in this company: a sum's last digits depend on what is computed beside it, and an
    # interaction is a small difference.
    single = np.where(missing, np.nan, occluder.occlude(fill, regions).ages - intact)
    n_pairs = len(regions) * (len(regions) - 1) // 2
    parts = []
    for k, a in enumerate(regions[:-1]):
        rest = regions[k + 1 :]
        with temporary_commits(occluder) as commit:
            commit(a, fill)
            both = occluder.occlude(fill, rest).ages - intact
        both[missing[k + 1 :] | missing[k]] = np.nan
        parts.append(_rows(a, rest, single[k], single[k + 1 :], both))
        if progress is not None:
            progress(n_pairs - len(rest) * (len(rest) - 1) // 2, n_pairs)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _rows(
    a: int,
    rest: Sequence[int],
    delta_a: float,
    delta_b: NDArray[np.float64],
    both: NDArray[np.float64],
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": a,
            "b": list(rest),
            "delta_a": delta_a,
            "delta_b": delta_b,
            "delta_both": both,
            "interaction": both - delta_a - delta_b,
        },
        columns=list(COLUMNS),
    )
