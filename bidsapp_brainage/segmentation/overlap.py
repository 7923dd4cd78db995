"""How well two segmentations agree (Dice 1945, Ecology 26:297)."""

from __future__ import annotations

import numpy as np

from .labels import TISSUES, VENTRICLES, Labels


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks (bool, same shape), 0 to 1; NaN where both are empty."""
    size = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / size if size else float("nan")


def overlaps(found: np.ndarray, truth: np.ndarray, labels: Labels) -> dict[str, float]:
    """Dice of every region, and of what regions make up together.

    Parameters
    ----------
    found, truth : ndarray of int, same shape
        Classes of ``labels``; 0 is outside the brain.
    labels : Labels

    Returns
    -------
    dict
        By name: the regions (NaN where the truth has none), then ``TISSUES``, ``Ventricles``,
        ``GM and WM`` and ``Brain``.
    """
    n = labels.n_classes
    both = np.bincount(truth[truth == found], minlength=n)[1:]
    shown = np.bincount(truth.ravel(), minlength=n)[1:]
    size = shown + np.bincount(found.ravel(), minlength=n)[1:]
    overlap = np.where(shown > 0, 2 * both / np.maximum(size, 1), np.nan)
    tissues = labels.tissues[found], labels.tissues[truth]
    ventricles = np.isin(labels.indices, VENTRICLES)
    return {
        **dict(zip(labels.table["name"], overlap.tolist(), strict=True)),
        **{
            tissue: dice(tissues[0] == code, tissues[1] == code)
            for code, tissue in enumerate(TISSUES)
        },
        "Ventricles": dice(ventricles[found], ventricles[truth]),
        "GM and WM": dice(tissues[0] > 0, tissues[1] > 0),
        "Brain": dice(found > 0, truth > 0),
    }
