"""Tables of the individual report of models that see several images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.reports.individual.occlusion_tables import modalities
from bidsapp_brainage.reports.individual.prediction_view import modality_table


def test_contributions_stand_side_by_side_the_largest_first() -> None:
    rows = pd.DataFrame(
        {
            "modality": ["T1w"] * 3 + ["T2w"] * 3 + ["all"] * 3,
            "index": [1, 2, 3] * 3,
            "name": ["a", "b", "c"] * 3,
            "delta_age": [0.1, -0.5, np.nan, 0.2, -0.4, np.nan, 0.3, -0.9, np.nan],
        }
    )
    words, table = modalities(rows, "x", "file.tsv")
    assert words == ""
    assert [column.title for column in table.columns] == ["Region", "T1w", "T2w", "All"]
    assert [row[0].text for row in table.rows] == ["b", "a"]
    assert [float(cell.value) for cell in table.rows[0][1:]] == [-0.5, -0.4, -0.9]
    assert "2 regions by modality" in table.caption


def result(rows: pd.DataFrame | None, explained: dict[str, str] | None = None) -> Any:
    told = {} if explained is None else {"Model": {"Explained": explained}}
    file = SimpleNamespace(rows=rows, path=Path("sub-1_desc-m_modalities.tsv"), sidecar=told)
    return SimpleNamespace(model="m", tables={} if rows is None else {"modalities": file})


def test_ages_by_modality_are_shown_where_there_are_several() -> None:
    scan: Any = SimpleNamespace(label="sub-1")
    rows = pd.DataFrame(
        {
            "modality": ["T1w", "T2w"],
            "present": [True, False],
            "predicted_age": [40.0, np.nan],
            "predicted_age_without": [np.nan, np.nan],
            "delta_age": [np.nan, np.nan],
        }
    )
    table = modality_table(scan, result(rows))
    assert table is not None
    assert [row[0].text for row in table.rows] == ["T1w", "T2w"]
    assert table.rows[0][1].text == "40.0"
    assert table.columns[1].title == "Age from it alone"
    assert modality_table(scan, result(None)) is None
    of_class = {"Target": "sex", "Class": "M", "Unit": "percent"}
    table = modality_table(scan, result(rows, of_class))
    assert table is not None
    assert table.columns[1].title == "Probability of sex M from it alone"
    assert "percentage points" in table.caption
