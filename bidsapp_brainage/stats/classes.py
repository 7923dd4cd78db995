"""How well predicted classes and their probabilities match the true ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
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


def brier_losses(true: Floats, probabilities: NDArray[np.floating]) -> Floats:
    """Half the squared distance of probabilities (n_scans, n_classes) from the truth (Brier 1950).

    With two classes it is the squared error of the probability of one. NaN where the class (a
    number from 0) is not known.
    """
    truth = true[:, None] == np.arange(probabilities.shape[1])
    losses = ((probabilities - truth) ** 2).sum(axis=1) / 2
    return np.where(np.isfinite(true), losses, np.nan)


def brier_of_shares(true: Floats, predicted: Floats) -> float:
    """Brier score of answering everybody with the shares of the classes in the sample."""
    del predicted  # same signature as the other metrics
    shares = np.unique(true, return_counts=True)[1] / len(true)
    return float((shares * (1 - shares)).sum() / 2)


def recall(true: Floats, predicted: Floats, *, label: float) -> float:
    """Share of the scans of a class that were recognised; NaN without any."""
    own = true == label
    return float((predicted[own] == label).mean()) if own.any() else np.nan


def class_codes(true: Sequence[str | None], classes: Sequence[str]) -> Floats:
    """Place of each scan's class in the list, shape (n_scans,); NaN where it is not in it."""
    codes = {label: float(index) for index, label in enumerate(classes)}
    return np.array([np.nan if label is None else codes.get(label, np.nan) for label in true])


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
    wanted = class_codes(true, classes)
    likeliest = probabilities.argmax(axis=1).astype(float)
    estimate = functools.partial(
        accuracy.estimate, true=wanted, participants=participants, n_boot=n_boot, seed=seed,
        subset=subset,
    )  # fmt: skip
    parts = [estimate("balanced_accuracy", balanced_accuracy, predicted=likeliest)]
    if len(classes) == 2:
        parts.append(estimate("auc", area_under_curve, predicted=probabilities[:, 1]))
    return accuracy.join(parts)


def class_scores(
    true: Sequence[str | None],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    participants: NDArray[np.generic],
    *,
    n_boot: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """All scores of a target of classes, with bootstrap intervals over participants.

    Parameters
    ----------
    true, probabilities, classes, participants, n_boot, seed
        As in :func:`class_metrics`.

    Returns
    -------
    DataFrame
        Columns of :mod:`bidsapp_brainage.stats.accuracy` and ``class``, missing for scores of all
        classes: balanced accuracy, Brier score, and that of answering with the shares of the
        classes; of each class the area under the ROC curve against the others (of two classes only
        the second's: that of the first is the same), recall, and how far its mean probability lies
        above its share. Empty if nobody's class is known.
    """
    wanted = class_codes(true, classes)
    likeliest = probabilities.argmax(axis=1).astype(float)
    estimate = functools.partial(
        accuracy.estimate, participants=participants, n_boot=n_boot, seed=seed
    )

    def mean(_: Floats, values: Floats) -> float:
        return float(values.mean())

    losses = brier_losses(wanted, probabilities)
    parts: list[tuple[str | None, accuracy.Accuracy]] = [
        (None, estimate("balanced_accuracy", balanced_accuracy, wanted, likeliest)),
        (None, estimate("brier", mean, wanted, losses)),
        (None, estimate("brier_of_shares", brier_of_shares, wanted, likeliest)),
    ]
    for code, label in enumerate(classes):
        own = np.where(np.isfinite(wanted), wanted == code, np.nan)
        of_class = probabilities[:, code]
        if len(classes) > 2 or code == 1:
            parts.append((label, estimate("auc", area_under_curve, own, of_class)))
        found = functools.partial(recall, label=float(code))
        parts.append((label, estimate("recall", found, wanted, likeliest)))
        parts.append((label, estimate("probability_error", mean, own, of_class - own)))
    tables = [part.table.assign(**{"class": label}) for label, part in parts]
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def confusion(
    true: Sequence[str | None], probabilities: NDArray[np.floating], classes: Sequence[str]
) -> pd.DataFrame:
    """Scans by true and predicted class: ``true_class predicted_class n_scans``, all pairs."""
    wanted, likeliest = class_codes(true, classes), probabilities.argmax(axis=1)
    rows = [
        (one, other, int(((wanted == i) & (likeliest == j)).sum()))
        for i, one in enumerate(classes)
        for j, other in enumerate(classes)
    ]
    return pd.DataFrame(rows, columns=["true_class", "predicted_class", "n_scans"])
