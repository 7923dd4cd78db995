from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.bias_correction import BiasCorrection, correct_gap
from bidsapp_brainage.model.device import cpu_threads
from bidsapp_brainage.model.prediction import (
    Seen,
    decoder,
    distribution_table,
    predict,
    prediction_row,
    quantiles,
    summarise,
)
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import make_card

N_BINS = 37
COLUMNS = [
    "participant_id", "session_id", "run_id", "model", "target", "chronological_age", "age_source",
    "predicted_age", "predicted_age_median", "predicted_age_mode", "predicted_age_sd", "entropy",
    "ci95_lower", "ci95_upper", "gap", "gap_corrected", "gap_z", "bias_model", "in_age_range",
    "training_distance", "member_sd", "fast_age", "flags", "flag_reasons", "ood_flag", "qc_flag",
    "verdict", "verdict_reasons", "n_tta",
]  # fmt: skip
logits = arrays(np.float64, (2, N_BINS), elements=st.floats(-60, 60))


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_card(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def volume(card):
    return np.random.default_rng(1).normal(size=card.shape).astype(np.float32)


def softmax(values):
    exponent = np.exp(values - values.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


def peaked(age, sd=2.0):
    centers = 15.0 + 2.0 * np.arange(N_BINS)
    p = np.exp(-0.5 * ((centers - age) / sd) ** 2)
    return (p / p.sum())[None]


@settings(deadline=None, max_examples=60)
@given(logits)
def test_a_summary_is_a_distribution_over_the_bins(card, values):
    result = summarise(softmax(values), card)
    assert result.probabilities.sum() == pytest.approx(1)
    assert card.main_head.bin_centers[0] <= result.mean <= card.main_head.bin_centers[-1]
    assert 14.0 <= result.median <= 88.0
    assert result.mode in card.main_head.bin_centers
    assert result.sd >= 0
    assert result.sd_calibrated == pytest.approx(0.5 * result.sd)
    assert -1e-9 <= result.entropy <= np.log(N_BINS) + 1e-9
    assert result.ci95_lower <= result.mean <= result.ci95_upper


@settings(deadline=None, max_examples=60)
@given(logits, st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_quantiles_rise_with_their_level_and_stay_in_the_bins(values, levels):
    lower = 14.0 + 2.0 * np.arange(N_BINS)
    found = quantiles(softmax(values)[0], lower, 2.0, sorted(levels))
    assert all(np.diff(found) >= -1e-9)
    assert found[0] >= 14.0
    assert found[-1] <= 88.0


def test_quantiles_of_a_flat_distribution_are_its_levels():
    found = quantiles(np.full(10, 0.1), np.arange(10.0), 1.0, [0.025, 0.5, 0.975])
    assert found == pytest.approx([0.25, 5.0, 9.75])


def test_quantiles_skip_empty_bins():
    p = np.array([0.0, 0.0, 1.0, 0.0])
    assert quantiles(p, np.arange(4.0), 1.0, [0.0, 0.5, 1.0]) == pytest.approx([2.0, 2.5, 3.0])


def test_a_wider_distribution_has_a_wider_interval(card):
    narrow, wide = (summarise(peaked(50, sd), card) for sd in (2.0, 6.0))
    assert narrow.mean == pytest.approx(50, abs=0.1)
    assert wide.ci95_upper - wide.ci95_lower > narrow.ci95_upper - narrow.ci95_lower
    assert wide.sd > narrow.sd


@pytest.mark.parametrize(
    ("age", "flag"), [(50, "none"), (16, "out_of_range"), (86, "out_of_range")]
)
def test_ages_outside_the_training_range_are_flagged(card, age, flag):
    result = summarise(peaked(age), card)
    assert result.ood_flag == flag
    assert result.in_age_range == (flag == "none")


def test_mass_at_the_edge_is_flagged(card):
    p = np.zeros((1, N_BINS))
    p[0, [0, 20]] = 0.3, 0.7
    assert summarise(p, card).ood_flag == "edge_mass"


def test_members_that_disagree_are_flagged(tmp_path):
    card = make_card(tmp_path, calibration={"member_sd_limit": 5.0})
    agreeing = np.concatenate([peaked(49), peaked(51)])
    disagreeing = np.concatenate([peaked(40), peaked(60)])
    assert summarise(agreeing, card).ood_flag == "none"
    assert summarise(disagreeing, card).ood_flag == "member_disagreement"


@pytest.mark.parametrize(("learned", "flag"), [(False, "stripped_source"), (True, "none")])
def test_stripped_images_are_flagged_unless_the_model_knows_them(card, learned, flag):
    card = replace(card, input={**card.input, "stripped_sources": learned})
    assert summarise(peaked(50), card).ood_flag == "none"
    assert summarise(peaked(50), card, Seen(stripped=True)).ood_flag == flag


def test_an_ensemble_averages_distributions(card, volume):
    members = load_members(card)
    both = predict(members, volume, card)
    alone = [predict([member], volume, card) for member in members]
    assert both.probabilities == pytest.approx(np.mean([p.probabilities for p in alone], axis=0))
    assert both.member_ages == pytest.approx([p.mean for p in alone])


def test_prediction_is_repeatable_and_leaves_threads_alone(card, volume):
    members = load_members(card)
    before = torch.get_num_threads()
    first, second = (predict(members, volume, card, n_threads=1) for _ in range(2))
    assert (first.probabilities == second.probabilities).all()
    assert torch.get_num_threads() == before


def test_thread_count_is_restored_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), cpu_threads(1):
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_decoder_agrees_with_predict(card, volume):
    members = load_members(card)
    probabilities, age = decoder(card)(members[0](torch.from_numpy(volume)[None, None]))
    expected = predict(members[:1], volume, card)
    assert probabilities.numpy()[0] == pytest.approx(expected.probabilities)
    assert float(age[0]) == pytest.approx(expected.mean)


def test_inputs_that_do_not_fit_are_refused(card, volume):
    members = load_members(card)
    with pytest.raises(DataError, match="shape"):
        predict(members, volume[1:], card)
    with pytest.raises(DataError, match="not finite"):
        predict(members, np.full(card.shape, np.nan), card)


def row(card, age, bias):
    return prediction_row(
        summarise(peaked(50), card),
        card,
        identity={"participant_id": "sub-01", "run_id": "1"},
        chronological_age=age,
        age_source="participants.tsv",
        bias_correction=bias,
        qc_flag="accept",
    )


def test_row_with_a_known_age(card):
    result = row(card, 45.0, BiasCorrection(0.8, 10.0, "controls", residual_sd=2.0))
    assert list(result) == COLUMNS
    assert result["gap"] == pytest.approx(5.0, abs=0.01)
    assert result["gap_corrected"] == pytest.approx(50 - 46, abs=0.01)
    assert result["gap_z"] == pytest.approx(2.0, abs=0.01)
    assert result["bias_model"] == "controls"
    assert result["session_id"] is None


@pytest.mark.parametrize("age", [None, float("nan")])
def test_row_without_an_age_has_no_gap(card, age):
    result = row(card, age, card.bias_correction)
    missing = ("chronological_age", "gap", "gap_corrected", "gap_z")
    assert [result[name] for name in missing] == [None] * 4
    assert result["predicted_age"] == pytest.approx(50, abs=0.1)


def test_without_a_line_there_is_a_raw_gap_only(card):
    result = row(card, 45.0, None)
    assert result["gap"] is not None
    assert (result["gap_corrected"], result["gap_z"], result["bias_model"]) == (None, None, "none")
    assert correct_gap(50.0, 45.0, None) is None


def test_distribution_table_has_a_row_per_bin(card):
    table = distribution_table(summarise(peaked(50), card))
    assert list(table) == ["age_lower", "age_upper", "age_center", "probability"]
    assert len(table) == N_BINS
    assert (table.age_upper[:-1].to_numpy() == table.age_lower[1:].to_numpy()).all()
    assert table.probability.sum() == pytest.approx(1)


def scalar_card(folder, **changes):
    """Two SFCN members that answer with one number each."""
    return make_card(
        folder,
        architecture={"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 1}},
        output={"coding": "scalar", "scale": 10.0, "offset": 50.0, "unit": "year"},
        **{"calibration": {}, **changes},
    )


def test_a_scalar_network_gets_no_invented_distribution(tmp_path):
    card = scalar_card(tmp_path)
    volume = np.random.default_rng(1).normal(size=card.shape).astype(np.float32)
    result = predict(load_members(card), volume, card)
    assert len(result.member_ages) == 2
    assert result.mean == pytest.approx(np.mean(result.member_ages))
    assert result.probabilities.size == 0
    assert distribution_table(result).empty
    row = prediction_row(
        result, card, identity={"participant_id": "sub-1"}, chronological_age=40.0,
        age_source="x", bias_correction=None, qc_flag="pass",
    )  # fmt: skip
    for name in ("predicted_age_median", "predicted_age_mode", "predicted_age_sd", "entropy",
                 "ci95_lower", "ci95_upper"):  # fmt: skip
        assert row[name] is None
    assert row["gap"] == pytest.approx(result.mean - 40)


def test_a_calibrated_scalar_network_has_an_interval(tmp_path):
    from bidsapp_brainage.model.prediction import summarise_values

    card = scalar_card(tmp_path, calibration={"residual_sd": 4.0})
    result = summarise_values([48.0, 52.0], card)
    assert (result.mean, result.sd_calibrated) == (50.0, 4.0)
    assert result.ci95_lower == pytest.approx(50 - 1.96 * 4, abs=1e-3)
    conformal = scalar_card(
        tmp_path / "b", calibration={"residual_sd": 4.0, "half_width95": 9.0, "member_sd_limit": 2}
    )
    result = summarise_values([48.0, 52.0], conformal)
    assert (result.ci95_lower, result.ci95_upper) == (41.0, 59.0)
    assert result.ood_flag == "member_disagreement"
    assert summarise_values([95.0], conformal).ood_flag == "out_of_range"


def test_the_age_is_read_from_its_own_slice_of_several_heads(tmp_path):
    age = {"coding": "scalar", "unit": "year"}
    sex = {"coding": "classes", "classes": ["F", "M"]}
    card = make_card(
        tmp_path,
        architecture={"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 3}},
        output={"heads": {"sex": sex, "age": age}},
    )
    probabilities, ages = decoder(card)(torch.tensor([[9.0, 8.0, 33.0]]))
    assert ages.tolist() == [33.0]
    assert probabilities.shape == (1, 0)
