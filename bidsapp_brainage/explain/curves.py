"""Deletion and insertion curves: whether a ranking of regions finds those that matter.

Regions are occluded one after another, in the order of a ranking (deletion), or put back into a
volume without any of them (insertion). A ranking is faithful when the predicted age moves sooner
than with random orders. Both curves measure change from their own start, so in both a larger area
is better.

Sources: Samek et al. 2017, IEEE Transactions on Neural Networks and Learning Systems 28:2660
(region perturbation against random orders); Petsiuk et al. 2018, BMVC (deletion and insertion).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage.errors import UsageError

from .engine.geometry import Patch, union
from .occlusion_engines import Fill, Occluder, open_occluder
from .predictions import Decode, Predictions, Progress

COLUMNS = (
    "step",
    "region",
    "fraction_occluded",
    "predicted_age",
    "delta_age",
    "js_divergence",
)


@contextmanager
def temporary_commits(occluder: Occluder) -> Iterator[Callable[[int, Fill], Predictions]]:
    """Yield the occluder's ``commit``; undo on leaving, also after an error, what it committed."""
    n_commits = 0

    def commit(region: int, fill: Fill) -> Predictions:
        nonlocal n_commits
        answer = occluder.commit(region, fill)
        n_commits += 1
        return answer

    try:
        yield commit
    finally:
        for _ in range(n_commits):
            occluder.undo()


def walk(occluder: Occluder, fill: Fill, order: Sequence[int]) -> Predictions:
    """Occlude regions one after another and take everything back.

    Parameters
    ----------
    occluder : Occluder
    fill : float or ndarray of shape (D, H, W)
    order : sequence of int
        Numbers of regions of the occluder.

    Returns
    -------
    Predictions
        ``len(order) + 1`` of them; the first is to the volume as it was.
    """
    with temporary_commits(occluder) as commit:
        found = [occluder.intact, *(commit(region, fill) for region in order)]
    return Predictions.joined(found)


def deletion_curve(
    occluder: Occluder, fill: Fill, order: Sequence[int], n_voxels: Sequence[int]
) -> pd.DataFrame:
    """Occlude regions one after another.

    Parameters
    ----------
    occluder : Occluder
        Left as it was, to the last bit.
    fill : float or ndarray of shape (D, H, W)
        What occluded voxels hold.
    order : sequence of int
        Numbers of regions of the occluder, first to be occluded first. Regions without voxels are
        left out of the curve.
    n_voxels : sequence of int
        Size of every region of the occluder. Regions must not overlap.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``, one row for each step, the first (region missing) for the start.
        ``fraction_occluded`` is that of the voxels of all listed regions; ``delta_age`` (years)
        and ``js_divergence`` (nats) are differences from the first row.

    Raises
    ------
    UsageError
        A region is listed twice, or none of them has voxels.
    """
    order, occluded = _steps(order, n_voxels)
    return _curve(order, occluded, walk(occluder, fill, order))


def insertion_curve(
    occluder: Occluder,
    volume: NDArray[np.floating],
    order: Sequence[int],
    n_voxels: Sequence[int],
) -> pd.DataFrame:
    """Put regions back one after another.

    Parameters
    ----------
    occluder : Occluder
        From :func:`open_insertion`; left as it was, to the last bit.
    volume : ndarray, shape (D, H, W)
        The volume with nothing occluded.
    order, n_voxels
        See :func:`deletion_curve`; the first region is put back first.

    Returns
    -------
    DataFrame
        As from :func:`deletion_curve`, with ``fraction_occluded`` falling from 1 to 0.

    Raises
    ------
    UsageError
        A region is listed twice, or none of them has voxels.
    """
    order, restored = _steps(order, n_voxels)
    return _curve(order, 1 - restored, walk(occluder, volume, order))


def open_insertion(
    members: Sequence[nn.Module],
    volume: NDArray[np.floating],
    regions: Sequence[Patch | None],
    fill: Fill,
    *,
    decode: Decode,
    **options: Any,
) -> Occluder:
    """Prepare insertion: an occluder of the volume with all regions occluded.

    Occluding a region of it with the original volume as fill puts the region back.

    Parameters
    ----------
    members, volume, regions, decode
        See :func:`bidsapp_brainage.explain.occlusion_engines.open_occluder`.
    fill : float or ndarray of shape (D, H, W)
        What occluded voxels hold.
    **options
        Further options of ``open_occluder``.
    """
    everything = union(regions)
    filled = volume.copy()
    if everything is not None:
        where = everything.within((0,) * volume.ndim, volume.shape)
        filled[where] = np.broadcast_to(fill, volume.shape)[where]
    return open_occluder(members, filled, regions, decode=decode, **options)


def _steps(order: Sequence[int], n_voxels: Sequence[int]) -> tuple[list[int], NDArray[np.float64]]:
    """Regions with voxels, and the part of their voxels that each step has reached, from 0."""
    if len(set(order)) != len(order):
        raise UsageError("An order of regions lists a region twice.")
    kept = [int(region) for region in order if n_voxels[region] > 0]
    if not kept:
        raise UsageError("None of the regions of this order has voxels.")
    reached = np.cumsum([0, *(n_voxels[region] for region in kept)])
    return kept, reached / reached[-1]


def _curve(
    order: Sequence[int], fraction_occluded: NDArray[np.float64], answers: Predictions
) -> pd.DataFrame:
    start = answers.rows(0, 1)
    return pd.DataFrame(
        {
            "step": np.arange(len(answers)),
            "region": pd.array([None, *order], dtype="Int64"),
            "fraction_occluded": fraction_occluded,
            "predicted_age": answers.ages,
            "delta_age": answers.ages - start.ages,
            "js_divergence": answers.divergence_from(start),
        },
        columns=list(COLUMNS),
    )


def curve_area(curve: pd.DataFrame) -> float:
    """Area under the absolute change of age over the fraction of voxels, in years (trapezoids).

    Parameters
    ----------
    curve : DataFrame
        From :func:`deletion_curve` or :func:`insertion_curve`.
    """
    heights, places = curve["delta_age"].abs(), curve["fraction_occluded"]
    # Insertion runs from right to left.
    return float(abs(np.trapezoid(heights, places)))


def random_order_curves(
    occluder: Occluder,
    fill: Fill,
    regions: Sequence[int],
    n_voxels: Sequence[int],
    *,
    n_orders: int,
    seed: int,
    progress: Progress | None = None,
) -> list[pd.DataFrame]:
    """Deletion curves of random orders of the same regions.

    Parameters
    ----------
    occluder, fill, n_voxels
        See :func:`deletion_curve`; for insertion the occluder of :func:`open_insertion` and the
        original volume as fill.
    regions : sequence of int
        Numbers of regions of the occluder; their order does not matter.
    n_orders : int
    seed : int
        The same seed gives the same orders.
    progress : callable, optional
        Called with (orders done, orders in all).

    Raises
    ------
    UsageError
        No random order was asked for.
    """
    if n_orders < 1:
        raise UsageError(f"A comparison needs at least 1 random order, not {n_orders}.")
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n_orders):
        order = rng.permutation(sorted(regions)).tolist()
        found.append(deletion_curve(occluder, fill, order, n_voxels))
        if progress is not None:
            progress(number + 1, n_orders)
    return found


def beside_random(curve: pd.DataFrame, random: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """A curve with what random orders do (faithfulness).

    Parameters
    ----------
    curve : DataFrame
        From :func:`deletion_curve` or :func:`insertion_curve`.
    random : sequence of DataFrame
        From :func:`random_order_curves`, of the same occluder and regions.

    Returns
    -------
    DataFrame
        The curve with ``random_abs_delta_age`` (mean over random orders of the absolute change at
        the same distance from the start) and, the same in every row, ``area``,
        ``random_area_mean``, ``random_area_sd``, ``area_between`` (the first minus the second) and
        ``z_area`` (that over the third); years. A deviation of fewer than two orders is NaN, and
        so is ``z_area`` where random orders do not vary.
    """
    start = curve["fraction_occluded"].iloc[0]
    way = (curve["fraction_occluded"] - start).abs()
    heights = [np.interp(way, r["fraction_occluded"], r["delta_age"].abs()) for r in random]
    area, areas = curve_area(curve), np.array([curve_area(each) for each in random])
    spread = float(areas.std(ddof=1)) if len(areas) > 1 else np.nan
    between = area - float(areas.mean())
    return curve.assign(
        random_abs_delta_age=np.mean(heights, axis=0),
        area=area,
        random_area_mean=areas.mean(),
        random_area_sd=spread,
        area_between=between,
        z_area=between / spread if spread > 0 else np.nan,
    )
