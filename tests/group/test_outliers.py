"""Outliers of the quality metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bidsapp_brainage.group.sample import robust_outliers


def test_finds_the_odd_one_and_ignores_what_it_cannot_judge():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "scan": [f"sub-{i}" for i in range(12)],
            "snr": [*rng.normal(10, 1, 11), 50.0],
            "flat": 1.0,
            "sparse": [1.0, 9.0] + [np.nan] * 10,
        }
    )
    found = robust_outliers(table, ["snr", "flat", "sparse", "absent"])
    assert found["scan"].tolist() == ["sub-11"]
    assert found.loc[0, "robust_z"] > 3.5
    assert robust_outliers(table.iloc[:5], ["snr"]).empty
