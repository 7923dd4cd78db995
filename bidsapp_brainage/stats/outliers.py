"""Values far from the rest of the sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

MIN_SCANS = 8  # fewer do not tell what is usual
THRESHOLD = 3.5  # Iglewicz & Hoaglin 1993


def robust_outliers(
    table: pd.DataFrame, metrics: Sequence[str], *, threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Scans whose metric differs from the median by more than ``threshold`` robust SDs.

    Parameters
    ----------
    table : DataFrame
        One row per scan with a column ``scan``.
    metrics : sequence of str
        Numeric columns to look at; absent ones are passed over.
    threshold : float
        In median absolute deviations scaled to the SD of a normal distribution.

    Returns
    -------
    DataFrame
        ``scan``, ``metric``, ``value``, ``median``, ``robust_z``; strongest first. Empty when
        a metric has fewer than eight values or does not vary.
    """
    rows = []
    for name in metrics:
        absent = pd.Series(dtype=float)
        values = pd.to_numeric(table.get(name, absent), errors="coerce").astype(float)
        known = values[np.isfinite(values)]
        scale = stats.median_abs_deviation(known, scale="normal") if len(known) else 0.0
        if len(known) < MIN_SCANS or scale == 0:
            continue
        score = (known - known.median()) / scale
        far = score[score.abs() > threshold]
        rows += [(table.loc[i, "scan"], name, known[i], known.median(), z) for i, z in far.items()]
    found = pd.DataFrame(rows, columns=["scan", "metric", "value", "median", "robust_z"])
    order = found["robust_z"].abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order].reset_index(drop=True)
