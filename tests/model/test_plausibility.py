"""Flags with their reasons, and the distance from the training people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bidsapp_brainage.catalogue import flags as catalogue
from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.plausibility import features, reference
from bidsapp_brainage.model.plausibility.flags import CHECKS, Findings, raised
from bidsapp_brainage.model.plausibility.reference import Distance
from bidsapp_brainage.model.prediction import predict, prediction_row, summarise_values
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import make_card

LINE = BiasCorrection(slope=0.8, intercept=10.0, source="test", residual_sd=5.0)
PLAIN = {
    "features": [
        {"name": "tissue_csf", "by_age": [-2.0, 0.1, 0.0], "sd": 0.2},
        {"name": "input_p50", "by_age": [1.0, 0.0, 0.0], "sd": 0.5},
    ],
    "covariance": [[1.0, 0.0], [0.0, 1.0]],
    "age_limits": [20.0, 80.0],
    "threshold": 2.0,
}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_card(
        tmp_path_factory.mktemp("card"),
        calibration={"member_sd_limit": 4.0, "fast_age_limit": 20.0},
    )


def reasons(findings):
    return {flag.key: flag.reason for flag in raised(findings)}


def test_every_flag_of_the_catalogue_has_a_check():
    assert list(CHECKS) == [flag.key for flag in catalogue.FLAGS]


def test_an_ordinary_result_has_no_flag(card):
    usual = Findings(
        card, 58.0, 0.01, 2.0, Distance(0.5), interval=(40.0, 70.0), age=61.0, correction=LINE,
    )  # fmt: skip
    assert raised(usual) == ()
    assert raised(Findings(card, 58.0)) == ()


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"predicted": 86.0, "age": None}, "out_of_range",
         "predicted age 86.0, model 20 to 82 years"),
        ({"age": 19.0, "predicted": 27.0}, "age_out_of_range",
         "chronological age 19.0, model 20 to 82 years"),
        ({"edge_mass": 0.31}, "edge_mass", "31 % of the probability in the first or last age bin"),
        ({"disagreement": 6.04}, "member_disagreement",
         "ages of members differ by an SD of 6.0 years, limit 4.0"),
        ({"distance": Distance(2.34, ("intensities", "amount of fluid"))}, "unlike_training",
         "2.34 times as far from the training people as allowed (most of all intensities, amount "
         "of fluid)"),
        ({"predicted": 29.8, "age": 61.0}, "implausible_gap",
         "predicted 29.0 years below what is expected at 61.0 years, 5.8 SD of reference people"),
        ({"interval": (20.5, 39.1)}, "age_outside_interval",
         "chronological age 60.0, interval 20.5 to 39.1"),
        ({"mask_doubt": "they differ"}, "mask_disagreement", "they differ"),
        ({"fast_age": 37.9}, "fast_disagreement",
         "the raw image looks 37.9 years old, 20.1 away, limit 20.0"),
    ],
)  # fmt: skip
def test_reasons_are_told_with_their_numbers(card, change, key, reason):
    found = reasons(replace(Findings(card, 58.0, age=60.0, correction=LINE), **change))
    assert found == {key: reason}


@pytest.mark.parametrize(("knows", "flags"), [(True, set()), (False, {"stripped_source"})])
def test_stripped_images_are_flagged_where_the_model_knows_none(card, knows, flags):
    card = replace(card, input={**card.input, "stripped_sources": knows})
    assert set(reasons(Findings(card, 58.0, stripped_source=True))) == flags


@pytest.mark.parametrize(("age", "inside"), [(24.0, False), (60.0, True), (None, True)])
def test_a_true_age_outside_the_models_is_out_of_range(tmp_path, age, inside):
    card = make_card(tmp_path, age_range=[42.0, 82.0])
    row = row_of(card, 55.0, age)
    assert row["in_age_range"] is inside
    assert ("age_out_of_range" in row["flags"]) is not inside


def test_flags_and_reasons_stand_in_the_table_in_the_same_order(tmp_path):
    card = make_card(tmp_path, calibration={"half_width95": 9.0})
    row = row_of(card, 29.8, 61.0)
    assert catalogue.split(row["flags"]) == ("implausible_gap", "age_outside_interval")
    first, second = row["flag_reasons"].split("; ")
    assert first.startswith("predicted 29.0 years below")
    assert second == "chronological age 61.0, interval 20.8 to 38.8"
    assert row["ood_flag"] == "none"
    calm = row_of(card, 60.0, 61.0)
    assert (calm["flags"], calm["flag_reasons"]) == ("none", None)
    assert (calm["verdict"], calm["verdict_reasons"]) == ("usable", None)
    assert row["verdict"] == "do not use"
    assert row["verdict_reasons"] == (
        "The gap is larger than a brain explains; "
        "The chronological age lies outside the 95 % interval"
    )


def test_the_users_line_says_what_is_usual_and_the_cards_where_it_cannot(tmp_path):
    card = make_card(tmp_path, calibration={})
    far = {"predicted": 80.0, "age": 61.0}  # 21 years above the card's line, SD 5
    assert "implausible_gap" in row_of(card, **far)["flags"]
    assert "implausible_gap" in row_of(card, **far, correction=None)["flags"]
    wide = BiasCorrection(0.8, 10.0, "site", residual_sd=8.0)
    assert row_of(card, **far, correction=wide)["flags"] == "none"


def row_of(card, predicted, age, correction=LINE):
    return prediction_row(
        summarise_values([predicted], card), card, identity={"participant_id": "sub-1"},
        chronological_age=age, age_source="test", bias_correction=correction, qc_flag="pass",
    )  # fmt: skip


def test_a_list_of_flags_is_read_back():
    assert catalogue.split(catalogue.join(["edge_mass", "unlike_training"])) == (
        "edge_mass", "unlike_training",
    )  # fmt: skip
    for nothing in ("none", "n/a", "", None, np.nan):
        assert catalogue.split(nothing) == ()
    assert catalogue.join([]) == "none"


def test_the_distance_is_in_units_of_the_limit_and_names_what_differs():
    found = reference.distance({"tissue_csf": -2.0, "input_p50": 4.0}, np.zeros(0), 50.0, PLAIN)
    assert found.value == pytest.approx(np.sqrt((0 + 36) / 2) / 2)
    assert found.unusual == ("intensities", "amount of fluid")


def test_an_old_brain_of_an_old_person_is_no_novelty():
    """Fluid grows with age; what counts is whether it fits the age that is predicted."""
    old = {"tissue_csf": -1.7, "input_p50": 1.0}
    at_80, at_30 = (reference.distance(old, np.zeros(0), age, PLAIN) for age in (80.0, 30.0))
    assert at_80.value == pytest.approx(0)
    assert at_30.value > 0.8
    beyond = reference.distance(old, np.zeros(0), 110.0, PLAIN)
    assert beyond.value == pytest.approx(0)  # courses are not drawn on beyond the people


def test_unknown_features_are_disregarded():
    known = reference.distance({"input_p50": 4.0}, np.zeros(0), 50.0, PLAIN)
    assert known.value == pytest.approx(6 / 2)
    assert reference.distance({"other": 1.0}, np.zeros(0), 50.0, PLAIN) is None


def test_what_the_encoders_axes_leave_over_counts_too():
    axes = {"center": [0.0, 0.0, 0.0], "sd": [1.0, 1.0, 1.0], "components": [[1.0, 0.0, 0.0]]}
    along = reference.encoder_axes(np.array([3.0, 0.0, 0.0]), axes)
    aside = reference.encoder_axes(np.array([0.0, 3.0, 0.0]), axes)
    assert along["encoder_1"] == 3.0
    assert aside["encoder_1"] == 0.0
    assert aside["encoder_rest"] > along["encoder_rest"] + 5
    assert reference.encoder_axes(np.zeros(2), axes) == {}  # of another network


def test_features_of_the_input_see_contrast_and_noise():
    rng = np.random.default_rng(0)
    brain = np.zeros((12, 12, 12))
    brain[3:9, 3:9, 3:9] = 1.0 + (np.arange(6) > 2)
    found = features.input_features(brain, 0.0)
    assert found["input_filled"] == pytest.approx(6**3 / 12**3)
    assert (found["input_p5"], found["input_p95"]) == (1.0, 2.0)
    noisy = np.where(brain > 0, rng.normal(1.5, 0.5, brain.shape), 0.0)
    assert features.input_features(noisy, 0.0)["input_edges"] > 3 * found["input_edges"]
    assert features.input_features(np.zeros((4, 4, 4)), 0.0) == {"input_filled": 0.0}


def test_fractions_come_from_the_sums_of_the_table_of_volumes():
    table = pd.DataFrame(
        {
            "name": ["Left thalamus", "GM", "WM", "CSF", "ventricles", "intracranial"],
            "kind": ["region", *["total"] * 5],
            "fraction": [0.01, 0.5, 0.3, 0.2, 0.02, 1.0],
        }
    )
    found = features.tissue_fractions(table)
    assert found == {"gm": 0.5, "wm": 0.3, "csf": 0.2, "ventricles": 0.02}
    assert features.tissue_features(found)["tissue_ventricles"] == pytest.approx(np.log(0.02))
    empty = table.assign(fraction=np.nan)
    assert features.tissue_features(features.tissue_fractions(empty)) == {}


def test_encoders_of_members_and_parts_stand_side_by_side():
    sfcn = {"id": "sfcn", "parameters": {"channels": [4, 4, 3], "n_bins": 5}}
    linear = {
        "id": "tissuelinear",
        "parameters": {"shape": [8, 8, 8], "lower": 0.0, "width": 20.0, "n_bins": 5},
    }
    both = build_network({"id": "mixture", "parameters": {"parts": [sfcn, linear]}}).eval()
    batch = torch.randn(1, 1, 8, 8, 8)
    assert features.encoder_features([both, both], batch).shape == (6,)
    assert features.encoder_features([build_network(linear)], batch).size == 0
    assert features.parts_of(both) == list(both.parts)


def test_parts_of_a_mixture_disagree_too(tmp_path):
    sfcn = {"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 37, "dropout": 0.0}}
    architecture = {"id": "mixture", "parameters": {"parts": [sfcn, sfcn]}}
    card = make_card(tmp_path, architecture=architecture, members=1)
    found = predict(load_members(card), np.ones(card.shape, np.float32), card)
    assert len(found.member_ages) == 1
    assert found.findings.disagreement > 0


def test_a_card_with_a_reference_measures_and_flags(tmp_path):
    volume = np.random.default_rng(0).normal(size=(20, 24, 20)).astype(np.float32)
    plain = make_card(tmp_path / "plain", members=1)
    assert predict(load_members(plain), volume, plain).distance is None
    card = make_card(tmp_path / "known", members=1, reference=PLAIN)
    found = predict(load_members(card), volume, card, tissue={"csf": 0.6})
    assert found.distance > 1
    assert found.ood_flag in ("out_of_range", "unlike_training")
    assert "unlike_training" in [flag.key for flag in raised(found.findings)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"covariance": [[1.0]]}, "must have 2 rows"),
        ({"covariance": [[1.0, 2.0], [2.0, 1.0]]}, "is no covariance"),
        ({"encoder": {"center": [0.0], "sd": [1.0, 1.0], "components": [[1.0]]}}, "equally long"),
        ({"threshold": 0}, "threshold"),
    ],
)
def test_an_impossible_reference_is_refused(tmp_path, change, message):
    with pytest.raises(ResourceError, match=message):
        make_card(tmp_path, reference={**PLAIN, **change})


def test_a_width_that_grows_with_an_unknown_distance_is_refused(tmp_path):
    growing = {"scale": {"constant": 1, "sd": 1, "distance": 1, "nearest": 0}, "ci95_factor": 2.0}
    with pytest.raises(ResourceError, match="reference: missing"):
        make_card(tmp_path, calibration=growing)
