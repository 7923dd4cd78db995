"""Random images keep their truth, and the network learns from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.segmentation.input import BOUNDS, RIM_VOXELS, segmentation_input
from bidsapp_brainage.segmentation.labels import Labels, muse_labels
from bidsapp_brainage.training.segmentation.evaluation import dice_table
from bidsapp_brainage.training.segmentation.fitting import Recipe, fit
from bidsapp_brainage.training.segmentation.subjects import load_subject, save_subject
from bidsapp_brainage.training.segmentation.synthesis import (
    Subject,
    example,
    other_t1w,
    real_example,
)
from tests.segmentation.tiny import Oracle

SHAPE = (24, 32, 24)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Shells: white matter, grey matter and fluid, the halves with labels of their own."""
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    right = axes[0] > 0
    labels = np.zeros(SHAPE, dtype=int)
    labels[radius < 10] = 1  # cortical fluid
    labels[radius < 9] = np.where(right, 182, 183)[radius < 9]  # precentral gyrus
    labels[radius < 6] = np.where(right, 81, 82)[radius < 6]  # frontal white matter
    units = np.select([radius < 6, radius < 9, radius < 10], [2.0, 1.0, 0.0], -0.3)
    return Subject(units.astype(np.float32), radius < 10, labels, np.eye(4))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_random_image_keeps_its_truth(subject, seed):
    labels = muse_labels()
    made = example(subject, labels, np.random.default_rng(seed))
    assert made.image.shape == made.where.shape == made.classes.shape == SHAPE
    assert np.isfinite(made.image).all()
    assert made.image.min() >= BOUNDS[0]
    assert made.image.max() <= BOUNDS[1]
    assert set(labels.indices[np.unique(made.classes)]) <= {0, 1, 81, 82, 182, 183}
    assert not made.units[made.classes == 0].any()
    # where the truth says white matter, units are those of white matter but at its border
    white = made.units[labels.tissues[made.classes] == 2]
    assert np.median(white) > 1.5
    # right is where it was: mirrored images have mirrored labels
    right = made.classes == np.flatnonzero(labels.indices == 81)[0]
    left = made.classes == np.flatnonzero(labels.indices == 82)[0]
    assert np.argwhere(right)[:, 0].mean() > np.argwhere(left)[:, 0].mean()


def test_the_same_seed_makes_the_same_image(subject):
    first, again, other = (
        example(subject, muse_labels(), np.random.default_rng(seed)).image for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert not (first == other).all()


def test_another_scanner_stays_inside_the_mask_and_leaves_empty_voxels_empty(subject):
    labels = muse_labels()
    truth = real_example(subject, labels)
    units = np.where(subject.mask, subject.units, -0.6)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        image, mask = other_t1w(units, subject.mask, truth.classes, labels, rng)
        assert not (mask & ~subject.mask).any()
        assert not image[~subject.mask].any()
        inside = mask & (image > 0)
        white = image[inside & (labels.tissues[truth.classes] == 2)]
        grey = image[inside & (labels.tissues[truth.classes] == 1)]
        assert np.median(white) > np.median(grey), "white matter is brighter in every T1w"


def test_the_input_is_scaled_by_the_brain_alone(subject):
    volume = subject.units * 50 + 100
    scaled, where = segmentation_input(volume, subject.mask)
    assert where.sum() > subject.mask.sum()
    assert not scaled[~where].any()
    brighter = volume.copy()
    brighter[~subject.mask] *= 3
    again, _ = segmentation_input(brighter, subject.mask)
    assert (again[subject.mask] == scaled[subject.mask]).all()
    assert np.isclose(segmentation_input(volume * 7, subject.mask)[0], scaled, atol=1e-5).all()
    edge = np.argwhere(where & ~subject.mask)
    inside = np.argwhere(subject.mask)
    steps = [np.abs(inside - voxel).sum(axis=1).min() for voxel in edge[::50]]
    assert max(steps) <= RIM_VOXELS


@pytest.mark.parametrize(
    ("volume", "mask", "message"),
    [(np.ones(SHAPE), np.ones(SHAPE, bool), "same intensity"),
     (np.ones(SHAPE), np.zeros(SHAPE, bool), "empty")],
)  # fmt: skip
def test_an_image_that_cannot_be_scaled_is_refused(volume, mask, message):
    with pytest.raises(DataError, match=message):
        segmentation_input(volume, mask)


def test_labels_know_tissue_and_mirror_image():
    labels = muse_labels()
    assert (labels.mirrored[labels.mirrored] == np.arange(labels.n_classes)).all()
    assert (labels.tissues[labels.mirrored] == labels.tissues).all()
    table = labels.table
    sides = table.dropna(subset=["hemisphere"])
    other = table.set_index("index").loc[sides["mirror"], "name"].to_numpy()
    assert all(a[:-1] == b[:-1] and a != b for a, b in zip(sides["name"], other, strict=True))
    assert labels.classes(np.array([0, 47, 48, 999])).tolist()[3] == 0


def test_a_perfect_answer_has_dice_one(subject):
    labels = muse_labels()
    truth = real_example(subject, labels)
    table = dice_table(Oracle(truth.classes, labels.n_classes), [truth], labels).set_index("name")
    assert table.loc["Brain", "dice"] == 1
    assert table.loc["Frontal_WM_L", "dice"] == 1
    assert pd.isna(table.loc["Hippocampus_L", "dice"])


def test_training_learns_and_goes_on_after_a_stop(subject, tmp_path, capsys):
    folder, out = tmp_path / "people", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    save_subject(subject, folder / "sub-1.npz")
    kept = load_subject(folder / "sub-1.npz")
    assert np.allclose(kept.units, subject.units, atol=1e-3)
    assert (kept.label_map == subject.label_map).all()
    for steps in (40, 60):
        fit(folder, [], out, Recipe(steps=steps, warm_up=5, learning_rate=1e-2), workers=0)
    said = capsys.readouterr().out
    assert "20/40" in said
    assert "60/60" in said
    assert "20/60" not in said, "what was trained is not trained again"
    first, last = (float(line.split()[2]) for line in (said.splitlines()[0], said.splitlines()[-1]))
    assert last < 0.7 * first


def test_a_damaged_person_is_named(tmp_path):
    (tmp_path / "sub-1.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="sub-1"):
        load_subject(tmp_path / "sub-1.npz")


def test_labels_of_another_table_take_its_order():
    table = pd.DataFrame(
        {"index": [7, 9], "name": ["A_L", "A_R"], "hemisphere": ["L", "R"],
         "tissue": ["GM", "WM"], "mirror": [9, 7]}
    )  # fmt: skip
    labels = Labels(table)
    assert labels.n_classes == 3
    assert labels.mirrored.tolist() == [0, 2, 1]
    assert labels.classes(np.array([9, 8, 7])).tolist() == [2, 0, 1]
