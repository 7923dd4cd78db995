"""Pace of ageing: planted paces are found, differences between people are not taken for pace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.stats.agreement import pace


def followed(n=60, n_scans=4, *, seed=0, slope=0.6, within=0.5, noise=0.8, spread=0.0, faster=0.0):
    """People scanned every year: `slope` per year of age between, `within` per year inside."""
    random = np.random.default_rng(seed)
    start = random.uniform(30, 80, n)
    level = random.normal(0, 5, n)
    own = within + random.normal(0, spread, n) + faster * (np.arange(n) % 2)
    rows = []
    for person in range(n):
        for number in range(n_scans):
            rows.append(
                {
                    "participant_id": f"sub-{person}",
                    "chronological_age": start[person] + number,
                    "predicted_age": 20
                    + slope * start[person]
                    + level[person]
                    + own[person] * number
                    + random.normal(0, noise),
                    "group": ("control", "patient")[person % 2],
                }
            )
    return pd.DataFrame(rows)


def test_pace_within_and_slope_between_are_told_apart():
    fitted = pace.fit(followed().drop(columns="group"))
    table = fitted.table.set_index("term")
    assert list(table.index) == ["pace", "between people"]
    assert table.loc["pace", "estimate"] == pytest.approx(0.5, abs=0.12)
    assert table.loc["between people", "estimate"] == pytest.approx(0.6, abs=0.12)
    assert fitted.residual_sd == pytest.approx(0.8, abs=0.1)
    assert set(table["n_participants"]) == {60} and set(table["n_scans"]) == {240}


def test_groups_differ_in_pace():
    fitted = pace.fit(followed(120, faster=0.4), reference="control")
    (row,) = fitted.table.dropna(subset="group").to_dict("records")
    assert (row["term"], row["group"]) == ("pace", "patient")
    assert row["ci95_lower"] < 0.4 < row["ci95_upper"] and row["p"] < 0.01


def test_of_groups_of_one_size_the_first_by_name_is_the_reference_as_in_other_models():
    scans = followed().replace({"group": {"control": "patient", "patient": "control"}})
    assert scans["group"].iloc[0] == "patient"
    assert pace.fit(scans).table["group"].dropna().tolist() == ["patient"]


def test_two_scans_do_not_tell_the_spread_and_three_do():
    assert np.isnan(pace.fit(followed(n_scans=2)).spread)
    assert pace.fit(followed(200, n_scans=5, spread=0.5)).spread == pytest.approx(0.5, abs=0.12)


def test_scans_on_one_day_and_few_people_give_nothing():
    same_day = followed().assign(chronological_age=lambda t: t["chronological_age"].round(-2))
    assert pace.fit(same_day) is None
    assert pace.fit(followed(pace.LEAST_PEOPLE - 1)) is None


def test_power_by_simulation():
    """The table's number of people finds the difference in about 80 of 100 studies."""
    table = pace.power(0.8, 0.3).set_index(["years", "n_scans", "difference"])
    n = int(table.loc[(2, 3, 0.5), "n_per_group"])
    random = np.random.default_rng(1)
    times = np.array([0.0, 1.0, 2.0])
    centred = times - times.mean()
    found = 0
    for _ in range(400):
        slopes = []
        for mean in (0.0, 0.5):
            own = random.normal(mean, 0.3, n)
            seen = own[:, None] * times + random.normal(0, 0.8, (n, 3))
            slopes.append(seen @ centred / (centred**2).sum())
        difference = slopes[1].mean() - slopes[0].mean()
        error = np.sqrt(sum(values.var(ddof=1) / n for values in slopes))
        found += difference / error > 1.96
    assert 0.73 < found / 400 < 0.87


def test_more_years_and_scans_need_fewer_people():
    table = pace.power(1.0, np.nan)
    assert table.groupby("difference")["n_per_group"].apply(lambda n: n.iloc[0] > n.iloc[-1]).all()
    assert list(table) == list(pace.POWER_COLUMNS)


def test_people_of_no_group_and_of_small_groups_are_left_out():
    scans = followed(60)
    number = scans["participant_id"].str.removeprefix("sub-").astype(int)
    scans.loc[number < 20, "group"] = None
    scans.loc[number.between(20, 24), "group"] = "rare"
    table = pace.fit(scans, reference="control").table
    assert set(table["n_participants"]) == {35}
    assert table["group"].dropna().tolist() == ["patient"]
