"""Folds keep people together and balance age."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.stats.folds import assign_folds, hold_out, scanner_folds

scans = st.lists(st.integers(0, 15), min_size=1, max_size=60)


@settings(deadline=None, max_examples=80)
@given(scans, st.integers(2, 6), st.integers(0, 5))
def test_no_person_is_in_two_folds(numbers, n_folds, seed):
    people = [f"sub-{n:02d}" for n in numbers]
    ages = np.array([20.0 + 3 * n for n in numbers])
    folds = assign_folds(people, ages, n_folds, seed)
    assert folds.min() >= 0
    assert folds.max() < n_folds
    for fold in range(n_folds):
        inside = {p for p, f in zip(people, folds, strict=True) if f == fold}
        outside = {p for p, f in zip(people, folds, strict=True) if f != fold}
        assert not inside & outside
    sizes = [len({p for p, f in zip(people, folds, strict=True) if f == k}) for k in range(n_folds)]
    assert max(sizes) - min(sizes) <= 1
    assert (assign_folds(people, ages, n_folds, seed) == folds).all()


@settings(deadline=None, max_examples=40)
@given(scans, st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_nobody_is_both_learnt_from_and_held_out(numbers, fraction):
    people = [f"sub-{n:02d}" for n in numbers]
    held = hold_out(people, np.array(numbers, float), fraction, seed=1)
    inside = {p for p, h in zip(people, held, strict=True) if h}
    outside = {p for p, h in zip(people, held, strict=True) if not h}
    assert not inside & outside
    assert fraction > 0 or not inside


def test_every_fold_covers_the_ages():
    ages = np.linspace(20, 82, 141)
    folds = assign_folds([f"sub-{n}" for n in range(141)], ages, 5, seed=0)
    for fold in range(5):
        assert ages[folds == fold].min() < 24
        assert ages[folds == fold].max() > 78


@settings(deadline=None, max_examples=60)
@given(scans, st.integers(2, 4), st.integers(0, 5))
def test_a_smaller_scanner_is_left_out_whole(numbers, n_folds, seed):
    people = [f"sub-{n:02d}" for n in numbers]
    scanners = ["abc"[n % 3] if n % 3 else None for n in numbers]
    ages = np.array([20.0 + 3 * n for n in numbers])
    folds = scanner_folds(people, ages, scanners, n_folds, seed)
    sizes = {s: len({p for p, o in zip(people, scanners, strict=True) if o == s}) for s in scanners}
    whole = [s for s in sizes if sum(f >= n_folds for f in folds[[o == s for o in scanners]])]
    assert len(whole) == len(sizes) - 1
    assert all(sizes[s] <= max(sizes.values()) for s in whole)
    for fold in range(n_folds, int(folds.max()) + 1):
        assert len({s for s, f in zip(scanners, folds, strict=True) if f == fold}) == 1
    for person in set(people):
        assert len({f for p, f in zip(people, folds, strict=True) if p == person}) == 1
