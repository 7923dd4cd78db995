"""Lines of predicted on chronological age, and the gap without them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.stats.folds import assign_folds

N_FOLDS = 10
MIN_REFERENCE = 20  # participants; fewer do not determine a line
SURE_REFERENCE = 100  # fewer make the correction uncertain


@dataclass(frozen=True)
class KFoldCorrection:
    """Gap corrected within a dataset.

    ``gap`` is in years on the index of the scans, NaN where the age is unknown; the line is that of
    the whole reference group, of ``n_reference`` participants of these ages (years). Warnings say
    why it may not be trusted.
    """

    gap: pd.Series
    slope: float
    intercept: float
    n_reference: int
    age_range: tuple[float, float]
    warnings: tuple[str, ...] = ()


def kfold_correction(
    scans: pd.DataFrame, reference: pd.Series, *, n_folds: int = N_FOLDS
) -> tuple[KFoldCorrection | None, list[str]]:
    """Subtract a line fitted on reference people of the same dataset (de Lange and Cole 2020).

    Each reference person gets the line of folds without this person; everybody else gets the line
    of the whole reference group. Sentences say why there is none, or why it may not be trusted.

    Parameters
    ----------
    scans : DataFrame
        ``participant_id``, ``chronological_age`` and ``predicted_age`` (years), a row per scan.
    reference : Series of bool
        Scans of the reference group, same index.
    n_folds : int
        Folds over participants, each over the whole range of ages.
    """
    age, predicted = scans["chronological_age"], scans["predicted_age"]
    known = age.notna() & predicted.notna()
    fit = scans[known & reference.astype(bool)]
    n_people = fit["participant_id"].nunique()
    span = np.ptp(fit["chronological_age"]) if len(fit) else 0.0
    if n_people < MIN_REFERENCE or span == 0:
        return None, [
            "No correction was fitted within the dataset: too few participants of known age in "
            f"the reference group ({n_people}, over {span:.1f} years; at least {MIN_REFERENCE} of "
            "different age are needed)."
        ]
    slope, intercept = _line(fit)
    expected = slope * age + intercept
    ages = fit["chronological_age"]
    folds = assign_folds(fit["participant_id"].tolist(), ages.to_numpy(), n_folds, seed=0)
    for fold in np.unique(folds):
        a, b = _line(fit[folds != fold])
        rows = fit.index[folds == fold]
        expected.loc[rows] = a * age.loc[rows] + b
    warnings = _warnings(n_people, ages, age[known & ~reference.astype(bool)])
    correction = KFoldCorrection(
        gap=(predicted - expected).where(known),
        slope=slope,
        intercept=intercept,
        n_reference=n_people,
        age_range=(float(ages.min()), float(ages.max())),
        warnings=tuple(warnings),
    )
    return correction, [f"Correction within the dataset: {text}." for text in warnings]


def _line(scans: pd.DataFrame) -> tuple[float, float]:
    slope, intercept = np.polyfit(scans["chronological_age"], scans["predicted_age"], 1)
    return float(slope), float(intercept)


def _warnings(n_people: int, ages: pd.Series, others: pd.Series) -> list[str]:
    sentences = []
    if n_people < SURE_REFERENCE:
        sentences.append(
            f"the line rests on few participants ({n_people}; below {SURE_REFERENCE} it is "
            "uncertain)"
        )
    outside = (others < ages.min()) | (others > ages.max())
    if outside.any():
        sentences.append(
            "the line is extrapolated to people outside the reference group younger than "
            f"{ages.min():.1f} or older than {ages.max():.1f} years (scans: {int(outside.sum())})"
        )
    return sentences
