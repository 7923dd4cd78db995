"""Predictions of versions of images by the networks that left their people out."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.left_out import ORIGINAL, left_out_members, summary
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.cards import find_card


def test_changes_and_slopes_are_told_by_scanner():
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{n}" for n in range(8)],
            "scanner": ["a"] * 4 + ["b"] * 4,
            "age": [20.0, 30, 40, 50] * 2,
        }
    )
    table = pd.concat(
        [
            people.assign(version=ORIGINAL, predicted_age=people["age"] + 1),
            people.assign(version="noise4", predicted_age=people["age"] / 2),
        ]
    )
    found = summary(table).set_index(["scanner", "version"])
    assert len(found) == 4
    assert found.loc[("a", ORIGINAL), ["mae", "mean_gap", "slope"]].tolist() == [1, 1, 1]
    noisy = found.loc[("b", "noise4")]
    assert noisy["slope"] == pytest.approx(0.5)
    assert noisy["median_abs_change"] == pytest.approx(18.5)


def test_only_networks_of_the_fold_answer():
    card = find_card("sfcn2mm")
    assert len(left_out_members(card, 2)) == 1
    with pytest.raises(DataError, match="no weights of fold 9"):
        left_out_members(card, 9)
