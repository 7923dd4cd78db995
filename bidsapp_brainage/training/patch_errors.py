"""How wrong the ages of patches, and of regions, are in people left out."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.patches import PatchLinear, region_means
from bidsapp_brainage.segmentation.card import find_segmentation
from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.intervals import Paired
from bidsapp_brainage.training.crossval import CrossValidation
from bidsapp_brainage.training.data.cohort import load_regions
from bidsapp_brainage.training.fitting.patches import FILE

N_BOOT = 1000


def patch_errors(run: CrossValidation) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """Errors of patches for the card, and of regions as a table; None for other networks.

    The people of each fold are judged by networks that did not learn from them.
    """
    network = build_network(run.recipe.card["architecture"])
    if not isinstance(network, PatchLinear):
        return None
    predicted = _left_out(run)
    known = ~run.cohort.simulated & np.isfinite(run.cohort.ages)
    facts = patch_facts(run.cohort.ages[known], predicted[known])
    return facts, _regions(run, network, predicted, np.flatnonzero(known))


def patch_facts(ages: NDArray[np.float64], predicted: NDArray[np.floating]) -> dict[str, Any]:
    """What a card tells of its patches, from people left out.

    Parameters
    ----------
    ages : ndarray, shape (n,)
        Years.
    predicted : ndarray, shape (n, *places)
        NaN where a place has no age.

    Returns
    -------
    dict
        ``shape``, ``n``, and flat lists ``mae`` (years), ``slope`` and ``intercept`` (of predicted
        on true age), None where fewer than all people have an age.
    """
    flat = predicted.reshape(len(predicted), -1).astype(np.float64)
    known: NDArray[np.bool_] = np.all(np.isfinite(flat), axis=0)
    facts: dict[str, list[float | None]] = {"mae": [], "slope": [], "intercept": []}
    for place in range(flat.shape[1]):
        row: dict[str, float | None] = dict.fromkeys(facts)
        if known[place]:
            slope = 1 + accuracy.bias_slope(ages, flat[:, place])
            row["slope"] = round(slope, 4)
            row["intercept"] = round(float(flat[:, place].mean() - slope * ages.mean()), 3)
            row["mae"] = round(accuracy.mae(ages, flat[:, place]), 3)
        for name, values in facts.items():
            values.append(row[name])
    return {"shape": list(predicted.shape[1:]), "n": len(ages), **facts}


def _left_out(run: CrossValidation) -> NDArray[np.float64]:
    """Ages of patches of everybody, (n_scans, *places); seeds are averaged."""
    total: NDArray[np.float64] | None = None
    for fold, seed in run.members:
        found = np.load(run.place(fold, seed) / FILE)
        if total is None:
            total = np.zeros((len(run.cohort), *found.shape[1:]))
        total[run.folds == fold] += found / run.recipe.n_seeds
    assert total is not None
    return total


def _regions(
    run: CrossValidation,
    network: PatchLinear,
    predicted: NDArray[np.float64],
    scans: NDArray[np.intp],
) -> pd.DataFrame:
    """Accuracy of the mean age of every region of the segmentation; empty without regions.

    Columns ``index name n mae mae_lower mae_upper r slope``, the best first.
    """
    ages: dict[int, dict[int, float]] = defaultdict(dict)
    for scan in scans:
        labels = load_regions(run.cohort.paths[scan])
        if labels is None:
            return pd.DataFrame()
        for index, age in region_means(network.spread_over_voxels(predicted[scan]), labels).items():
            ages[index][int(scan)] = age
    names = find_segmentation(run.recipe.card["input"]["segmentation"]).labels.table
    rows = []
    for index, name in zip(names["index"], names["name"], strict=True):
        found = pd.Series(ages[int(index)], dtype=float).dropna()
        if len(found) < len(scans) // 2:
            continue
        true = run.cohort.ages[found.index.to_numpy(dtype=int)]
        said = np.asarray(found, dtype=np.float64)
        people = np.array(run.cohort.people)[found.index.to_numpy(dtype=int)]
        lower, upper, _ = Paired.of(true, said, people).interval(accuracy.mae, N_BOOT, 0)
        rows.append(
            {
                "index": int(index),
                "name": name,
                "n": len(found),
                "mae": accuracy.mae(true, said),
                "mae_lower": lower,
                "mae_upper": upper,
                "r": accuracy.pearson_r(true, said),
                "slope": 1 + accuracy.bias_slope(true, said),
            }
        )
    return pd.DataFrame(rows).sort_values("mae", ignore_index=True)
