"""Whether explanations of one prediction agree: rank correlations over regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.explain.session import ExplanationSession, Results, tables_of

COLUMNS = tuple(columns_of("agreement"))
MIN_REGIONS = 3


def explain(session: ExplanationSession) -> Results:
    """Compare the occlusion and the attributions among the session's results.

    Returns
    -------
    dict
        ``agreement``: one row for each pair of explanations, columns ``COLUMNS``.

    Raises
    ------
    DataError
        The session holds no occlusion.
    """
    if "occlusion" not in session.results:
        raise DataError("Without the tables of the occlusion there is nothing to compare.")
    baselines = session.results["occlusion"]["baselines"]
    assert isinstance(baselines, pd.DataFrame)
    attributions = tables_of(session.results, "attribution")
    return {"agreement": agreement_table(explanations_of(baselines, attributions))}


def explanations_of(
    baselines: pd.DataFrame, attributions: Iterable[pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Every explanation of a scan by its name, as :func:`compare` takes them.

    Parameters
    ----------
    baselines : DataFrame
        Occlusion with every baseline, :data:`.scores.BASELINE_COLUMNS`.
    attributions : iterable of DataFrame
        Tables of other methods.

    Returns
    -------
    dict
        ``occlusion_BASELINE``, ``METHOD_BASELINE`` or ``METHOD``.
    """
    sized = baselines.assign(
        importance=baselines["delta_age"].abs(),
        importance_per_ml=baselines["delta_age_per_ml"].abs(),
        method="occlusion",
    )
    explanations = {}
    for table in (sized, *attributions):
        for (method, baseline), rows in table.groupby(
            ["method", "baseline"], sort=False, dropna=False
        ):
            name = f"{method}_{baseline}" if isinstance(baseline, str) else method
            explanations[str(name)] = rows
    return explanations


def compare(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """Spearman correlations between two explanations of the same regions.

    Parameters
    ----------
    first, second : DataFrame
        ``index``, ``delta_age`` (missing in methods without sign), ``importance`` and
        ``importance_per_ml``.

    Returns
    -------
    dict
        The last four of ``COLUMNS``; NaN with fewer than three regions, or where one of the two
        does not vary.
    """
    both = first.merge(second, on="index", suffixes=("_a", "_b"))
    used = both[["importance_a", "importance_b"]].notna().all(axis=1)
    agreement: dict[str, float] = {"n_regions": int(used.sum())}
    columns = {
        "spearman": "delta_age",
        "spearman_abs": "importance",
        "spearman_abs_per_ml": "importance_per_ml",
    }
    for name, column in columns.items():
        agreement[name] = _spearman(both.loc[used, f"{column}_a"], both.loc[used, f"{column}_b"])
    return agreement


def agreement_table(explanations: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Agreement of every pair of explanations.

    Parameters
    ----------
    explanations : mapping
        By name; see :func:`compare`.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``, one row for each pair.
    """
    rows = [
        {"explanation_a": a, "explanation_b": b, **compare(explanations[a], explanations[b])}
        for a, b in combinations(explanations, 2)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _spearman(first: pd.Series, second: pd.Series) -> float:
    from scipy.stats import spearmanr

    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if len(a) < MIN_REGIONS or np.isnan([a, b]).any() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(spearmanr(a, b).statistic)
