from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.stats.accuracy import COLUMNS
from bidsapp_brainage.stats.classes import area_under_curve, balanced_accuracy, class_metrics


def test_balanced_accuracy_weighs_classes_equally():
    true = np.array([0.0] * 9 + [1.0])
    assert balanced_accuracy(true, np.zeros(10)) == 0.5
    assert balanced_accuracy(true, true) == 1.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=30))
def test_both_are_those_of_scikit_learn(pairs):
    sklearn = pytest.importorskip("sklearn.metrics")
    true = np.array([float(label) for label, _ in pairs])
    score = np.array([value / 6 for _, value in pairs])
    said = np.round(score)
    if len(set(true)) == 2:
        assert area_under_curve(true, score) == pytest.approx(sklearn.roc_auc_score(true, score))
        expected = sklearn.balanced_accuracy_score(true, said)
        assert balanced_accuracy(true, said) == pytest.approx(expected)


def test_area_is_the_share_of_pairs_in_order():
    true, score = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.6, 0.4, 0.9])
    assert area_under_curve(true, score) == pytest.approx(3 / 4)
    assert np.isnan(area_under_curve(np.ones(3), np.ones(3)))


def test_table_has_the_common_columns_and_leaves_out_the_unknown():
    rng = np.random.default_rng(0)
    true = ["F" if i % 2 else "M" for i in range(40)]
    p_m = np.clip([0.7 if t == "M" else 0.3 for t in true] + 0.2 * rng.normal(size=40), 0, 1)
    people = np.array([f"sub-{i}" for i in range(41)])
    probabilities = np.column_stack([1 - p_m, p_m])
    probabilities = np.vstack([probabilities, [0.5, 0.5]])
    found = class_metrics([*true, None], probabilities, ["F", "M"], people, n_boot=200).table
    assert tuple(found.columns) == COLUMNS
    assert found.metric.tolist() == ["balanced_accuracy", "auc"]
    assert (found.n_participants == 40).all()
    assert (found.ci95_lower < found.value).all()
    three = np.column_stack([probabilities / 2, np.full(41, 0.5)])
    found = class_metrics([*true, "O"], three, ["F", "M", "O"], people, n_boot=200).table
    assert found.metric.tolist() == ["balanced_accuracy"]
