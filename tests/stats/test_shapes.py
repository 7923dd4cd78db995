"""Splines over age, correction within a dataset, asymmetry and stability of ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.stats import lifespan
from bidsapp_brainage.stats.agreement import repeatability
from bidsapp_brainage.stats.correction.kfold import kfold_correction
from bidsapp_brainage.stats.regional import asymmetry


def test_spline_is_natural_and_contains_lines():
    knots = np.array([20.0, 40, 55, 80])
    age = np.linspace(20, 80, 601)
    basis = lifespan.spline_basis(age, knots)
    assert np.linalg.matrix_rank(basis) == 4
    second = np.diff(basis, 2, axis=0) / 0.1**2
    np.testing.assert_allclose(second[[0, -1]], 0, atol=1e-3)
    third = np.diff(second, axis=0)
    assert third[100:150].std(axis=0).max() < 1e-9  # a cubic between knots


def test_shapes_are_told_apart_and_curvature_is_not_invented():
    rng = np.random.default_rng(0)
    positive = 0
    for _ in range(300):
        age = rng.uniform(20, 80, 60)
        found = lifespan.curve(age, 0.02 * age + rng.normal(0, 0.5 + age / 80))
        positive += found.p_nonlinear < 0.05
    assert 5 <= positive <= 27
    hump = 1 - ((age - 50) / 30) ** 2
    found = lifespan.curve(age, hump + rng.normal(0, 0.1, 60))
    assert found.p_nonlinear < 1e-6
    assert found.concave
    assert found.peak_age == pytest.approx(50, abs=4)
    inside = found.table["age"].between(30, 70)
    fitted = found.table[inside]
    np.testing.assert_allclose(fitted["fitted"], 1 - ((fitted["age"] - 50) / 30) ** 2, atol=0.15)
    assert not lifespan.curve(age, 1 - hump).concave


@pytest.mark.parametrize(
    "age", [np.arange(19) * 3.0, np.linspace(20, 25, 40), np.repeat([20.0, 70], 20)]
)
def test_no_curve_where_ages_do_not_allow_one(age):
    assert lifespan.curve(age, np.sin(age)) is None


def test_age_groups_of_he():
    ages = pd.Series([7.9, 8, 19.9, 20, 69.9, 70, 80, 81, np.nan])
    got = lifespan.age_group(ages)
    assert got.tolist()[1:7] == ["8-20", "8-20", "20-30", "60-70", "70-80", "70-80"]
    assert got[[0, 7, 8]].isna().all()


def scans_of(n, *, per_person=1, seed=0):
    rng = np.random.default_rng(seed)
    person = np.repeat([f"sub-{i:03d}" for i in range(n)], per_person)
    age = np.repeat(rng.uniform(20, 80, n), per_person)
    predicted = 15 + 0.7 * age + rng.normal(0, 3, len(age))
    return pd.DataFrame(
        {"participant_id": person, "chronological_age": age, "predicted_age": predicted}
    )


def test_line_within_the_dataset_is_recovered_and_applied_to_others():
    scans = scans_of(300)
    patients = scans.index >= 200
    scans.loc[patients, "predicted_age"] += 5
    got, _ = kfold_correction(scans, pd.Series(~patients, scans.index))
    assert got.slope == pytest.approx(0.7, abs=0.03)
    assert got.intercept == pytest.approx(15, abs=1.5)
    assert got.n_reference == 200
    assert got.gap[~patients].mean() == pytest.approx(0, abs=0.3)
    assert got.gap[patients].mean() == pytest.approx(5, abs=1)
    slope = np.polyfit(scans["chronological_age"], got.gap, 1)[0]
    assert slope == pytest.approx(0, abs=0.03)


def test_nobody_is_corrected_with_a_line_that_saw_them():
    scans = scans_of(30, per_person=2)
    mine = scans["participant_id"] == "sub-007"
    everybody = pd.Series(True, scans.index)
    plain = kfold_correction(scans, everybody)[0].gap[mine]
    scans.loc[mine, "predicted_age"] += 100
    shifted = kfold_correction(scans, everybody)[0].gap[mine]
    np.testing.assert_allclose(shifted - plain, 100)


def test_warnings_of_the_correction():
    scans = scans_of(60)
    young = scans["chronological_age"] < 50
    got, notes = kfold_correction(scans, young)
    assert [got.warnings[0] in notes[0], got.warnings[1] in notes[1]] == [True, True]
    assert "below 100" in got.warnings[0]
    assert "extrapolated" in got.warnings[1]
    nothing, reasons = kfold_correction(scans, scans.index.to_series() < 10)
    assert nothing is None
    assert "at least 20" in reasons[0]
    assert kfold_correction(scans_of(120), pd.Series(True, range(120)))[0].warnings == ()


def test_pairs_of_common_atlases():
    names = ["Left Thalamus", "Right Thalamus", "SFG_L_7_1", "SFG_R_7_1", "Brain stem", "L twin"]
    table = pd.DataFrame(
        {"index": range(1, 7), "name": names, "hemisphere": ["L", "R", "L", "R", "B", "L"]}
    )
    got = asymmetry.homologous_pairs(table)
    assert got["index_left"].tolist() == [1, 3]
    assert got["index_right"].tolist() == [2, 4]
    assert got["pair"].tolist()[0] == "thalamus"
    twins = pd.DataFrame(
        {"index": [1, 2, 3], "name": ["L a", "L a", "R a"], "hemisphere": ["L", "L", "R"]}
    )
    assert asymmetry.homologous_pairs(twins).empty


def test_planted_asymmetry_and_whose_it_is():
    rng = np.random.default_rng(8)
    values = pd.DataFrame(rng.normal(0, 0.5, (40, 6)), columns=range(1, 7))
    flipped = pd.DataFrame(rng.normal(0, 0.5, (40, 6)), columns=range(1, 7))
    values[1] += 1  # the brain's: changes side with the mirror
    flipped[2] += 1
    values[3] += 1  # the model's: stays
    flipped[3] += 1
    pairs = pd.DataFrame({"pair": [*"abc"], "index_left": [1, 3, 5], "index_right": [2, 4, 6]})
    got = asymmetry.asymmetry_table(values, pairs, flipped=flipped).set_index("pair")
    assert got.loc["a", "brain_part"] == pytest.approx(1, abs=0.2)
    assert got.loc["a", "model_part"] == pytest.approx(0, abs=0.2)
    assert got.loc["b", "model_part"] == pytest.approx(1, abs=0.2)
    assert (got.loc[["a", "b"], ["q", "p_maxt"]] < 0.05).all(axis=None)
    assert got.loc["c", "p_maxt"] > 0.05
    two = asymmetry.asymmetry_table(values.iloc[:2], pairs)
    assert two["p"].isna().all()
    assert two["mean_difference"].notna().all()


def test_ranks_repeat_when_there_is_a_signal_only():
    rng = np.random.default_rng(9)
    truth = np.linspace(-1, 2, 40)
    clear = {r.measure: r for r in repeatability.split_halves(truth + rng.normal(0, 0.2, (20, 40)))}
    noise = {r.measure: r for r in repeatability.split_halves(rng.normal(0, 1, (20, 40)))}
    assert clear["split_half_spearman"].value > 0.95
    assert clear["top10_overlap"].value > 0.7
    assert noise["split_half_spearman"].lower < 0 < noise["split_half_spearman"].upper
    assert repeatability.split_halves(truth + rng.normal(0, 1, (5, 40))) == []


def test_rank_intervals_hold_the_true_rank():
    rng = np.random.default_rng(10)
    truth = np.arange(1, 13)[::-1] / 2.0
    values = truth + rng.normal(0, 1, (60, 12))
    values[:, 5] = np.nan
    lower, upper = repeatability.rank_intervals(values)
    known = np.arange(12) != 5
    rank = np.arange(1, 12)
    assert np.isnan(lower[5])
    assert ((lower[known] <= rank) & (rank <= upper[known])).all()
    assert np.isnan(repeatability.rank_intervals(values[:5])[0]).all()
