"""Intervals of targets that are numbers but no age."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.stats.intervals import conformal_quantile
from bidsapp_brainage.training.publish import target_intervals

BINS = {"coding": "bins", "lower": 0.0, "width": 2.0, "n_bins": 50, "unit": "year"}
PARTS = heads(
    {
        "heads": {
            "age": BINS,
            "sex": {"coding": "classes", "classes": ["F", "M"]},
            "bmi": {"coding": "scalar", "unit": "kg/m2"},
        }
    }
)


def people(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    true = rng.normal(25, 4, n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{place}" for place in range(n)],
            "bmi": np.where(np.arange(n) == 0, np.nan, true),
            "predicted_bmi": true + rng.normal(0, 2, n),
            "sex": "F",
        }
    )


def test_only_numbers_but_the_age_get_an_interval_from_people_left_out():
    table = people(61)
    found = target_intervals(table, PARTS, "test")
    assert set(found) == {"bmi"}
    errors = (table["predicted_bmi"] - table["bmi"]).abs().dropna().to_numpy()
    assert found["bmi"]["n"] == 60
    assert found["bmi"]["half_width95"] == pytest.approx(conformal_quantile(errors), abs=1e-6)
    assert 0.88 <= found["bmi"]["coverage95"] < 1


def test_few_people_give_no_interval():
    assert target_intervals(people(15), PARTS, "test") == {}
