"""How well predicted classes match the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.intervals import Floats


def balanced_accuracy(true: Floats, predicted: Floats) -> float:
    """Mean over the classes of the share of their scans that were recognised; chance is 1 / k."""
    right = true == predicted
    return float(np.mean([right[true == label].mean() for label in np.unique(true)]))


def area_under_curve(true: Floats, score: Floats) -> float:
    """Area under the ROC curve of a score for class 1 against class 0; NaN with one class."""
    positive = true == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return np.nan
    ranks = rankdata(score)[positive].sum()  # ties count half
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def class_metrics(
    true: Sequence[str | None],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    participants: NDArray[np.generic],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    subset: str = "all",
) -> accuracy.Accuracy:
    """Balanced accuracy, and for two classes the area under the ROC curve.

    Parameters
    ----------
    true : sequence of str or None, length n_scans
        None where unknown; such scans are left out.
    probabilities : ndarray, shape (n_scans, n_classes)
    classes : sequence of str
        Names of the columns; for two classes the area is that of the second.
    participants, n_boot, seed, subset
        As in :func:`bidsapp_brainage.stats.accuracy.metrics`.
    """
    codes = {label: float(index) for index, label in enumerate(classes)}
    wanted = np.array([codes.get(label, np.nan) if label is not None else np.nan for label in true])
    likeliest = probabilities.argmax(axis=1).astype(float)
    parts = [
        accuracy.estimate(
            "balanced_accuracy",
            balanced_accuracy,
            wanted,
            likeliest,
            participants,
            n_boot=n_boot,
            seed=seed,
            subset=subset,
        )
    ]
    if len(classes) == 2:
        parts.append(
            accuracy.estimate(
                "auc",
                area_under_curve,
                wanted,
                probabilities[:, 1],
                participants,
                n_boot=n_boot,
                seed=seed,
                subset=subset,
            )
        )
    return accuracy.join(parts)
