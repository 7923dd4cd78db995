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


SCANNERS = {"A": (140, 0.3), "B": (40, 0.9), "C": (30, 0.6)}


def several(seed=0, sizes=None):
    """People of scanners at different distances, whose errors grow with distance and SD."""
    rng = np.random.default_rng(seed)
    tables = []
    for name, (n, middle) in (sizes or SCANNERS).items():
        age, sd = rng.uniform(20, 80, n), rng.uniform(3, 8, n)
        far = np.abs(rng.normal(middle, 0.1, n))
        error = rng.normal(size=n) * (1.0 + 0.3 * sd + 4.0 * far)
        tables.append(
            pd.DataFrame(
                {
                    "participant_id": [f"sub-{name}{i:03d}" for i in range(n)],
                    "scanner": name,
                    "age": age,
                    "predicted_age": age + error,
                    "predicted_age_sd": sd,
                    "training_distance": far,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def covered_by(table, new):
    """Whether new people lie inside of intervals fitted on a table, and half of their widths."""
    scale, factor = calibration.fit_interval(table, "distance")
    half = factor * calibration.sizes(new, scale)
    return (new.predicted_age - new.age).abs() <= half, half


def test_new_scanners_near_and_far_are_covered():
    """One calibration of 30 people of a scanner is a matter of luck; the mean of many is not."""
    shares = []
    for seed in range(10):
        new = several(100 + seed, {"D": (1000, 0.5), "E": (1000, 1.0)})
        inside, half = covered_by(several(seed), new)
        shares.append(inside.groupby(new.scanner).mean())
        assert half[new.scanner == "E"].mean() > 1.1 * half[new.scanner == "D"].mean()
    for name in ("D", "E"):
        assert 0.92 <= np.mean([share[name] for share in shares]) <= 0.98


def test_with_distances_the_width_grows_and_every_scanner_is_told():
    facts = calibration.calibrate(several(0), "test")
    assert facts["method"] == "conformal_distance"
    assert set(facts["coverage_by_scanner"]) == set(SCANNERS)
    assert facts["coverage_by_scanner"]["B"]["n"] == 40
    both = [own["coverage95"] for own in facts["coverage_by_scanner"].values()]
    assert min(both) <= facts["coverage95"] <= max(both)


def test_without_the_distance_the_far_scanner_would_pay():
    """What the distance is for: intervals of the SD alone miss people of far scanners."""
    table = several(0).drop(columns="training_distance")
    near = table[table.scanner == "A"].drop(columns="scanner")
    facts = calibration.calibrate(near, "one scanner", "normalised")
    new = several(1, {"E": (2000, 1.5)})
    covered = (new.predicted_age - new.age).abs() <= (
        facts["ci95_half_width_sd"] * new.predicted_age_sd
    )
    assert covered.mean() < 0.92


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0, 3), st.floats(0, 1), st.floats(0, 8))
def test_the_learned_width_never_falls(seed, a, b, c):
    rng = np.random.default_rng(seed)
    table = people(60, seed).assign(training_distance=rng.uniform(0, 1.2, 60), scanner="A")
    error = rng.normal(size=60) * (a + b * table.predicted_age_sd + c * table.training_distance)
    table["predicted_age"] = table.age + error
    scale = calibration.fit_scale(table, "distance")
    assert min(scale.values()) >= 0
    steps = pd.DataFrame({"predicted_age_sd": 5.0, "training_distance": np.linspace(0, 9, 50)})
    widths = calibration.sizes(steps, scale)
    assert (np.diff(widths) >= 0).all()
    assert widths[-1] > widths[0]
    steps = pd.DataFrame({"predicted_age_sd": np.linspace(0, 20, 50), "training_distance": 0.5})
    assert (np.diff(calibration.sizes(steps, scale)) >= 0).all()


def test_the_quantile_covers_exchangeable_people_on_average():
    """Mean coverage of a split-conformal interval is between 95 % and 95 % + 1 / (n + 1)."""
    rng = np.random.default_rng(0)
    n, hits = 40, []
    for _ in range(2000):
        scores = rng.exponential(size=n + 1)
        hits.append(scores[-1] <= calibration.conformal_quantile(scores[:-1]))
    assert 0.94 <= np.mean(hits) <= 0.95 + 1 / (n + 1) + 0.01


def test_a_scanner_is_judged_by_a_calibration_without_it():
    table = several(0)
    own = table.scanner == "B"
    wild = table.copy()
    wild.loc[own, "predicted_age"] += 500.0
    before, after = (calibration.nested(t, "distance") for t in (table, wild))
    place = np.flatnonzero(own)
    widths = [(t.upper - t.lower)[t.person.isin(place)].to_numpy() for t in (before, after)]
    assert widths[0] == pytest.approx(widths[1])


def test_no_scanner_pays_for_the_others():
    table = several(0).drop(columns="training_distance")
    table.loc[table.scanner == "C", "predicted_age"] += 25.0
    facts = calibration.calibrate(table, "test", "constant")
    bad = table[table.scanner == "C"]
    assert ((bad.predicted_age - bad.age).abs() <= facts["half_width95"]).mean() >= 0.92


def test_the_limit_of_the_raw_image_comes_from_people_not_trained_on():
    table = several(0).assign(fast_age=lambda t: t.predicted_age - np.linspace(0, 20, 210))
    assert 19 < calibration.calibrate(table, "test")["fast_age_limit"] < 20
    few = table.assign(fast_age=table.fast_age.where(table.index < 20))
    assert "fast_age_limit" not in calibration.calibrate(few, "test")


def test_the_limit_of_disagreement_comes_from_people_not_trained_on():
    table = several(0).assign(member_sd=np.linspace(0, 10, 210))
    facts = calibration.calibrate(table, "test")
    assert 9.5 < facts["member_sd_limit"] < 10
    assert "member_sd_limit" not in calibration.calibrate(table.head(30), "test")


def test_distances_are_asked_for_where_they_are_needed():
    with pytest.raises(DataError, match="distances from the training people"):
        calibration.calibrate(people(60), "test", "distance")


def features_of(table, seed=0):
    """Features that follow the predicted age; those of scanner B lie a little aside."""
    rng = np.random.default_rng(seed)
    aside = np.where(table.scanner == "B", 1.0, 0.0)
    noise = rng.normal(size=(len(table), 3))
    columns = {
        "input_p50": 0.02 * table.predicted_age + 0.3 * noise[:, 0],
        "tissue_csf": -2 + 0.01 * table.predicted_age + 0.1 * noise[:, 1] + 0.1 * aside,
    }
    encoder = {f"encoder_{i:03d}": noise[:, i % 3] + 0.1 * rng.normal(size=len(table))
               for i in range(5)}  # fmt: skip
    return table[["participant_id", "scanner"]].assign(**columns, **encoder)


def test_a_card_gets_its_reference_and_a_width_that_grows(tmp_path):
    card = make_card(tmp_path / "old", calibration={})
    table = several(0).drop(columns="training_distance")
    described = features_of(table).sample(frac=1, random_state=0)
    path, text = recalibrate(
        card, table, "people", method="auto", out=tmp_path / "new", features=described
    )
    new = load_card(path)
    assert new.calibration["method"] == "conformal_distance"
    assert new.calibration["scale"]["distance"] > 0
    assert {f["name"] for f in new.reference["features"]} >= {"input_p50", "tissue_csf"}
    assert new.reference["n"] == 210
    for name in SCANNERS:
        assert f"  {name} " in text
    assert "without their scanner" in text
    with pytest.raises(DataError, match="lacks 140 of 210 people"):
        recalibrate(
            card, table, "x", method="auto", out=tmp_path / "b",
            features=described[described.scanner != "A"],
        )  # fmt: skip


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
