"""Accuracy metrics against other implementations and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bidsapp_brainage.stats import accuracy


def value(result, name):
    return result.table.set_index("metric").loc[name, "value"]


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, 40)
    predicted = 20 + 0.6 * age + rng.normal(0, 5, 40)
    return age, predicted, np.array([f"sub-{i:02d}" for i in range(40)])


def test_notes_about_other_numbers_speak_of_values_in_their_unit(sample):
    true, predicted, people = (part[:2] for part in sample)
    same = np.full(40, 25.0)
    for unit, word in (("kg/m2", "kg/m2"), ("1", "units")):
        (few, *_) = accuracy.of_numbers(true, predicted, people, unit=unit).notes
        assert f"over {np.ptp(true):.1f} {word}; at least 3 of different value are needed" in few
    (equal,) = accuracy.of_numbers(sample[0], same, sample[2], unit="1", n_boot=0).notes
    assert "all predicted values are equal" in equal


def test_metrics_agree_with_scipy_and_definitions(sample):
    age, predicted, people = sample
    got = accuracy.metrics(age, predicted, people, n_boot=200)
    assert value(got, "pearson_r") == pytest.approx(stats.pearsonr(age, predicted).statistic)
    assert value(got, "bias_slope") == pytest.approx(stats.linregress(age, predicted - age).slope)
    assert value(got, "mae") == pytest.approx(np.abs(predicted - age).mean())
    assert value(got, "rmse") ** 2 == pytest.approx(((predicted - age) ** 2).mean())
    assert value(got, "weighted_mae") == pytest.approx(value(got, "mae") / np.ptp(age))
    assert value(got, "r2") == pytest.approx(1 - value(got, "rmse") ** 2 / age.var())
    assert value(got, "mae_mean_age") == pytest.approx(np.abs(age - age.mean()).mean())
    assert value(got, "mae_gain") == pytest.approx(value(got, "mae_mean_age") - value(got, "mae"))
    assert not got.notes


def test_intervals_contain_the_estimate_and_are_reproducible(sample):
    first = accuracy.metrics(*sample, n_boot=300, seed=5).table
    again = accuracy.metrics(*sample, n_boot=300, seed=5).table
    assert first.equals(again)
    assert ((first["ci95_lower"] < first["value"]) & (first["value"] < first["ci95_upper"])).all()
    assert set(first["ci_method"]) == {"BCa"}


def test_participants_are_resampled_not_scans(sample):
    age, predicted, people = sample
    once = accuracy.metrics(age, predicted, people, n_boot=400).table
    thrice = accuracy.metrics(
        np.repeat(age, 3), np.repeat(predicted, 3), np.repeat(people, 3), n_boot=400
    ).table
    assert (thrice["n_participants"] == 40).all()
    assert (thrice["n_scans"] == 120).all()
    # Copies of a scan bring no information: the interval must not shrink.
    width = [t["ci95_upper"] - t["ci95_lower"] for t in (once, thrice)]
    np.testing.assert_allclose(width[1], width[0], rtol=0.05)


def test_always_answering_the_mean_gains_nothing(sample):
    age, _, people = sample
    got = accuracy.metrics(age, np.full(40, age.mean()), people, n_boot=100)
    assert value(got, "r2") == pytest.approx(0)
    assert value(got, "mae_gain") == pytest.approx(0)
    assert "pearson_r" not in set(got.table["metric"])
    assert any("correlation" in note for note in got.notes)


@pytest.mark.parametrize(
    ("n", "metrics", "n_notes"),
    [(0, 0, 1), (1, 3, 2), (2, 3, 2), (3, 9, 1), (4, 9, 1), (5, 9, 0)],
)
def test_small_samples_give_smaller_tables_and_say_why(sample, n, metrics, n_notes):
    age, predicted, people = (part[:n] for part in sample)
    got = accuracy.metrics(age, predicted, people, n_boot=99)
    assert len(got.table) == metrics
    assert len(got.notes) == n_notes
    assert got.table["value"].notna().all()


def test_unknown_ages_are_left_out(sample):
    age, predicted, people = sample
    age = np.where(np.arange(40) % 2, age, np.nan)
    got = accuracy.metrics(age, predicted, people, n_boot=99)
    assert (got.table["n_scans"] == 20).all()


def test_equal_ages_do_not_crash(sample):
    _, predicted, people = sample
    got = accuracy.metrics(np.full(40, 30.0), predicted, people, n_boot=99)
    assert set(got.table["metric"]) == {"mae", "rmse", "mean_gap"}
    assert "different age" in got.notes[0]


def test_coverage_counts_and_has_a_wilson_interval():
    age = np.array([10.0, 20, 30, 40, np.nan])
    people = np.array(list("abcde"))
    got = accuracy.coverage(age, age - 1, np.array([11.0, 21, 31, 39, 50]), people).table.iloc[0]
    assert got["value"] == 0.75
    assert got["n_scans"] == 4
    assert got["ci95_lower"] < 0.75 < got["ci95_upper"] <= 1
    exact = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert (got["ci95_lower"], got["ci95_upper"]) == pytest.approx((exact.low, exact.high))
    assert accuracy.coverage(age * np.nan, age, age, people).table.empty


def test_scans_of_one_person_count_as_one_observation_of_coverage():
    age = np.array([10.0, 20, 30, 40])
    upper = np.array([11.0, 21, 31, 39])
    each = accuracy.coverage(age, age - 1, upper, np.array(list("abcd"))).table.iloc[0]
    several = accuracy.coverage(age, age - 1, upper, np.array(list("aabb"))).table.iloc[0]
    assert (several["value"], several["n_participants"], several["n_scans"]) == (0.75, 2, 4)
    assert several["ci95_lower"] < each["ci95_lower"]
    assert each["ci95_upper"] < several["ci95_upper"] <= 1
    assert several["ci_method"] == "Wilson"


def test_corrected_gap_reports_no_accuracy(sample):
    age, predicted, people = sample
    got = accuracy.corrected_gap(age, predicted - (20 + 0.6 * age), people, n_boot=99).table
    assert set(got["metric"]) == {"mean_gap", "bias_slope"}
    assert set(got["prediction"]) == {"corrected"}
    assert abs(got.set_index("metric").loc["bias_slope", "value"]) < 0.1


def test_join_keeps_rows_and_says_things_once(sample):
    age, predicted, people = (part[:2] for part in sample)
    one = accuracy.metrics(age, predicted, people)
    both = accuracy.join([one, one])
    assert len(both.table) == 2 * len(one.table)
    assert both.notes == one.notes
    assert accuracy.join([]).table.empty


def test_parts_of_the_sample(sample):
    age, predicted, people = sample
    scans = pd.DataFrame(
        {"participant_id": people, "chronological_age": age, "predicted_age": predicted}
    )
    sex = pd.Series(np.where(np.arange(40) < 20, "F", "M"))
    sex[:3] = "O"
    got = accuracy.by_subset(scans, sex, prefix="sex", n_boot=99)
    assert list(got.table["subset"].unique()) == ["sex=F", "sex=M"]
    assert set(got.table["metric"]) == {"mae", "mean_gap"}
    assert "sex O" in got.notes[0]
    assert accuracy.by_subset(scans, sex.where(sex == "F"), prefix="sex").table.empty
