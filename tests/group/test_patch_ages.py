"""Ages of regions over people."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.regional.patches import mean_patch_ages
from bidsapp_brainage.io import read_tsv
from tests.derivatives import NETWORKS, TEMPLATE, write_table
from tests.group.derivatives import write_derivatives

ATLAS = {"space": TEMPLATE, "atlas": "Blocks", "scale": "12"}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 99)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 49)


def table(gap):
    """One person's table of two regions, the last one empty."""
    return pd.DataFrame({
        "index": [1, 2],
        "name": ["a", "b"],
        "network": NETWORKS[0],
        "n_voxels": [10, 0],
        "patch_age": [50.0 + gap, np.nan],
        "patch_age_sd_members": [1.0, np.nan],
        "patch_gap": [gap, np.nan],
        "patch_gap_corrected": [gap - 1, np.nan],
        "patch_mae": [8.0, np.nan],
    })  # fmt: skip


def test_gaps_and_errors_over_people_are_written(tmp_path):
    write_derivatives(tmp_path, n_participants=4, sessions=("1", "2"), maps=False)
    for person, gap in enumerate((-4.0, -2.0, 2.0, 8.0), start=1):
        for session, more in (("1", -1.0), ("2", 1.0)):
            scan = (("sub", f"{person:02d}"), ("ses", session))
            write_table(tmp_path, "patches", table(gap + more), scan, **ATLAS)
    (model,) = collect(tmp_path).models
    got = analyses.summarise(model, read_tsv(tmp_path / "participants.tsv"), seed=1)
    found = got.atlas_tables[0]["patchagestats"].set_index("index")
    first = found.loc[1]
    assert first["n_participants"] == 4
    assert first["mean_patch_age"] == 51
    assert first["mae"] == 4  # of people, not of scans
    assert first["mean_patch_gap"] == 1
    assert first["patch_gap_lower"] < 1 < first["patch_gap_upper"]
    assert first["mean_patch_gap_corrected"] == 0
    assert first["mean_patch_mae"] == 8
    assert found.loc[2, "n_participants"] == 0
    assert np.isnan(found.loc[2, "mean_patch_gap"])


def test_without_patches_there_is_no_table():
    assert not mean_patch_ages({}).tables
    assert not mean_patch_ages({"patches": pd.DataFrame()}).tables
