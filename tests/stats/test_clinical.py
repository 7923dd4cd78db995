"""Factors and groups: planted effects are found, nothing is found where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bidsapp_brainage.stats.clinical import factors, pairs, separation
from bidsapp_brainage.stats.design import make_design


def cohort(n=240, seed=0, groups=("control", "mci", "patient")):
    """People with age, sex and group on an index of participants."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": random.uniform(20, 80, n),
            "sex": random.choice(["F", "M"], n),
            "group": np.resize(groups, n),
        },
        index=pd.Index([f"sub-{k:03d}" for k in range(n)], name="participant_id"),
    )


def gap_of(people, seed=1, **effects):
    """Noise of SD 4 with so many years added in each group."""
    noise = pd.Series(np.random.default_rng(seed).normal(0, 4, len(people)), people.index)
    return noise + people["group"].map(effects).fillna(0.0)


def screened(people, table, seed=1):
    design, _ = make_design(people, reference="control")
    return factors.screen(gap_of(people, seed), table, design).set_index("factor")


def test_a_number_is_tested_by_its_partial_correlation():
    people = cohort()
    gap = gap_of(people)
    random = np.random.default_rng(3)
    table = pd.DataFrame({"pressure": 130 + 10 * (gap / 8 + random.normal(0, 1, len(people)))})
    design, _ = make_design(people, reference="control")
    (row,) = factors.screen(gap, table, design).to_dict("records")
    matrix = design.matrix(people.index).to_numpy()
    left = [
        values - matrix @ np.linalg.lstsq(matrix, values)[0]
        for values in (gap.to_numpy(), table["pressure"].to_numpy())
    ]
    # HC3 differs a little from the classical error that the plain partial correlation implies.
    assert row["effect"] == pytest.approx(stats.pearsonr(*left).statistic, abs=0.03)
    assert row["effect_ci95_lower"] < row["effect"] < row["effect_ci95_upper"]
    assert row["q"] == row["p"] < 1e-6
    slope = row["estimate"] / row["sd"]
    assert slope == pytest.approx(np.polyfit(left[1], left[0], 1)[0], rel=1e-6)


def test_a_category_is_tested_as_a_whole():
    people = cohort()
    gap = gap_of(people)
    scanner = pd.Series(np.resize(["a", "b", "c", "d"], len(people)), people.index)
    table = pd.DataFrame({"scanner": scanner, "other": np.roll(scanner.to_numpy(), 1)})
    design, _ = make_design(people.drop(columns="group"))
    found = factors.screen(gap + 4.0 * (scanner == "c"), table, design).set_index("factor")
    assert found.loc["scanner", "kind"] == "category"
    assert found.loc["scanner", "p"] < 1e-4
    assert 0.2 < found.loc["scanner", "effect"] < 0.6
    assert pd.isna(found.loc["scanner", "estimate"])


def test_what_cannot_be_tested_says_why():
    people = cohort(60)
    n = len(people)
    table = pd.DataFrame(
        {
            "same": 1.0,
            "nothing": np.nan,
            "label": [f"id{k}" for k in range(n)],
            "rare": ["x"] * (n - 2) + ["y", "z"],
            "age_in_months": people["age"] * 12,
            "few": [1.0, 2.0, 3.0] + [np.nan] * (n - 3),
            "fine": np.random.default_rng(0).normal(size=n),
        },
        index=people.index,
    )
    got = screened(people, table)
    assert list(got.columns) == [name for name in factors.COLUMNS if name != "factor"]
    assert got.loc["same", "remark"] == "it does not vary"
    assert got.loc["nothing", "remark"] == "no values"
    assert "more than 20" in got.loc["label", "remark"]
    assert "fewer than two categories" in got.loc["rare", "remark"]
    assert got.loc["age_in_months", "remark"] == "a combination of the covariates"
    assert "too few people" in got.loc["few", "remark"]
    assert got["p"].notna().sum() == 1 and got.index[0] == "fine"


def test_no_more_is_found_by_chance_than_the_level_says():
    people = cohort(150)
    random = np.random.default_rng(7)
    table = pd.DataFrame(random.normal(size=(150, 150)), people.index).add_prefix("f")
    got = screened(people, table, seed=11)
    assert 0.01 < (got["p"] < 0.05).mean() < 0.1
    assert (got["q"] < 0.05).sum() <= 2


def test_without_a_design_only_the_intercept_stands_beside_the_factor():
    people = cohort(80)
    gap = gap_of(people)
    table = pd.DataFrame({"x": gap + np.random.default_rng(2).normal(0, 4, 80)})
    (row,) = factors.screen(gap, table, None).to_dict("records")
    assert row["formula"] == "factor"
    assert row["effect"] == pytest.approx(stats.pearsonr(gap, table["x"]).statistic, abs=0.05)


def test_every_two_groups_are_compared():
    people = cohort()
    design, _ = make_design(people, reference="control")
    index = ["group_a", "group_b"]
    noise, planted = (
        pairs.compare(gap_of(people, **effects), design).set_index(index)
        for effects in ({}, {"mci": 2.0, "patient": 5.0})
    )
    assert list(noise.index) == [("control", "mci"), ("control", "patient"), ("mci", "patient")]
    # Least squares is linear: what was planted is found beside the differences of the noise.
    added = planted["difference"] - noise["difference"]
    np.testing.assert_allclose(added, [-2.0, -5.0, -3.0])
    np.testing.assert_allclose(planted["statistic"], planted["difference"] / _errors(planted))
    assert (planted["p_holm"] >= planted["p"]).all()
    assert (np.sign(planted["hedges_g"]) == -1).all()
    assert set(planted["n_a"]) == {80}


def _errors(table):
    """Standard errors from the intervals."""
    return (table["ci95_upper"] - table["ci95_lower"]) / 2 / stats.t.ppf(0.975, table["df"])


def test_no_groups_no_pairs():
    people = cohort().drop(columns="group")
    design, _ = make_design(people)
    assert pairs.compare(gap_of(cohort()), design).empty
    table, curves = separation.separate(gap_of(cohort()), design, n_boot=9, seed=0)
    assert table.empty and curves.empty
    assert list(table.columns) == list(separation.COLUMNS)


def test_areas_are_those_of_scikit_learn_however_many_draws_are_held(monkeypatch):
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    scores, second = random.normal(size=50).round(1), random.random(50) < 0.4
    areas = separation._areas({"gap": scores}, second, 30, seed=1)["gap"]
    assert areas[0] == pytest.approx(roc_auc_score(second, scores))
    random = np.random.default_rng(1)
    drawn = [random.choice(np.nonzero(second == g)[0], (30, (second == g).sum())) for g in (0, 1)]
    expected = [roc_auc_score(second[draw], scores[draw]) for draw in np.hstack(drawn)]
    np.testing.assert_allclose(areas[1:], expected)
    monkeypatch.setattr(separation, "_AT_ONCE", 100)
    few = separation._areas({"gap": scores}, second, 30, seed=1)["gap"]
    np.testing.assert_allclose(few, areas)


def test_groups_are_told_apart_by_what_differs_and_no_better():
    people = cohort(groups=("patient", "control"))
    design, _ = make_design(people, reference="control")
    table, curves = separation.separate(gap_of(people, patient=5.0), design, n_boot=199, seed=0)
    got = table.set_index("predictors")
    assert set(table["group_a"]) == {"control"}
    # Two normal distributions that are 5/4 SD apart.
    expected = stats.norm.cdf(5 / 4 / np.sqrt(2))
    assert got.loc["gap", "ci95_lower"] < expected < got.loc["gap", "ci95_upper"]
    assert got.loc["covariates", "ci95_lower"] < 0.5
    assert got.loc["covariates and gap", "added_ci95_lower"] > 0.1
    assert len(curves) == 3 * separation.CURVE_POINTS
    assert curves["true_positive_rate"].between(0, 1).all()


def test_where_nothing_differs_nothing_is_found():
    """Means over samples; a score that ranks by folds would give areas near .35."""
    areas = []
    for seed in range(12):
        people = cohort(60, seed, groups=("patient", "control"))
        design, _ = make_design(people.drop(columns="sex"), reference="control")
        gap = gap_of(people, seed + 100)
        table, _ = separation.separate(gap, design, n_boot=9, seed=0)
        areas.append(table.set_index("predictors")[["auc", "added"]].stack())
    mean = pd.concat(areas, axis=1).mean(axis=1)
    assert mean["gap", "auc"] == pytest.approx(0.5, abs=0.06)
    assert 0.4 < mean["covariates", "auc"] < 0.54
    assert mean["covariates and gap", "added"] == pytest.approx(0.0, abs=0.05)


def test_the_same_seed_gives_the_same_table():
    people = cohort(60, groups=("patient", "control"))
    design, _ = make_design(people, reference="control")
    first, second = (
        separation.separate(gap_of(people), design, n_boot=19, seed=5)[0] for _ in range(2)
    )
    pd.testing.assert_frame_equal(first, second)


def test_groups_of_fewer_than_ten_are_left_alone():
    people = cohort(60)
    people.loc[people.index[:55], "group"] = "control"
    design, _ = make_design(people, reference="control")
    table, _ = separation.separate(gap_of(people), design, n_boot=9, seed=0)
    assert table.empty
