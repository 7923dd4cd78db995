"""The methods that the app offers: right columns, right rows, and the numbers of brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.explain import ensemble, hierarchy, scores
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession
from tests.explain.toy import decode, explain, tiny_network

ATLAS = pd.DataFrame(
    {
        "index": [1, 2, 3, 4, 9],
        "name": ["a", "b", "c", "d", "empty"],
        "hemisphere": ["L", "R", "L", "R", "L"],
        "network": ["Visual", "Visual", None, None, None],
    }
)


@pytest.fixture
def inputs():
    rng = np.random.default_rng(2)
    volume = rng.normal(1, 0.3, size=(9, 10, 8)).astype(np.float32)
    volume[:, :2] = 0.0
    labels = np.where(volume != 0, rng.integers(0, 5, size=volume.shape), 0)
    networks = Ensemble((tiny_network(1), tiny_network(2)), decode)
    return ExplanationInput(networks, volume, labels, ATLAS, voxel_ml=0.008)


def age(inputs, hidden):
    batch = torch.as_tensor(np.where(hidden, 0, inputs.volume))[None, None]
    with torch.no_grad():
        return np.mean([float(decode(net(batch))[1]) for net in inputs.ensemble.members])


def change(inputs, *indices):
    return age(inputs, np.isin(inputs.labels, indices)) - age(inputs, np.zeros((), bool))


def test_mirrored_images_tell_the_networks_side_from_the_brains(inputs):
    assert explain("occlusion", inputs)["table"]["delta_age_mirrored"].isna().all()
    sided = dataclasses.replace(inputs, mirror_axis=0)
    table = explain("occlusion", sided)["table"]
    turned = dataclasses.replace(inputs, volume=inputs.volume[::-1].copy())
    turned = dataclasses.replace(turned, labels=inputs.labels[::-1].copy())
    for index, delta in zip(table["index"][:4], table["delta_age_mirrored"], strict=False):
        assert delta == pytest.approx(change(turned, index), abs=1e-4)
    assert np.abs(table["delta_age_mirrored"] - table["delta_age"])[:4].max() > 1e-3
    again = explain("occlusion", dataclasses.replace(turned, mirror_axis=0))["table"]
    np.testing.assert_allclose(again["delta_age_mirrored"][:4], table["delta_age"][:4], atol=1e-4)
    with pytest.raises(DataError, match="left to right"):
        ExplanationSession(inputs).mirrored_effects()


def test_regions_groups_and_null_in_one_run(inputs):
    inputs = dataclasses.replace(inputs, age=30.0, null_parcels=5, seed=1)
    found = explain("occlusion", inputs)
    table, groups = found["table"], found["groups"]
    assert list(table) == list(scores.COLUMNS)
    assert list(groups) == list(hierarchy.COLUMNS)
    for index, delta in zip(table["index"][:4], table["delta_age"], strict=False):
        assert delta == pytest.approx(change(inputs, index), abs=1e-4)
    assert (
        table.loc[:3, ["null_mean", "null_sd", "z_null", "p_null", "percentile_null"]]
        .notna()
        .all(axis=None)
    )
    assert table.loc[4, ["delta_age", "z_null"]].isna().all()
    side = groups.set_index("name").loc["L"]
    assert side["delta_age"] == pytest.approx(change(inputs, 1, 3), abs=1e-4)
    assert side["sum_of_regions"] == pytest.approx(change(inputs, 1) + change(inputs, 3), abs=1e-4)
    again = explain("occlusion", inputs)
    pd.testing.assert_frame_equal(again["table"], table)
    other = explain("occlusion", dataclasses.replace(inputs, seed=2))
    assert other["table"]["null_mean"].ne(table["null_mean"])[:4].any()


def test_without_null_its_columns_are_empty(inputs):
    table = explain("occlusion", inputs)["table"]
    assert (
        table[["null_mean", "null_sd", "z_null", "p_null", "percentile_null"]].isna().all(axis=None)
    )


@pytest.mark.parametrize("baseline", ["background", "mean", "blur"])
def test_cubes_paint_the_brain_only(inputs, baseline):
    inputs = ExplanationInput(**{**vars(inputs), "baselines": (baseline,)})
    values = explain("cubes", inputs, cube_mm=4.0)["cubes_map"]
    assert values.shape == inputs.volume.shape
    assert (values[~inputs.brain] == 0).all()
    if baseline == "background":
        cube = np.zeros(values.shape, bool)
        cube[2:4, 2:4, 4:6] = True
        expected = age(inputs, cube) - age(inputs, np.zeros((), bool))
        assert values[cube] == pytest.approx(expected, abs=1e-4)


def test_shapley_values_add_up(inputs):
    table = explain("shapley", inputs, shapley_permutations=5)["shapley"]
    assert table["shapley_age"].sum() == pytest.approx(change(inputs, 1, 2, 3, 4), abs=1e-4)
    assert table["delta_age"][1] == pytest.approx(change(inputs, 2), abs=1e-4)
    assert np.isnan(table["shapley_age"][4])


def test_curves_name_regions_by_label_and_end_at_each_other(inputs):
    table = explain("curves", inputs)["curves"]
    deletion = table[table["curve"] == "deletion"]
    insertion = table[table["curve"] == "insertion"]
    assert set(deletion["index"].dropna()) == {1, 2, 3, 4}
    single = {index: abs(change(inputs, index)) for index in (1, 2, 3, 4)}
    assert deletion["index"].iloc[1] == max(single, key=single.get)
    assert insertion["predicted_age"].iloc[-1] == pytest.approx(
        deletion["predicted_age"].iloc[0], abs=1e-4
    )
    assert (table["random_area_mean"] > 0).all()


def test_pairs_are_sorted_and_right(inputs):
    table = explain("pairs", inputs, n_regions=3)["pairs"]
    assert len(table) == 3
    row = table.iloc[0]
    assert row["delta_both"] == pytest.approx(
        change(inputs, row["index_a"], row["index_b"]), abs=1e-4
    )
    assert table["interaction"].abs().is_monotonic_decreasing
    assert row["name_a"] == ATLAS.set_index("index")["name"][row["index_a"]]


@pytest.mark.parametrize("method", ["pairs", "curves"])
def test_no_region_in_the_image_is_an_error(inputs, method):
    nothing = ExplanationInput(**{**vars(inputs), "labels": np.zeros_like(inputs.labels)})
    with pytest.raises(DataError, match="registration"):
        explain(method, nothing)


def test_methods_of_a_session_share_networks_plans_and_effects(inputs, monkeypatch):
    counts = {"trace": 0, "OcclusionPlan": 0, "Run": 0}

    def counted(name):
        honest = getattr(ensemble, name)

        def count(*args, **kwargs):
            counts[name] += 1
            return honest(*args, **kwargs)

        return count

    for name in counts:
        monkeypatch.setattr(ensemble, name, counted(name))
    session = ExplanationSession(inputs)
    session.results["occlusion"] = find("occlusion")(session)
    find("shapley")(session, shapley_permutations=2)
    find("pairs")(session)
    assert counts == {"trace": 2, "OcclusionPlan": 1, "Run": 1}
    find("curves")(session)  # the volume without regions needs a pass of its own
    assert counts == {"trace": 2, "OcclusionPlan": 1, "Run": 2}
    find("randomisation")(session)  # three randomised sets of two networks of the same geometry
    assert counts == {"trace": 8, "OcclusionPlan": 1, "Run": 5}


def test_a_session_with_other_networks_keeps_nothing_that_the_networks_said(inputs):
    session = ExplanationSession(dataclasses.replace(inputs, null_parcels=3))
    before = session.region_effects()
    assert session.nulls.patches
    other = session.with_members([tiny_network(7)])
    assert other.blocks is session.blocks
    assert not other.nulls.patches
    assert not np.allclose(other.region_effects()["delta_age"][:4], before["delta_age"][:4])
    pd.testing.assert_frame_equal(session.region_effects(), before)
