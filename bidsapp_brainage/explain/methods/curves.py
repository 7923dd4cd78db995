"""Deletion and insertion curves: whether a ranking of regions finds those that matter.

Regions are occluded one after another, in the order of a ranking (deletion), or put back into a
volume without any of them (insertion). A ranking is faithful when the predicted age moves sooner
than with random orders. Both curves measure change from their own start, so in both a larger area
is better.

Sources: Samek et al. 2017, IEEE Transactions on Neural Networks and Learning Systems 28:2660
(region perturbation against random orders); Petsiuk et al. 2018, BMVC (deletion and insertion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import integrate

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.baselines import Fill
from bidsapp_brainage.explain.engine.geometry import Patch, union
from bidsapp_brainage.explain.ensemble import Occluder
from bidsapp_brainage.explain.predictions import Predictions, Progress
from bidsapp_brainage.explain.session import ExplanationSession, Results, tables_of
from bidsapp_brainage.explain.walks import walk

RANDOM_ORDERS = 10
STEP_COLUMNS = (
    *("step", "region", "fraction_occluded"),
    *("predicted_age", "delta_age", "js_divergence"),
)
COLUMNS = tuple(columns_of("curves"))


def explain(session: ExplanationSession) -> Results:
    """Deletion and insertion of the regions, the largest contribution first.

    The rankings of the attributions among the session's results are followed, too.

    Returns
    -------
    dict
        ``curves``: columns ``COLUMNS``. ``ranking`` is ``occlusion`` or an attribution with its
        first baseline; ``curve`` is deletion or insertion; the rest is from
        :func:`beside_random`.

    Raises
    ------
    DataError
        No region has voxels.
    """
    inputs, fill, n_voxels = session.inputs, session.fill(), session.region_sizes
    own = session.ranking()
    attributions = tables_of(session.results, "attribution")
    orders = {
        "occlusion": own,
        **{str(one["method"].iloc[0]): _order(one, own, inputs.indices) for one in attributions},
    }
    empty = emptied(inputs.volume, session.blocks["regions"], fill)
    restoring = inputs.ensemble.open(empty, session.blocks.patches)
    kinds: list[tuple[str, Callable[..., pd.DataFrame], Occluder, Fill]] = [
        ("deletion", deletion_curve, session.occluder, fill),
        ("insertion", insertion_curve, restoring, inputs.volume),
    ]
    tables = []
    for kind, curve, walked, filled in kinds:
        random = random_order_curves(
            walked, filled, own, n_voxels, n_orders=RANDOM_ORDERS, seed=inputs.seed
        )
        for ranking, order in orders.items():
            table = beside_random(curve(walked, filled, order, n_voxels), random)
            tables.append(table.assign(curve=kind, ranking=ranking))
    table = pd.concat(tables, ignore_index=True)
    labels = dict(enumerate(inputs.indices))
    table["index"] = table.pop("region").map(labels, na_action="ignore").astype("Int64")
    return {"curves": table[list(COLUMNS)]}


def _order(attribution: pd.DataFrame, regions: Sequence[int], indices: Sequence[int]) -> list[int]:
    """Numbers of the regions by the importance that another method gives them."""
    size = attribution.drop_duplicates("index").set_index("index")["importance"]
    return sorted(regions, key=lambda region: -size.fillna(0).get(indices[region], 0))


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
        Columns ``STEP_COLUMNS``, one row for each step, the first (region missing) for the start.
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
        Of the volume that :func:`emptied` gives; left as it was, to the last bit.
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


def emptied(
    volume: NDArray[np.floating], regions: Sequence[Patch | None], fill: Fill
) -> NDArray[np.floating]:
    """The volume with all regions occluded.

    Occluding a region of it with the original volume as fill puts the region back.

    Parameters
    ----------
    volume : ndarray, shape (D, H, W)
    regions : sequence of Patch or None
    fill : float or ndarray of shape (D, H, W)
        What occluded voxels hold.
    """
    everything = union(regions)
    filled = volume.copy()
    if everything is not None:
        where = everything.within((0,) * volume.ndim, volume.shape)
        filled[where] = np.broadcast_to(fill, volume.shape)[where]
    return filled


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
    order: Sequence[int], fraction_occluded: NDArray[np.float64], predictions: Predictions
) -> pd.DataFrame:
    start = predictions.rows(0, 1)
    return pd.DataFrame(
        {
            "step": np.arange(len(predictions)),
            "region": pd.array([None, *order], dtype="Int64"),
            "fraction_occluded": fraction_occluded,
            "predicted_age": predictions.ages,
            "delta_age": predictions.ages - start.ages,
            "js_divergence": predictions.divergence_from(start),
        },
        columns=list(STEP_COLUMNS),
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
    return float(abs(integrate.trapezoid(heights, places)))


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
        See :func:`deletion_curve`; for insertion an occluder of the emptied volume, and the
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
    curves = []
    for number in range(n_orders):
        order = rng.permutation(sorted(regions)).tolist()
        curves.append(deletion_curve(occluder, fill, order, n_voxels))
        if progress is not None:
            progress(number + 1, n_orders)
    return curves


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
