"""Verdicts on samples: which facts make the results of a group usable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bidsapp_brainage.stats.sample_verdicts import Estimate, SampleFacts, sample_verdict

GOOD = SampleFacts(
    n_scans=100,
    n_people=100,
    mae=4.0,
    mean_age_mae=12.0,
    gain=Estimate(8.0, 6.0, 10.0),
    coverage=Estimate(0.94, 0.88, 0.97),
    slope=Estimate(-0.01, -0.05, 0.03),
    age_range=(20.0, 80.0),
)
UNKNOWN = Estimate(1.0)


def test_a_good_sample_is_usable_and_says_why():
    found = sample_verdict(GOOD)
    assert (found.level, found.doubts) == ("usable", ())
    assert [reason.key for reason in found.reasons] == ["accuracy", "coverage"]
    assert found.reasons[0].text == (
        "Mean absolute error 4.0 years; answering everybody with the mean age of the sample 12.0."
    )
    assert found.advice == ("Report the numbers with their intervals.",)


@pytest.mark.parametrize(
    ("change", "level", "key"),
    [
        ({"mae": None}, "look closer", "accuracy"),
        ({"gain": Estimate(-2.0, -3.0, -1.0)}, "do not use", "accuracy"),
        ({"gain": Estimate(-2.0, -5.0, 1.0)}, "look closer", "accuracy"),
        ({"gain": Estimate(2.0, -1.0, 5.0)}, "look closer", "accuracy"),
        ({"gain": UNKNOWN}, "look closer", "accuracy"),
        ({"coverage": Estimate(0.85, 0.79, 0.91)}, "look closer", "coverage"),
        ({"coverage": Estimate(0.5, 0.4, 0.6)}, "do not use", "coverage"),
        ({"slope": Estimate(-0.3, -0.4, -0.2)}, "look closer", "trend"),
        ({"slope": Estimate(-0.3, -0.4, -0.2), "corrected_slope": Estimate(0.2, 0.1, 0.3)},
         "look closer", "trend"),
        ({"leakage": ("IXI!",)}, "do not use", "leakage"),
        ({"collection": ("Two versions.",)}, "look closer", "collection"),
        ({"n_missing": 12}, "look closer", "failures"),
        ({"n_missing": 101}, "do not use", "failures"),
        ({"n_unusable": 1}, "look closer", "scans"),
        ({"n_doubtful": 21}, "look closer", "scans"),
        ({"n_unusable": 51}, "do not use", "scans"),
    ],
)  # fmt: skip
def test_each_fact_counts(change, level, key):
    found = sample_verdict(replace(GOOD, **change))
    assert (found.level, found.reasons[0].key) == (level, key)
    assert len(found.doubts) == 1
    assert found.reasons[0].remedy in found.advice


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": Estimate(1.0, 0.34, 1.0)},
        {"coverage": None},
        {"slope": None},
        {"slope": Estimate(-0.3, -0.4, -0.2), "corrected_slope": Estimate(0.0, -0.1, 0.1)},
        {"n_missing": 5},
        {"n_doubtful": 7},
    ],
)
def test_what_is_to_be_expected_is_a_remark_at_most(change):
    assert sample_verdict(replace(GOOD, **change)).level == "usable"


def test_the_sentences_have_the_numbers():
    facts = replace(GOOD, n_missing=2, n_people=18, n_unusable=1, n_doubtful=3, n_scans=20)
    titles = [reason.title for reason in sample_verdict(facts).reasons]
    assert "2 of 20 people have no prediction" in titles
    assert "Of 20 scans 1 should not be used and 3 should be looked at closer" in titles
    (trend,) = sample_verdict(replace(GOOD, slope=Estimate(-0.25, -0.4, -0.1))).doubts
    assert trend.text == "The gap changes by \N{MINUS SIGN}0.25 years for each year of age."
