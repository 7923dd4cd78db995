from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.prediction import predict, prediction_row
from bidsapp_brainage.model.uncertainty import (
    calibrated_sd,
    expected_error,
    interval,
    n_views,
    views,
)
from bidsapp_brainage.model.weights.files import verify_weights
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import make_card

SPEC = {"orientation": "RAS", "background": 0.0}
ALL = {"tta": {"flip": True, "shift_voxels": 1}}


def test_views_are_the_brain_its_mirror_and_six_shifts():
    volume = torch.arange(24.0).view(1, 1, 2, 3, 4)
    found = list(views(volume, ALL, {"orientation": "RAS", "background": -7.0}))
    assert len(found) == n_views(ALL) == 8
    assert torch.equal(found[0], volume)
    assert torch.equal(found[1], volume.flip(2))
    later = found[3]  # one voxel to the right: what was at 0 is at 1, and 0 is background
    assert torch.equal(later[:, :, 1], volume[:, :, 0])
    assert (later[:, :, 0] == -7.0).all()
    earlier = found[6]
    assert torch.equal(earlier[..., :-1], volume[..., 1:])
    assert (earlier[..., -1] == -7.0).all()
    assert torch.equal(volume, torch.arange(24.0).view(1, 1, 2, 3, 4))


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 2), ("LIA", 2), ("PIR", 4)])
def test_left_and_right_are_found_by_the_cards_orientation(orientation, axis):
    volume = torch.arange(24.0).view(1, 1, 2, 3, 4)
    spec = {"orientation": orientation, "background": "minimum"}
    found = list(views(volume, ALL, spec))
    assert torch.equal(found[1], volume.flip(axis))
    assert (found[3][:, :, 0] == 0).all()


def test_without_a_wish_there_is_one_view():
    assert n_views({}) == 1
    assert len(list(views(torch.zeros(1, 1, 2, 2, 2), {}, SPEC))) == 1


def test_prediction_averages_the_views_and_counts_them(tmp_path):
    plain = make_card(tmp_path / "a")
    card = make_card(tmp_path / "b", prediction=ALL)
    volume = np.random.default_rng(3).normal(size=card.shape).astype(np.float32)
    members = load_members(card)
    found = predict(members, volume, card)
    alone = [
        predict(members, view[0, 0].numpy(), plain).probabilities
        for view in views(torch.from_numpy(volume)[None, None], ALL, SPEC)
    ]
    assert found.probabilities == pytest.approx(np.mean(alone, axis=0))
    assert found.n_tta == 8
    assert predict(members, volume, plain).n_tta == 1
    row = prediction_row(
        found, card, identity={"participant_id": "sub-1"}, chronological_age=None,
        age_source="n/a", bias_correction=None, qc_flag="accept",
    )  # fmt: skip
    assert row["n_tta"] == 8


def test_views_that_disagree_widen_the_distribution(tmp_path):
    card = make_card(tmp_path, members=1, prediction=ALL)
    volume = np.random.default_rng(4).normal(size=card.shape).astype(np.float32)
    members = load_members(card)
    shown = views(torch.from_numpy(volume)[None, None], ALL, SPEC)
    plain = make_card(tmp_path / "plain", members=1)
    single = [predict(members, view[0, 0].numpy(), plain) for view in shown]
    mixture = np.mean([p.sd**2 for p in single]) + np.var([p.mean for p in single])
    assert predict(members, volume, card).sd == pytest.approx(np.sqrt(mixture))


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [
        ({"sd_scale": 0.5}, (47.0, 54.0)),
        ({"sd_scale": 0.5, "ci95_half_width_sd": 2.0}, (42.0, 58.0)),
        ({"half_width95": 9.8}, (40.2, 59.8)),
    ],
)
def test_interval_by_the_cards_calibration(calibration, expected):
    assert interval(50.0, 4.0, (44.0, 58.0), calibration) == pytest.approx(expected)


def test_interval_holds_the_mean_even_if_the_quantiles_do_not():
    assert interval(50.0, 4.0, (51.0, 60.0), {"sd_scale": 1.0}) == (50.0, 60.0)


@pytest.mark.parametrize("calibration", [{}, {"member_sd_limit": 3.0, "source": "test"}])
def test_a_card_without_calibration_gives_no_interval_and_no_sd(tmp_path, calibration):
    assert interval(50.0, 4.0, (44.0, 58.0), calibration) is None
    assert calibrated_sd(4.0, calibration) is None
    card = make_card(tmp_path, calibration=calibration)
    found = predict(load_members(card), np.zeros(card.shape, np.float32), card)
    row = prediction_row(
        found, card, identity={"participant_id": "sub-1"}, chronological_age=19.0,
        age_source="n/a", bias_correction=None, qc_flag="pass",
    )  # fmt: skip
    missing = ("predicted_age_sd", "ci95_lower", "ci95_upper")
    assert [row[name] for name in missing] == [None, None, None]
    assert "age_outside_interval" not in row["flags"]


GROWING = {
    "method": "conformal_distance", "ci95_factor": 2.0, "sd_scale": 1.2,
    "scale": {"constant": 1.0, "sd": 0.5, "distance": 2.0, "nearest": 0.0},
}  # fmt: skip


def test_the_interval_grows_with_the_distance():
    assert interval(50.0, 4.0, None, GROWING, 0.0) == (44.0, 56.0)
    assert interval(50.0, 4.0, None, GROWING, 1.0) == (40.0, 60.0)
    assert interval(50.0, 4.0, None, GROWING, 2.0) == (22.0, 78.0)  # beyond: in proportion
    assert interval(50.0, 4.0, None, GROWING, 99.0) == (0.0, 120.0)
    assert calibrated_sd(4.0, GROWING, 1.0) == pytest.approx(6.0)


def test_a_distance_that_is_needed_and_not_known_leaves_no_interval():
    assert interval(50.0, 4.0, None, GROWING) is None
    assert calibrated_sd(4.0, GROWING) is None
    scalar = {**GROWING, "scale": {"constant": 3.0, "sd": 0.0, "distance": 0.0, "nearest": 0.0}}
    assert interval(50.0, None, None, scalar) == (44.0, 56.0)


weights, values = st.floats(0, 5), st.floats(0, 30)


@given(weights, weights, weights, values, values, values, values)
def test_the_width_never_falls_with_sd_or_distance(a, b, c, sd, more_sd, far, farther):
    scale = {"constant": a, "sd": b, "distance": c, "nearest": 0.4}
    near = expected_error(sd, far, scale)
    assert expected_error(sd + more_sd, far + farther, scale) >= near - 1e-9


def test_calibrated_sd():
    assert calibrated_sd(4.0, {"sd_scale": 0.5}) == 2.0
    assert calibrated_sd(4.0, {"half_width95": 9.0, "residual_sd": 5.0}) == 5.0


def test_a_conformal_card_is_valid_and_used(tmp_path):
    facts = {"method": "conformal_normalised", "ci95_half_width_sd": 1.7, "sd_scale": 0.8,
             "n": 141, "coverage95": 0.95, "mean_half_width": 16.0, "source": "test"}  # fmt: skip
    card = make_card(tmp_path, calibration=facts)
    found = predict(load_members(card), np.zeros(card.shape, np.float32), card)
    assert found.ci95_upper - found.ci95_lower == pytest.approx(2 * 1.7 * found.sd)
    assert found.sd_calibrated == pytest.approx(0.8 * found.sd)


@pytest.mark.parametrize("shift", [-1, 9, 0.5])
def test_impossible_views_are_refused(tmp_path, shift):
    with pytest.raises(ResourceError, match="shift_voxels"):
        make_card(tmp_path, prediction={"tta": {"shift_voxels": shift}})


@pytest.mark.parametrize("place", [0, 31, 63])
def test_a_card_with_one_other_digit_of_its_hash_is_refused(tmp_path, place):
    card = make_card(tmp_path)
    path = tmp_path / "tiny.json"
    raw = json.loads(path.read_text())
    digits = raw["weights"][0]["sha256"]
    other = "0" if digits[place] != "0" else "1"
    raw["weights"][0]["sha256"] = digits[:place] + other + digits[place + 1 :]
    path.write_text(json.dumps(raw))
    verify_weights(card)
    with pytest.raises(ResourceError, match="not those of model card"):
        load_members(load_card(path))


def test_batch_and_threads_do_not_change_a_prediction(tmp_path):
    card = make_card(tmp_path)
    members = load_members(card)
    volumes = np.random.default_rng(1).normal(size=(5, *card.shape)).astype(np.float32)
    alone = [predict(members, volume, card, n_threads=1).mean for volume in volumes]
    more = [predict(members, volume, card, n_threads=2).mean for volume in volumes]
    assert more == pytest.approx(alone, abs=1e-3)
    with torch.inference_mode():
        together = torch.stack([member(torch.from_numpy(volumes)[:, None]) for member in members])
    ages = card.main_head.decode(together.flatten(0, 1))[1].view(len(members), -1).mean(dim=0)
    assert ages.numpy() == pytest.approx(alone, abs=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_does_not_change_a_prediction(tmp_path):
    card = make_card(tmp_path, prediction=ALL)
    volume = np.random.default_rng(1).normal(size=card.shape).astype(np.float32)
    one, other = (
        predict(load_members(card, device), volume, card, device=device).mean
        for device in ("cpu", "cuda:0")
    )
    assert other == pytest.approx(one, abs=0.01)
