"""Raw heads: random images keep their truth, and ages come from what has not seen a person."""

from __future__ import annotations

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.segmentation.labels import muse_labels
from bidsapp_brainage.training.crossval import CrossValidation
from bidsapp_brainage.training.data.cohort import Source, find_cohort
from bidsapp_brainage.training.fitting.regions import fit_regions
from bidsapp_brainage.training.heads import fitting
from bidsapp_brainage.training.heads.fitting import HeadRecipe, fit_heads, region_places
from bidsapp_brainage.training.heads.publish import Trunk, left_out, publish_heads
from bidsapp_brainage.training.heads.subjects import (
    halves,
    load_head,
    pack_head,
    pack_heads,
    save_head,
)
from bidsapp_brainage.training.heads.synthesis import head_example
from bidsapp_brainage.training.heads.trunks import rounded, save_small, unseen_by
from bidsapp_brainage.training.recipe import Recipe
from tests.model.tiny import HEAD_REGIONS, make_raw_card

SHAPE, VOXEL = (40, 44, 40), 5.0
PARTS = {0: 0.0, 1: 30.0, 182: 70.0, 183: 70.0, 81: 100.0, 82: 100.0, 51: 30.0}


def images(ventricle: float = 8.0) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """A head of shells with ventricles of some size (mm), and its labels."""
    x, y, z = np.meshgrid(*[VOXEL * (np.arange(n) - (n - 1) / 2) for n in SHAPE], indexing="ij")
    radius, right = np.sqrt(x**2 + (y / 1.2) ** 2 + (z - 10) ** 2), x > 0
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[radius < 70] = 1
    labels[radius < 64] = np.where(right, 182, 183)[radius < 64]
    labels[radius < 48] = np.where(right, 81, 82)[radius < 48]
    labels[radius < ventricle] = 51
    image = np.vectorize(PARTS.get)(labels).astype(np.float32)
    image[(radius >= 75) & (radius < 82)] = 60.0
    affine = np.diag([VOXEL, VOXEL, VOXEL, 1.0])
    affine[:3, 3] = [-VOXEL * (n - 1) / 2 for n in SHAPE]
    return nib.Nifti1Image(image, affine), nib.Nifti1Image(labels, affine)


@pytest.fixture(scope="module")
def head():
    return pack_head(*images(20.0), muse_labels())


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_raw_card(tmp_path_factory.mktemp("card")).raw


def test_packing_finds_tissue_units(head, tmp_path):
    labels = muse_labels()
    for tissue, unit in ((0, 0.0), (1, 1.0), (2, 2.0)):
        inside = labels.tissues[head.classes] == tissue
        assert np.median(head.units[inside].astype(float)) == pytest.approx(unit, abs=0.25)
    assert head.shown[head.classes > 0].min() == 255
    save_head(head, tmp_path / "sub-1.npz")
    assert np.array_equal(load_head(tmp_path / "sub-1.npz").units, head.units)
    (tmp_path / "sub-1.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="Remove it"):
        load_head(tmp_path / "sub-1.npz")


def test_labels_of_another_grid_are_refused():
    t1w, labels = images()
    small = nib.Nifti1Image(np.asarray(labels.dataobj)[:-2], labels.affine)
    with pytest.raises(DataError, match="no map of a T1w"):
        pack_head(t1w, small, muse_labels())


def test_a_random_image_keeps_its_truth(head, card):
    labels = muse_labels()
    for seed in range(12):
        image, classes = head_example(head, labels, card["input"], np.random.default_rng(seed))
        assert image.shape == classes.shape == tuple(card["input"]["shape"])
        assert np.isfinite(image).all()
        assert 0 <= image.min() <= image.max() <= 1.6
        assert set(labels.indices[np.unique(classes)]) <= {*PARTS, 52}
        right, left = (np.argwhere(labels.indices[classes] == one)[:, 0] for one in (81, 82))
        assert right.mean() > left.mean()  # mirrored images have mirrored labels
    again = head_example(head, labels, card["input"], np.random.default_rng(seed))
    assert np.array_equal(again[0], image)


def test_training_stops_and_goes_on(head, card, tmp_path, monkeypatch):
    save_head(head, tmp_path / "sub-1.npz")
    recipe = HeadRecipe(steps=4)
    people = [tmp_path / "sub-1.npz"]
    whole = fit_heads(people, tmp_path / "a", card, recipe)
    state = torch.load(tmp_path / "a" / "state.pt", weights_only=True)
    assert state["step"] == 4
    kept = fit_heads(people, tmp_path / "a", card, recipe)  # nothing is left to do
    drawn = []

    def interrupted(*arguments):
        drawn.append(arguments)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return head_example(*arguments)

    monkeypatch.setattr(fitting, "_KEEP_EVERY", 2)
    monkeypatch.setattr(fitting, "head_example", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_heads(people, tmp_path / "b", card, recipe)
    assert torch.load(tmp_path / "b" / "state.pt", weights_only=True)["step"] == 2
    resumed = fit_heads(people, tmp_path / "b", card, recipe)
    assert len(drawn) == 6
    for name, value in whole.state_dict().items():
        assert torch.equal(value, kept.state_dict()[name])
        assert torch.equal(value, resumed.state_dict()[name])


def test_classes_go_to_their_regions(card):
    labels = muse_labels()
    places = region_places(card["architecture"], labels)
    assert places[np.flatnonzero(labels.indices == 82)[0]] == 1 + list(HEAD_REGIONS).index("white")
    assert places[0] == 0
    assert places[np.flatnonzero(labels.indices == 35)[0]] == 0  # in no region of this card


def test_ages_are_a_weighted_sum_of_the_features(card):
    rng = np.random.default_rng(0)
    network = build_network(card["architecture"])
    features = rng.normal(size=(40, len(HEAD_REGIONS)))
    ages = 50 + features @ [6.0, -3.0, 0.0]
    people = [f"sub-{number}" for number in range(40)]
    fit_regions(network, features, ages, people, np.zeros(40, bool))
    assert [network.years(row) for row in features] == pytest.approx(list(ages), abs=0.5)
    volume = torch.rand(1, 1, *card["input"]["shape"])
    with torch.inference_mode():
        fractions = network.fractions(volume)
        logits = network(volume)
        mean = network.years(network.features(volume)[0].double().numpy())
    assert float(fractions.sum()) == pytest.approx(1.0, abs=1e-5)
    lower, width, n_bins = (card["output"][name] for name in ("lower", "width", "n_bins"))
    centers = lower + width * (np.arange(n_bins) + 0.5)
    assert centers[4] < mean < centers[-5]  # else the ends of the bins cut the distribution
    assert float(logits.softmax(1)[0].numpy() @ centers) == pytest.approx(mean, abs=0.1)


def test_who_has_not_seen_a_person():
    assert unseen_by(["a", "b", "c"], [["a"], ["b"]]) == [[1], [0], [0, 1]]
    parts = halves([SimpleNamespace(stem=str(n)) for n in range(5)])
    assert [len(part) for part in parts] == [3, 2]


@pytest.fixture(scope="module")
def run(card, tmp_path_factory):
    """24 people of two scanners, with a network that has not learned anything."""
    folder = tmp_path_factory.mktemp("heads")
    rows = []
    for number in range(24):
        age = 20.0 + 2.5 * number
        place = folder / f"bids/sub-{number:02d}/anat"
        place.mkdir(parents=True)
        t1w, labels = images(10.0 + age / 4)
        nib.save(t1w, place / f"sub-{number:02d}_T1w.nii.gz")
        if number < 2:
            (folder / "labels").mkdir(exist_ok=True)
            nib.save(labels, folder / f"labels/sub-{number:02d}_dseg.nii.gz")
        scanner = "few" if number % 6 == 5 else "most"
        rows.append({"participant_id": f"sub-{number:02d}", "age": age, "scanner": scanner})
    pd.DataFrame(rows).to_csv(folder / "bids/participants.tsv", sep="\t", index=False)
    keep = {"licence", "version", "description", "citation", "schema_version", "name"}
    fixed = {key: card[key] for key in (*keep, "architecture", "input", "output")}
    recipe = Recipe(card=fixed, n_folds=2, copies=0, scanner_column="scanner")
    cohort = find_cohort(folder / "bids", Source("tinyraw", suffix="T1w"))
    return CrossValidation(cohort=cohort, recipe=recipe, folder=folder / "work"), folder


def test_raw_heads_with_labels_are_packed(run):
    packed = pack_heads(run[1] / "bids", run[1] / "labels", run[1] / "people", muse_labels())
    assert [path.stem for path in packed] == ["sub-00", "sub-01"]


def test_nobody_is_predicted_by_what_has_seen_them(run, card):
    """A U-Net that has seen everybody predicts nobody; a scanner is left out as a whole."""
    crossval, _ = run
    network = build_network(card["architecture"]).eval()
    people = crossval.cohort.people
    trunks = [Trunk(network, people[:12]), Trunk(network, people[12:])]
    rng = np.random.default_rng(1)
    good = np.column_stack([crossval.cohort.ages, rng.normal(size=(len(people), 2))])
    wrong = good.copy()
    wrong[:12] = 1e6  # what the first says of people that it has seen
    seen = left_out(crossval, trunks, [good, good])
    spoilt = left_out(crossval, [Trunk(network, people)], [wrong])
    assert spoilt.empty
    assert np.abs(seen["predicted_age"] - seen["age"]).mean() < 5
    by_scanner = seen.groupby("scanner")["fold"].nunique()
    assert by_scanner["few"] == 1  # a scanner is left out as a whole


def test_a_card_that_the_app_can_use(run, card):
    crossval, folder = run
    torch.manual_seed(0)
    network = rounded(build_network(card["architecture"]).eval())
    trunks = [Trunk(network, crossval.cohort.people[:12]), Trunk(network, ())]
    path = publish_heads(crossval, trunks, name="heads", models_dir=folder / "models")
    made = load_card(path)
    assert made.metrics["cross_validation"]["n"] == 24
    assert made.calibration["coverage95"] > 0.8
    assert made.training["inputs"] == {"desc": None, "suffix": "T1w"}
    members = load_members(made)
    volume = crossval.pool().batch(np.array([0]), np.array([0]))[0, 0].numpy()
    assert 14 < predict(members, volume, made).mean < 88


def test_weights_are_kept_small(card, tmp_path):
    network = rounded(build_network(card["architecture"]).eval())
    save_small(network, tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 2.6 * sum(
        value.numel() for value in network.state_dict().values()
    ) + 4000
    kept = load_file(tmp_path / "small.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(kept[name].float(), value)  # rounding twice changes nothing
