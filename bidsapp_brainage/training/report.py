"""How good a model is, in the numbers that its card carries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.loading import load_members
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.training.cohort import Cohort, load_volume


def accuracy(age: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy of raw predictions (years).

    Returns
    -------
    dict
        ``n``, ``mae``, ``rmse``, ``r`` (Pearson), ``r2`` (1 - SSE / SST), ``mean_gap``,
        ``gap_slope`` (years of gap per year of age: the age bias), ``mae_mean_predictor`` (of
        always saying the sample's mean age), ``age_min``, ``age_max``, ``age_sd``.
    """
    gap = predicted - age
    total = float(((age - age.mean()) ** 2).sum())
    return {
        "n": len(age),
        "mae": _rounded(np.abs(gap).mean()),
        "rmse": _rounded(np.sqrt((gap**2).mean())),
        "r": _rounded(np.corrcoef(age, predicted)[0, 1]),
        "r2": _rounded(1 - float((gap**2).sum()) / total),
        "mean_gap": _rounded(gap.mean()),
        "gap_slope": _rounded(np.polyfit(age, gap, 1)[0]),
        "mae_mean_predictor": _rounded(np.abs(age - age.mean()).mean()),
        "age_min": _rounded(age.min()),
        "age_max": _rounded(age.max()),
        "age_sd": _rounded(age.std(ddof=1)),
    }


def bias_line(age: np.ndarray, predicted: np.ndarray, source: str) -> dict[str, Any]:
    """Fit ``predicted = slope * age + intercept`` on predictions of people not trained on."""
    slope, intercept = np.polyfit(age, predicted, 1)
    residual = predicted - (slope * age + intercept)
    return {
        "slope": _rounded(slope),
        "intercept": _rounded(intercept),
        "residual_sd": _rounded(residual.std(ddof=2)),
        "n": len(age),
        "source": source,
    }


def sd_scale(age: np.ndarray, predicted: np.ndarray, sd: np.ndarray) -> float:
    """Factor that gives distribution SDs the size of the errors: RMS of error / SD."""
    return _rounded(np.sqrt((((predicted - age) / sd) ** 2).mean()))


def evaluate_card(card: ModelCard, cohort: Cohort, *, threads: int | None = None) -> pd.DataFrame:
    """Predict a cohort with a finished model, exactly as the app does.

    Returns
    -------
    DataFrame
        ``participant_id age predicted_age predicted_age_sd ci95_lower ci95_upper ood_flag``.
    """
    members = load_members(card)
    rows = []
    for person, age, path in zip(cohort.people, cohort.ages, cohort.paths, strict=True):
        result = predict(members, load_volume(path, card.shape), card, n_threads=threads)
        rows.append(
            {
                "participant_id": person,
                "age": float(age),
                "predicted_age": result.mean,
                "predicted_age_sd": result.sd_calibrated,
                "ci95_lower": result.ci95_lower,
                "ci95_upper": result.ci95_upper,
                "ood_flag": result.ood_flag,
            }
        )
    return pd.DataFrame(rows)


def external_accuracy(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy of :func:`evaluate_card` with the coverage of its 95 % intervals."""
    age = table["age"].to_numpy(dtype=float)
    covered = table["ci95_lower"].le(age) & table["ci95_upper"].ge(age)
    figures = accuracy(age, table["predicted_age"].to_numpy(dtype=float))
    return {**figures, "coverage95": _rounded(covered.mean())}


def _rounded(value: float) -> float:
    return round(float(value), 4)
