"""Splits of people (or whole families), not of scans, that balance age."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def assign_folds(units: Sequence[str], values: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Give every scan the fold in which its person, with all relatives, is tested.

    Units are ordered by their lowest value (age); each run of ``n_folds`` neighbours is dealt to
    the folds at random, so that every fold covers the whole range.

    Parameters
    ----------
    units : sequence of str, length n_scans
        What must stay together: the family of every scan's person, or the person.
    values : ndarray, shape (n_scans,)
        Age in years (or another number) to balance; NaN where unknown.
    n_folds, seed : int
        The folds are 0 ... n_folds - 1.
    """
    generator = np.random.default_rng(seed)
    ordered = _by_value(units, values)
    fold_of: dict[str, int] = {}
    for start in range(0, len(ordered), n_folds):
        deal = generator.permutation(n_folds)
        for unit, fold in zip(ordered[start : start + n_folds], deal, strict=False):
            fold_of[unit] = int(fold)
    return np.array([fold_of[unit] for unit in units])


def scanner_folds(
    units: Sequence[str],
    values: np.ndarray,
    scanners: Sequence[str | None],
    n_folds: int,
    seed: int,
) -> np.ndarray:
    """Leave scanners out: each is a fold of its own, but the one with most units has ``n_folds``.

    Then every prediction of the smaller scanners' people comes from networks that saw nobody of
    that scanner. A unit that was on several scanners belongs to its first.

    Parameters
    ----------
    units, values, n_folds, seed
        As for :func:`assign_folds`, which divides the largest scanner.
    scanners : sequence of str or None, length n_scans
        None is a scanner of its own.

    Returns
    -------
    ndarray of int, shape (n_scans,)
        0 ... n_folds - 1 for the largest scanner, then one number for every other, in the order of
        their names.
    """
    scanner_of: dict[str, str] = {}
    for unit, scanner in zip(units, scanners, strict=True):
        scanner_of.setdefault(unit, scanner or "")
    names, counts = np.unique(list(scanner_of.values()), return_counts=True)
    largest = names[int(np.argmax(counts))]
    number = {str(name): n_folds + i for i, name in enumerate(names[names != largest])}
    inside = np.array([scanner_of[unit] == largest for unit in units])
    folds = np.array([number.get(scanner_of[unit], -1) for unit in units])
    folds[inside] = assign_folds(
        [unit for unit, own in zip(units, inside, strict=True) if own],
        np.asarray(values)[inside],
        n_folds,
        seed,
    )
    return folds


def hold_out(units: Sequence[str], values: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose scans for early stopping: a part of the units, spread over the values.

    True where held out, shape (n_scans,); nowhere when ``fraction`` is 0.
    """
    if fraction <= 0:
        return np.zeros(len(units), dtype=bool)
    parts = max(2, round(1 / fraction))
    return assign_folds(units, values, parts, seed) == 0


def _by_value(units: Sequence[str], values: np.ndarray) -> list[str]:
    lowest: dict[str, float] = {}
    for unit, value in zip(units, np.asarray(values, dtype=float), strict=True):
        known = value if np.isfinite(value) else np.inf
        lowest[unit] = min(float(known), lowest.get(unit, np.inf))
    return sorted(lowest, key=lambda unit: (lowest[unit], unit))
