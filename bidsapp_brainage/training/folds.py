"""Splits of people, not of scans, that balance age."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def assign_folds(people: Sequence[str], ages: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Give every scan the fold in which its person is tested.

    People are ordered by age; each run of ``n_folds`` neighbours is dealt to the folds at
    random, so that every fold covers the whole age range.

    Returns
    -------
    ndarray of int, shape (n_scans,)
        0 ... n_folds - 1; all scans of one person have the same.
    """
    generator = np.random.default_rng(seed)
    ordered = _by_age(people, ages)
    fold_of: dict[str, int] = {}
    for start in range(0, len(ordered), n_folds):
        deal = generator.permutation(n_folds)
        for person, fold in zip(ordered[start : start + n_folds], deal, strict=False):
            fold_of[person] = int(fold)
    return np.array([fold_of[person] for person in people])


def hold_out(people: Sequence[str], ages: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose scans for early stopping: a part of the people, spread over the ages.

    Returns
    -------
    ndarray of bool, shape (n_scans,)
        True where held out; all False when ``fraction`` is 0.
    """
    if fraction <= 0:
        return np.zeros(len(people), dtype=bool)
    parts = max(2, round(1 / fraction))
    return assign_folds(people, ages, parts, seed) == 0


def _by_age(people: Sequence[str], ages: np.ndarray) -> list[str]:
    youngest: dict[str, float] = {}
    for person, age in zip(people, ages, strict=True):
        youngest[person] = min(float(age), youngest.get(person, np.inf))
    return sorted(youngest, key=lambda person: (youngest[person], person))
