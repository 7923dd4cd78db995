"""Region scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.explain import scores


@pytest.fixture
def effects():
    frame = pd.DataFrame(
        {
            "index": [1, 2, 5, 9],
            "n_voxels": [100, 0, 400, 50],
            "delta_age": [-2.0, np.nan, 1.0, 0.5],
            "delta_age_sd_members": [0.3, np.nan, 0.1, 0.2],
            "delta_entropy": [0.1, np.nan, 0.0, 0.2],
            "js_divergence": [0.01, np.nan, 0.0, 0.02],
        }
    )
    frame.attrs["intact_age"] = 50.0
    return frame


@pytest.fixture
def atlas_table():
    return pd.DataFrame(
        {"index": [1, 2, 5, 9, 12], "name": list("abcde"), "hemisphere": ["L", "R", "L", "R", "B"]}
    )


def test_published_importance_by_hand():
    got = scores.nosa_importance(np.array([48.0, 51.0, np.nan]), 50.0, 49.0)
    np.testing.assert_array_equal(got, [0.0, 1.0, np.nan])
    assert np.isnan(scores.nosa_importance(np.array([48.0]), 50.0, None)).all()


def test_table_has_all_columns_and_a_row_for_every_region(effects, atlas_table):
    table = scores.occlusion_table(
        effects, atlas_table, voxel_ml=0.008, age=49.0, baseline="background"
    )
    assert tuple(table.columns) == scores.COLUMNS
    assert table["index"].tolist() == [1, 2, 5, 9, 12]
    assert table["n_voxels"].tolist() == [100, 0, 400, 50, 0]
    assert table["volume_mm3"].tolist() == pytest.approx([800, 0, 3200, 400, 0])
    assert table.loc[0, "delta_age_per_ml"] == pytest.approx(-2.0 / 0.8)
    assert table["rank"].tolist()[:1] == [1]
    empty = table[table["n_voxels"] == 0]
    numbers = ["delta_age", "abs_delta_age", "delta_age_per_ml", "delta_age_adj", "rank"]
    assert empty[numbers].isna().all(axis=None)
    assert table["nosa_importance_scaled"].min() == 0
    assert table["nosa_importance_scaled"].max() == 1
    assert table["lobe"].isna().all()


def test_without_age_the_published_importance_is_unknown(effects, atlas_table):
    table = scores.occlusion_table(
        effects, atlas_table, voxel_ml=0.008, age=None, baseline="background"
    )
    assert table[["nosa_importance", "nosa_importance_scaled"]].isna().all(axis=None)
    assert table["delta_age"].notna().sum() == 3


def test_size_adjustment_removes_what_size_explains():
    volume = np.array([1.0, 2.0, 4.0, 8.0, 0.0])
    effect = 0.3 + 0.2 * np.log(np.where(volume > 0, volume, 1))
    got = scores.size_adjusted(effect, volume)
    np.testing.assert_allclose(got[:4], 0, atol=1e-12)
    assert np.isnan(got[4])
    assert np.isnan(scores.size_adjusted(effect[:2], volume[:2])).all()
    assert np.isnan(scores.size_adjusted(effect[:3], np.ones(3))).all()


def test_min_max_of_a_constant_is_unknown():
    assert np.isnan(scores.min_max(np.array([2.0, 2.0]))).all()
    assert np.isnan(scores.min_max(np.array([np.nan]))).all()


def test_painting_keeps_to_the_listed_regions():
    labels = np.array([[0, 1, 2], [7, 7, -1]])
    got = scores.paint_map(labels, [7, 1, 2], [3.0, -1.0, np.nan])
    np.testing.assert_array_equal(got, [[0, -1, 0], [3, 3, 0]])
    assert got.dtype == np.float32
    assert not scores.paint_map(labels, [], []).any()
