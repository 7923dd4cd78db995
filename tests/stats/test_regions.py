"""Mean contributions over participants."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bidsapp_brainage.stats.regional import regions


@pytest.fixture
def long_table():
    rng = np.random.default_rng(1)
    rows = []
    for person in range(6):
        for session in range(1 + person % 2):
            for index, name in enumerate("abcd", start=1):
                delta = rng.normal(-index, 0.3)
                empty = index == 4
                rows.append(
                    {
                        "participant_id": f"sub-{person}",
                        "session_id": f"ses-{session}",
                        "run_id": np.nan,
                        "scan": f"sub-{person}_ses-{session}",
                        "index": index,
                        "name": name,
                        "hemisphere": "L" if index < 3 else "R",
                        "lobe": np.nan,
                        "network": "Default" if index in (1, 3) else np.nan,
                        "n_voxels": 0 if empty else 10 * index,
                        "volume_mm3": 0 if empty else 80.0 * index,
                        "baseline": "background",
                        "delta_age": np.nan if empty else delta,
                        "abs_delta_age": np.nan if empty else abs(delta),
                        "delta_age_per_ml": np.nan if empty else delta / (0.08 * index),
                        "nosa_importance": np.nan,
                        "z_null": np.nan,
                    }
                )
    return pd.DataFrame(rows)


def test_region_rows_are_participant_means(long_table):
    table = regions.contribution_table(long_table)
    assert tuple(table.columns) == regions.COLUMNS
    row = table[(table["level"] == "region") & (table["name"] == "b")].iloc[0]
    per_person = long_table[long_table["name"] == "b"].groupby("participant_id")["delta_age"].mean()
    test = stats.ttest_1samp(per_person, 0)
    assert row["n_participants"] == 6
    assert row["mean_delta_age"] == pytest.approx(per_person.mean())
    assert row["p"] == pytest.approx(test.pvalue)
    assert row["ci95_lower"] == pytest.approx(test.confidence_interval().low)
    assert row["effect_size"] == pytest.approx(test.statistic / np.sqrt(6))
    assert (table["q"].dropna() >= table["p"].dropna()).all()


def test_empty_regions_keep_their_row(long_table):
    table = regions.contribution_table(long_table)
    row = table[(table["level"] == "region") & (table["name"] == "d")].iloc[0]
    assert row["n_participants"] == 0
    assert row[["mean_delta_age", "p", "rank"]].isna().all()
    assert any("1 atlas region is empty" in note for note in regions.notes(table))


def test_groups_are_volume_weighted_and_absent_levels_are_absent(long_table):
    one = long_table[long_table["scan"] == "sub-0_ses-0"]
    table = regions.contribution_table(one)
    assert set(table["level"]) == {"region", "network_mean", "hemisphere_mean"}
    got = table[table["name"].eq("Default") & (table["level"] == "network_mean")].iloc[0]
    delta = one.set_index("name")["delta_age"]
    assert got["mean_delta_age"] == pytest.approx((delta["a"] * 80 + delta["c"] * 240) / 320)
    assert got["n_regions"] == 2
    assert np.isnan(got["ci95_lower"])
    assert "1 participant only" in regions.notes(table)[0]


def test_groups_occluded_as_one_are_no_mean_of_their_regions(long_table):
    scans = long_table.drop_duplicates("scan")[["participant_id", "scan"]]
    groups = scans.assign(
        baseline="background", level="network", name="Default", n_regions=2, volume_mm3=320.0,
        delta_age=np.linspace(9, 12, len(scans)), nosa_importance=np.nan,
    )  # fmt: skip
    groups = groups.assign(abs_delta_age=groups["delta_age"], delta_age_per_ml=groups["delta_age"])
    both = pd.concat([long_table, long_table.assign(baseline="mean")])
    table = regions.contribution_table(both, groups).set_index(["baseline", "level", "name"])
    whole = table.loc[("background", "network", "Default")]
    per_person = groups.groupby("participant_id")["delta_age"].mean()
    assert whole["mean_delta_age"] == pytest.approx(per_person.mean())
    assert whole["p"] == pytest.approx(stats.ttest_1samp(per_person, 0).pvalue)
    assert table.loc[("background", "network_mean", "Default"), "mean_delta_age"] < 0
    assert ("mean", "network", "Default") not in table.index
    alone = regions.contribution_table(long_table).set_index(["baseline", "level", "name"])
    same = [row for row in alone.index if row in table.index]
    together = ["stable", "share_stable", "p_stable", "q_stable"]
    assert table.loc[("mean", "region", "a"), together].notna().all()
    table, alone = (each.drop(columns=together) for each in (table, alone))
    pd.testing.assert_frame_equal(table.loc[same], alone.loc[same])


def test_ranks_order_by_absolute_mean(long_table):
    table = regions.contribution_table(long_table)
    ranks = table[table["level"] == "region"].set_index("name")["rank"]
    assert ranks[["c", "b", "a"]].tolist() == [1, 2, 3]


def test_baselines_are_kept_apart_and_nothing_gives_nothing(long_table):
    both = pd.concat([long_table, long_table.assign(baseline="mean")])
    table = regions.contribution_table(both)
    assert table.groupby("baseline").size().nunique() == 1
    assert regions.contribution_table(long_table.iloc[:0]).empty
    assert regions.notes(regions.contribution_table(long_table.iloc[:0]))


def test_what_all_baselines_say_together_stands_in_the_rows_of_each(long_table):
    turned = np.where(long_table["index"] == 2, -1.0, 1.0)
    other = long_table.assign(baseline="blur", delta_age=turned * long_table["delta_age"] + 0.2)
    table = regions.contribution_table(pd.concat([long_table.assign(baseline="mean"), other]))
    assert table["baseline"].drop_duplicates().tolist() == ["mean", "blur"]  # the main one first
    single = table[table["level"] == "region"].set_index(["baseline", "name"])
    for baseline in ("mean", "blur"):
        rows = single.loc[baseline]
        assert rows["stable"].tolist() == [True, False, True, None]
        assert rows["share_stable"].tolist()[:3] == [1, 0, 1]
        assert rows["p_stable"]["b"] == 1
        assert rows["p_stable"]["a"] == single.loc[(slice(None), "a"), "p"].max()
        assert rows.loc["d", ["share_stable", "p_stable", "q_stable"]].isna().all()
        # all regions with a test are in the family, not only those with one sign
        assert rows["q_stable"]["b"] == 1
        assert rows["q_stable"]["a"] == pytest.approx(
            stats.false_discovery_control(rows["p_stable"].dropna())[0]
        )
    assert table.loc[table["level"] != "region", "stable"].isna().all()


def test_with_one_baseline_nothing_is_said_about_all(long_table):
    table = regions.contribution_table(long_table)
    together = ["stable", "share_stable", "p_stable", "q_stable"]
    assert table[together].isna().all(axis=None)


def test_null_percentile_follows_z(long_table):
    table = regions.contribution_table(long_table.assign(z_null=0.0))
    assert (table["null_percentile"].dropna() == 50).all()
