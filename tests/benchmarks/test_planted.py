"""The benchmark with planted truth: changes do what they say, scores know what was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planted import scores, tables, training
from benchmarks.planted.anatomies import SHAPE, Brain, phantom_anatomy, template_anatomy
from benchmarks.planted.fills import CANDIDATES, Person, Reference
from benchmarks.planted.networks import Cohort
from benchmarks.planted.plants import NOTHING, PLANTS, Change, Plant
from benchmarks.planted.warps import patch_of, shrinking, thinned


def ball(radius: float = 6.0, size: int = 24) -> np.ndarray:
    axes = np.indices((size, size, size)) - (size - 1) / 2
    return np.sqrt((axes**2).sum(axis=0)) < radius


def brain() -> Brain:
    """A ball of white matter (1) inside grey matter (2), fluid around."""
    labels = np.where(ball(6), 1, np.where(ball(9), 2, 0)).astype(np.int16)
    return Brain(np.choose(labels, [0.0, 2.0, 1.0]).astype(np.float32), labels)


@settings(max_examples=15, deadline=None)
@given(share=st.floats(-0.4, 0.5))
def test_a_region_loses_the_share_of_its_volume(share):
    mask = ball()
    moved = shrinking(mask, share)
    left = moved.pull(mask.astype(np.float32)).sum() / mask.sum()
    assert left == pytest.approx(1 - share, abs=0.02)


def test_what_lies_around_takes_the_place_and_nothing_moves_far_away():
    subject = brain()
    field = shrinking(subject.labels == 1, 0.4)
    after = subject.volume.copy()
    after[field.box] = field.pull(subject.volume)
    assert after.sum() < subject.volume.sum()  # grey where white was
    assert after[12, 12, 12] == pytest.approx(2.0)
    patch = patch_of(subject.volume, field.box, after[field.box])
    assert patch is not None
    assert not np.any((after != subject.volume) & (subject.labels == 0) & ~ball(10))


def test_no_change_of_a_box_is_no_patch():
    box = (slice(2, 5),) * 3
    volume = np.ones((8, 8, 8), np.float32)
    assert patch_of(volume, box, volume[box].copy()) is None


def test_thinning_takes_a_share_of_the_tissue_from_the_side_of_the_fluid():
    subject = brain()
    rim = subject.labels == 2
    box, after = thinned(subject.volume, rim, 0.25)
    lost = subject.volume[box] - after
    assert lost.sum() == pytest.approx(0.25 * subject.volume[rim].sum(), rel=1e-3)
    depth = np.sqrt(((np.indices(SHAPE_OF_BALL) - 11.5) ** 2).sum(axis=0))[box]
    assert depth[lost > 0].min() > depth[rim[box] & (lost == 0)].min()
    assert subject.volume[rim].min() == 1.0  # the image itself stays


SHAPE_OF_BALL = (24, 24, 24)


@pytest.mark.parametrize(
    "change", [Change("shrink", 0.4), Change("thin", 0.3), Change("fade", 0.2)]
)
def test_only_the_planted_region_and_its_border_change(change):
    subject = brain()
    plant = Plant("one", {1 if change.kind != "thin" else 2: change})
    old = plant.aged(subject, 80.0, np.random.default_rng(0))
    assert not np.array_equal(old.volume, subject.volume)
    assert np.array_equal(old.volume[~ball(11)], subject.volume[~ball(11)])
    assert change.sign_when_lost == 1


def test_regions_that_are_not_there_do_not_change():
    subject = brain()
    plant = Plant("none", {9: Change("shrink", 0.4)}, companions={8: 0.5})
    assert np.array_equal(
        plant.aged(subject, 80.0, np.random.default_rng(0)).volume, subject.volume
    )


def test_companions_follow_age_by_their_correlation():
    subject = brain()
    plant = Plant("both", {}, companions={1: 1.0})
    old, young = (
        plant.aged(subject, age, np.random.default_rng(0)).labels == 1 for age in (80.0, 20.0)
    )
    assert old.sum() < (subject.labels == 1).sum() < young.sum()


@pytest.mark.parametrize("anatomy", [template_anatomy(), phantom_anatomy()], ids=lambda a: a.name)
def test_anatomies_are_the_same_for_the_same_number_and_hold_what_is_planted(anatomy):
    first, again, other = anatomy.brain(1), anatomy.brain(1), anatomy.brain(2)
    assert first.volume.shape == SHAPE
    assert np.array_equal(first.volume, again.volume)
    assert not np.array_equal(first.labels, other.labels)
    for plant in PLANTS[anatomy.name]:
        indices = {*plant.regions, *plant.companions}
        assert indices <= set(anatomy.regions["index"])
        assert all((first.labels == index).any() for index in indices)


def regions() -> pd.DataFrame:
    return pd.DataFrame({
        "index": [1, 2, 3, 4], "name": ["Left a", "Right a", "Left b", "Right b"],
        "hemisphere": ["L", "R", "L", "R"],
    })  # fmt: skip


def explained(values: np.ndarray) -> pd.DataFrame:
    """One explanation of people of 20, 50 and 80 years."""
    people, ages = np.repeat([0, 1, 2], 4), np.repeat([20.0, 50.0, 80.0], 4)
    return pd.DataFrame({
        "person": people, "age": ages, "index": np.tile([1, 2, 3, 4], 3),
        "n_voxels": np.tile([10, 20, 30, 40], 3), "found": values.ravel(),
    })  # fmt: skip


def test_a_perfect_explanation_has_perfect_scores():
    plant = Plant("left a", {1: Change("shrink", 0.3)})
    values = np.array([[5.0, 0, 0, -0.1], [4.0, 0, 0, -0.1], [3.0, 0, 0, -0.1]])
    found = scores.cell_scores(explained(values), plant, regions()).mean(numeric_only=True)
    assert found["auc"] == found["top"] == found["sign"] == found["side"] == 1
    assert found["tracks"] == pytest.approx(1)
    assert found["mass"] > 0.95


def test_an_explanation_of_another_region_fails():
    plant = Plant("left a", {1: Change("shrink", 0.3)})
    values = np.array([[-1.0, 5, 3, 3], [-1.0, 5, 3, 3], [-1.0, 5, 3, 3]])
    found = scores.cell_scores(explained(values), plant, regions()).mean(numeric_only=True)
    assert found["auc"] == found["top"] == found["sign"] == found["side"] == 0


def test_companions_count_neither_way():
    plant = Plant("left a", {1: Change("shrink", 0.3)}, companions={2: 0.8})
    values = np.array([[5.0, 9, 0, -0.1]] * 3)
    found = scores.cell_scores(explained(values), plant, regions()).mean(numeric_only=True)
    assert found["top"] == 1


def test_false_alarms_are_at_the_nominal_rate_for_normal_values():
    rng = np.random.default_rng(0)
    n, parcels = 4000, 10
    null = rng.standard_normal((n, parcels))
    z = (rng.standard_normal(n) - null.mean(axis=1)) / null.std(axis=1, ddof=1)
    table = pd.DataFrame({"person": 0, "index": np.arange(n), "any, z": z})
    found = scores.false_alarms(table, parcels).iloc[0]
    assert found["regions"] == pytest.approx(0.05, abs=0.015)
    assert found["after_fdr"] < 0.001


def test_intervals_come_from_cells():
    rows = pd.DataFrame({"explanation": "x", "cell": ["a", "b"] * 5, "auc": [0.0, 1.0] * 5})
    found = scores.with_interval(rows, ["explanation"], ["auc"]).iloc[0]
    assert (found["auc"], found["auc_low"], found["auc_high"]) == (0.5, 0.0, 1.0)


def reference(n: int = 40) -> tuple[Reference, Person]:
    """People who differ in one mode, and one of them."""
    rng = np.random.default_rng(0)
    subject = brain()
    amounts = np.linspace(-1, 1, n)
    mode = np.where(subject.labels > 0, 0.3, 0.0)
    volumes = np.stack([subject.volume + a * mode for a in amounts])
    volumes += 0.01 * rng.standard_normal(volumes.shape) * (subject.labels > 0)
    people = Cohort(
        volumes.astype(np.float16), np.stack([subject.labels] * n), 50 + 20 * amounts
    )  # fmt: skip
    return Reference.of(people), Person(
        volumes[-1].astype(np.float32), subject.labels, [1, 2], 70.0
    )


@pytest.mark.parametrize("name", CANDIDATES)
def test_fills_look_like_brains_and_leave_the_outside_alone(name):
    known, person = reference()
    for fill in CANDIDATES[name](person, known):
        assert fill.shape == person.volume.shape
        assert np.array_equal(fill[person.labels == 0], person.volume[person.labels == 0])
        error = np.abs(fill - person.volume)[person.labels > 0].mean()
        # The surroundings tell where the person is on the mode; the mean age is another place.
        assert error < 0.05 if name != "average age" else error > 0.2


def test_training_is_kept_and_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "N_TRAIN", 8)
    monkeypatch.setattr(training, "N_TEST", 3)
    monkeypatch.setattr("benchmarks.planted.networks.EPOCHS", 1)
    cell = training.Cell(phantom_anatomy(), NOTHING, 0)
    training.train(cell, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    training.train(cell, tmp_path)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(training.accuracy(tmp_path, "linear")) == {"r", "mae", "cpu_s"}


def test_the_table_of_responses_ranks_an_explanation_that_is_the_truth():
    rng = np.random.default_rng(0)
    people = [
        pd.DataFrame({
            "person": "a", "index": range(20), "name": "x", "n_voxels": 5,
            "shrink": (truth := rng.standard_normal(20)), "thin": truth, "same": 3 * truth,
            "noise": rng.standard_normal(20),
        })
        for _ in range(3)
    ]  # fmt: skip
    lines = {
        line.split("|")[1].strip(): line for line in tables.response_table(people).splitlines()
    }
    assert "1.00 (1.00 to 1.00)" in lines["same"]
    assert "1.00 (1.00 to 1.00)" not in lines["noise"]
