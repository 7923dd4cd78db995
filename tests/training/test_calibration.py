from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.model.cards import find_card, load_card
from bidsapp_brainage.model.weights.files import verify_weights
from bidsapp_brainage.training import calibration
from bidsapp_brainage.training.recalibrate import recalibrate
from tests.model.tiny import make_card


def people(n=150, seed=0, *, even=False):
    """Predictions whose errors are as large as half their SD says, or all alike."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 80, n)
    sd = rng.uniform(2, 14, n)
    error = rng.normal(size=n) * (4.0 if even else 0.5 * sd)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "age": age,
            "predicted_age": age + error,
            "predicted_age_sd": sd,
        }
    )


@pytest.mark.parametrize(("n", "expected"), [(19, 19.0), (39, 38.0), (99, 95.0), (18, np.inf)])
def test_the_quantile_has_its_finite_sample_correction(n, expected):
    assert calibration.conformal_quantile(np.arange(1.0, n + 1)) == expected


@pytest.mark.parametrize(("even", "method"), [(False, "normalised"), (True, "constant")])
def test_new_people_are_covered_and_the_narrower_method_is_chosen(even, method):
    facts = calibration.calibrate(people(even=even), "test")
    assert facts["method"] == f"conformal_{method}"
    assert 0.92 <= facts["coverage95"] <= 0.98
    new = people(4000, seed=1, even=even)
    half = facts.get("ci95_half_width_sd", 0) * new.predicted_age_sd + facts.get("half_width95", 0)
    covered = (new.predicted_age - new.age).abs() <= half
    assert 0.92 <= covered.mean() <= 0.98


def test_the_calibration_of_a_person_does_not_know_them():
    table = calibration.check(people(60))
    wild = table.copy()
    wild.loc[7, "predicted_age"] += 500.0
    before, after = (calibration.nested(t, "constant") for t in (table, wild))
    first, second = (t[t.person == 7] for t in (before, after))
    widths = [(t.upper - t.lower).to_numpy() for t in (first, second)]
    assert widths[0] == pytest.approx(widths[1])


@settings(deadline=None, max_examples=30)
@given(st.floats(0.3, 1.2), st.floats(-20, 20))
def test_bias_line_finds_its_line(slope, intercept):
    age = np.linspace(20, 80, 30)
    noise = np.resize([1.0, -1.0, -1.0, 1.0], 30)
    line = calibration.bias_line(age, slope * age + intercept + noise, "test")
    assert line["slope"] == pytest.approx(slope, abs=0.02)
    assert line["intercept"] == pytest.approx(intercept, abs=1)
    assert line["residual_sd"] == pytest.approx(1, abs=0.1)


def test_sd_scale_makes_distributions_as_wide_as_errors():
    age = np.array([20.0, 40.0])
    scale = calibration.sd_scale(age, age + np.array([4.0, -4.0]), np.array([2.0, 2.0]))
    assert scale == 2.0


def test_one_scan_of_a_person_counts():
    table = people(30)
    assert len(calibration.check(pd.concat([table, table]))) == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.head(10), "10 people"),
        (lambda t: t.drop(columns="predicted_age_sd"), "predicted_age_sd"),
    ],
)
def test_unusable_predictions_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        calibration.check(change(people(30)))


def test_a_network_without_distribution_gets_a_constant_interval():
    table = people(60).assign(predicted_age_sd=0.0)
    assert calibration.calibrate(table, "test")["method"] == "conformal_constant"
    with pytest.raises(DataError, match="SDs above 0"):
        calibration.calibrate(table, "test", "normalised")


def test_a_card_is_recalibrated_in_a_copy(tmp_path):
    card = make_card(tmp_path / "old", calibration={"sd_scale": 2.0, "member_sd_limit": 9.0})
    path, text = recalibrate(card, people(), "test people", method="auto", out=tmp_path / "new")
    new = load_card(path)
    verify_weights(new)
    assert new.calibration["ci95_half_width_sd"] > 0
    assert new.calibration["member_sd_limit"] == 9.0
    assert new.bias_correction.source == "test people"
    assert json.loads((tmp_path / "old" / "tiny.json").read_text())["calibration"] == {
        "sd_scale": 2.0, "member_sd_limit": 9.0,
    }  # fmt: skip
    assert "coverage of the 95 % interval, 150 people" in text
    gaps = pd.read_csv(tmp_path / "new" / "tiny_calibration.tsv", sep="\t")
    assert gaps.covered.mean() == pytest.approx(0.95, abs=0.04)
    assert abs(gaps.gap_corrected.cov(gaps.age)) < abs(gaps.gap.cov(gaps.age)) + 1


def test_a_card_is_recalibrated_in_place(tmp_path):
    card = make_card(tmp_path)
    path, _ = recalibrate(card, people(), "test people", method="constant", out=None)
    assert path == tmp_path / "tiny.json"
    assert load_card(path).calibration["method"] == "conformal_constant"


def test_cards_of_the_package_are_left_alone():
    with pytest.raises(UsageError, match="`out`"):
        recalibrate(find_card("sfcn2mm"), people(), "x", method="auto", out=None)
