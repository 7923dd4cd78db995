"""The methods that the app offers: right columns, right rows, and the numbers of brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.explain import hierarchy, methods, scores
from bidsapp_brainage.explain.methods import ExplanationInput

from .test_occlusion import decode, tiny_network

ATLAS = pd.DataFrame(
    {
        "index": [1, 2, 3, 4, 9],
        "name": ["a", "b", "c", "d", "empty"],
        "hemisphere": ["L", "R", "L", "R", "L"],
        "network": ["Visual", "Visual", None, None, None],
    }
)


@pytest.fixture
def subject():
    rng = np.random.default_rng(2)
    volume = rng.normal(1, 0.3, size=(9, 10, 8)).astype(np.float32)
    volume[:, :2] = 0.0
    labels = np.where(volume != 0, rng.integers(0, 5, size=volume.shape), 0)
    return ExplanationInput(
        (tiny_network(1), tiny_network(2)), volume, labels, ATLAS, decode, voxel_ml=0.008
    )


def age(subject, hidden):
    batch = torch.as_tensor(np.where(hidden, 0, subject.volume))[None, None]
    with torch.no_grad():
        return np.mean([float(decode(net(batch))[1]) for net in subject.members])


def change(subject, *indices):
    return age(subject, np.isin(subject.labels, indices)) - age(subject, np.zeros((), bool))


def test_mirrored_images_tell_the_networks_side_from_the_brains(subject):
    assert methods.region_tables(subject, age=None).regions["delta_age_mirrored"].isna().all()
    sided = dataclasses.replace(subject, mirror_axis=0)
    table = methods.region_tables(sided, age=None).regions
    turned = dataclasses.replace(subject, volume=subject.volume[::-1].copy())
    turned = dataclasses.replace(turned, labels=subject.labels[::-1].copy())
    for index, delta in zip(table["index"][:4], table["delta_age_mirrored"], strict=False):
        assert delta == pytest.approx(change(turned, index), abs=1e-4)
    assert np.abs(table["delta_age_mirrored"] - table["delta_age"])[:4].max() > 1e-3
    again = methods.region_tables(sided.mirrored(), age=None).regions
    np.testing.assert_allclose(again["delta_age_mirrored"][:4], table["delta_age"][:4], atol=1e-4)
    with pytest.raises(DataError, match="left to right"):
        subject.mirrored()


def test_regions_groups_and_null_in_one_run(subject):
    found = methods.region_tables(subject, age=30.0, null_parcels=5, seed=1)
    table, groups = found.regions, found.groups
    assert list(table) == list(scores.COLUMNS)
    assert list(groups) == list(hierarchy.COLUMNS)
    for index, delta in zip(table["index"][:4], table["delta_age"], strict=False):
        assert delta == pytest.approx(change(subject, index), abs=1e-4)
    assert (
        table.loc[:3, ["null_mean", "null_sd", "z_null", "p_null", "percentile_null"]]
        .notna()
        .all(axis=None)
    )
    assert table.loc[4, ["delta_age", "z_null"]].isna().all()
    side = groups.set_index("name").loc["L"]
    assert side["delta_age"] == pytest.approx(change(subject, 1, 3), abs=1e-4)
    assert side["sum_of_regions"] == pytest.approx(
        change(subject, 1) + change(subject, 3), abs=1e-4
    )
    again = methods.region_tables(subject, age=30.0, null_parcels=5, seed=1)
    pd.testing.assert_frame_equal(again.regions, table)
    other = methods.region_tables(subject, age=30.0, null_parcels=5, seed=2)
    assert other.regions["null_mean"].ne(table["null_mean"])[:4].any()


def test_without_null_its_columns_are_empty(subject):
    table = methods.region_tables(subject, age=None).regions
    assert (
        table[["null_mean", "null_sd", "z_null", "p_null", "percentile_null"]].isna().all(axis=None)
    )


@pytest.mark.parametrize("baseline", ["background", "mean", "blur"])
def test_cubes_paint_the_brain_only(subject, baseline):
    subject = ExplanationInput(**{**vars(subject), "baselines": (baseline,)})
    values = methods.cube_volume(subject, cube_mm=4.0)
    assert values.shape == subject.volume.shape
    assert (values[~subject.brain] == 0).all()
    if baseline == "background":
        cube = np.zeros(values.shape, bool)
        cube[2:4, 2:4, 4:6] = True
        expected = age(subject, cube) - age(subject, np.zeros((), bool))
        assert values[cube] == pytest.approx(expected, abs=1e-4)


def test_shapley_values_add_up(subject):
    table = methods.shapley_table(subject, n_permutations=5, seed=0)
    assert table["shapley_age"].sum() == pytest.approx(change(subject, 1, 2, 3, 4), abs=1e-4)
    assert table["delta_age"][1] == pytest.approx(change(subject, 2), abs=1e-4)
    assert np.isnan(table["shapley_age"][4])


def test_curves_name_regions_by_label_and_end_at_each_other(subject):
    table = methods.curve_table(subject, seed=0)
    deletion = table[table["curve"] == "deletion"]
    insertion = table[table["curve"] == "insertion"]
    assert set(deletion["index"].dropna()) == {1, 2, 3, 4}
    single = {index: abs(change(subject, index)) for index in (1, 2, 3, 4)}
    assert deletion["index"].iloc[1] == max(single, key=single.get)
    assert insertion["predicted_age"].iloc[-1] == pytest.approx(
        deletion["predicted_age"].iloc[0], abs=1e-4
    )
    assert (table["random_area_mean"] > 0).all()


def test_pairs_are_sorted_and_right(subject):
    table = methods.pair_table(subject, n_regions=3)
    assert len(table) == 3
    row = table.iloc[0]
    assert row["delta_both"] == pytest.approx(
        change(subject, row["index_a"], row["index_b"]), abs=1e-4
    )
    assert table["interaction"].abs().is_monotonic_decreasing
    assert row["name_a"] == ATLAS.set_index("index")["name"][row["index_a"]]


@pytest.mark.parametrize("method", [methods.pair_table, lambda s: methods.curve_table(s, seed=0)])
def test_no_region_in_the_image_is_an_error(subject, method):
    nothing = ExplanationInput(**{**vars(subject), "labels": np.zeros_like(subject.labels)})
    with pytest.raises(DataError, match="registration"):
        method(nothing)
