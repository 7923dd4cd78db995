"""Verdicts: which facts make a result usable, to be looked at closer, or not to be used."""

from __future__ import annotations

import pytest

from bidsapp_brainage.catalogue.flags import FLAGS, QUALITY_CHECKS, VERDICTS
from bidsapp_brainage.stats.regional import signs
from bidsapp_brainage.stats.verdicts import LEVELS, region_verdict, scan_verdict, worst

GOOD = {
    "predicted_age": 41.0,
    "chronological_age": 40.0,
    "ci95_lower": 33.0,
    "ci95_upper": 49.0,
    "flags": "none",
    "flag_reasons": float("nan"),
    "qc_flag": "pass",
}


def test_a_scan_without_any_doubt_is_usable():
    found = scan_verdict(GOOD, {"decision": "pass", "decision_reason": "n/a"})
    assert (found.level, found.doubts, found.summary) == ("usable", (), "")
    assert found.reasons[0].text == "40.0, interval 33.0 to 49.0."
    assert "with its interval" in found.advice[0]


@pytest.mark.parametrize("card", FLAGS, ids=lambda card: card.key)
def test_every_flag_counts_as_much_as_its_card_says(card):
    found = scan_verdict({**GOOD, "flags": card.key, "flag_reasons": "seen here"})
    assert found.level == {"warn": "look closer", "bad": "do not use"}[card.level]
    (reason,) = found.doubts
    assert reason.title == card.title
    assert reason.text.startswith("Seen here. ")
    assert not card.remedy or card.remedy in found.advice


@pytest.mark.parametrize("age", [32.9, 49.1])
def test_nobody_outside_the_interval_is_usable_even_if_no_flag_says_so(age):
    found = scan_verdict({**GOOD, "chronological_age": age})
    assert found.level == "look closer"
    assert f"{age}, interval 33.0 to 49.0" in found.reasons[0].text
    flagged = scan_verdict({**GOOD, "chronological_age": age, "flags": "age_outside_interval"})
    assert len(flagged.reasons) == 1, "said once"


@pytest.mark.parametrize("check", QUALITY_CHECKS, ids=lambda check: check.reason)
def test_quality_checks_count_with_their_remedy(check):
    row = {"decision": check.decision, "decision_reason": f"{check.reason}; something new"}
    found = scan_verdict(GOOD, row)
    assert found.level == {"warn": "look closer", "fail": "do not use"}[check.decision]
    assert found.summary.endswith(f": {check.reason}, something new")
    assert check.remedy in found.advice


def test_without_the_table_of_quality_the_column_of_the_prediction_counts():
    assert scan_verdict({**GOOD, "qc_flag": "warn"}).level == "look closer"


@pytest.mark.parametrize("row", [None, {}, {"predicted_age": None}, {"predicted_age": "n/a"}])
def test_without_a_prediction_nothing_can_be_used(row):
    found = scan_verdict(row, failure="Brain mask: it holds 0 ml.")
    assert (found.level, found.summary) == ("do not use", "No age was predicted")
    assert found.reasons[0].text == "Brain mask: it holds 0 ml."


def test_an_image_that_failed_the_checks_says_so_where_its_age_is_missing():
    failed = {"decision": "fail", "decision_reason": "does not resemble the template"}
    found = scan_verdict(None, failed)
    assert "fails the quality checks" in found.reasons[0].text
    assert found.summary == (
        "No age was predicted; Quality checks failed: does not resemble the template"
    )


def test_an_age_that_is_not_known_is_a_remark_and_a_missing_interval_a_doubt():
    found = scan_verdict({**GOOD, "chronological_age": None})
    assert (found.level, found.summary) == ("usable", "")
    assert [reason.key for reason in found.reasons] == ["no_age"]
    found = scan_verdict({**GOOD, "ci95_lower": None, "ci95_upper": None})
    assert (found.level, found.reasons[0].key) == ("look closer", "no_interval")


@pytest.mark.parametrize(
    ("rating", "level"),
    [
        ({"rating": 1}, "do not use"),
        ({"rating": 2}, "look closer"),
        ({"rating": 3}, "usable"),
        ({"rating": 4, "mask": "wrong"}, "do not use"),
        ({"rating": 4, "registration": "wrong", "mask": "good"}, "do not use"),
        ({}, "usable"),
    ],
)
def test_what_a_person_saw_counts(rating, level):
    found = scan_verdict(GOOD, None, [{"rating": 4}, {**rating, "rater": "AB"}])
    assert found.level == level
    assert level == "usable" or found.summary.endswith("by AB")


def test_a_row_of_an_earlier_version_and_a_flag_of_a_later_one_are_understood():
    row = {name: value for name, value in GOOD.items() if not name.startswith("flag")}
    assert scan_verdict({**row, "ood_flag": "out_of_range"}).level == "do not use"
    assert scan_verdict({**GOOD, "flags": "martian"}).level == "look closer"


def test_the_gravest_reason_comes_first():
    row = {**GOOD, "flags": "edge_mass,implausible_gap", "flag_reasons": "a; b"}
    found = scan_verdict(row, {"decision": "warn", "decision_reason": "coarse voxels"})
    assert [reason.key for reason in found.doubts] == ["implausible_gap", "edge_mass", "quality"]
    assert [worst(levels) for levels in (LEVELS, LEVELS[:2], [])] == [
        "do not use",
        "look closer",
        "usable",
    ]


def judged(*agreement, baselines=("mean", "blur"), strongest=1, **counts):
    every = dict.fromkeys(("stable", "opposite", "uncertain", "negligible"), 0) | counts
    return region_verdict(signs.Verdict(baselines, every, strongest, strongest, agreement))


@pytest.mark.parametrize(
    ("contributions", "level"),
    [
        (judged(stable=20), "usable"),
        (judged(negligible=20), "usable"),
        (judged(stable=19, opposite=1), "look closer"),
        (judged(uncertain=20), "look closer"),
        (judged(("lrp", 0.29), stable=20), "look closer"),
        (judged(("lrp", 0.31), stable=20), "usable"),
        (judged(baselines=("mean",), stable=20), "look closer"),
        (judged(strongest=None), "usable"),
    ],
)
def test_contradictions_between_explanations_ask_for_a_look_at_most(contributions, level):
    assert contributions.level == level


SEEN = {"decision": "warn", "decision_reason": "coarse voxels"}


@pytest.mark.parametrize(
    ("flag", "ratings", "level"),
    [
        ("mask_disagreement", [{"rating": 3}, {"rating": 4, "mask": "good"}], "usable"),
        ("mask_disagreement", [{"rating": 4}, {"rating": 2}], "look closer"),
        ("mask_disagreement", [{"rating": 4, "mask": "wrong"}], "do not use"),
        ("mask_disagreement", [{}], "look closer"),
        ("member_disagreement", [{"rating": 4}], "look closer"),
        ("unlike_training", [{"rating": 4}], "do not use"),
        ("age_outside_interval", [{"rating": 4}], "look closer"),
    ],
)
def test_a_good_rating_settles_only_what_can_be_seen(flag, ratings, level):
    found = scan_verdict({**GOOD, "flags": flag}, SEEN, ratings)
    assert found.level == level
    (quality,) = (reason for reason in found.reasons if reason.key == "quality")
    settled = len(ratings[0]) and all(rating.get("rating", 0) > 2 for rating in ratings)
    settled = settled and ratings[0].get("mask") != "wrong"
    assert (quality.level == "usable") == quality.text.endswith("found it good.") == bool(settled)


def test_the_words_of_the_dictionary_are_the_levels():
    assert tuple(VERDICTS) == LEVELS
