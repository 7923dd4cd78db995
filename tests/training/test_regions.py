"""Ridge regression on volumes of regions, from inputs with their regions to a card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.io import load_nifti, save_nifti
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.regional import RegionLinear
from bidsapp_brainage.training.crossval import CrossValidation, cross_validate
from bidsapp_brainage.training.data.cohort import load_regions, regions_path
from bidsapp_brainage.training.evaluation import predict_cohort
from bidsapp_brainage.training.fitting.regions import fit_regions
from bidsapp_brainage.training.publish import publish
from bidsapp_brainage.training.setup import with_outputs, write_start
from tests.training.people import recipe, toys, write_people

ARCHITECTURE = {
    "id": "regionlinear",
    "text": "a sum of volumes",
    "parameters": {
        "regions": {"tissue": [2]}, "fluid": {"rim": [1], "ventricles": [3]},
        "lower": 0.0, "width": 2.0, "n_bins": 50,
    },
}  # fmt: skip


def made() -> RegionLinear:
    network = build_network(ARCHITECTURE)
    assert isinstance(network, RegionLinear)
    return network


def planned(architecture=ARCHITECTURE):
    plain = recipe(copies=0)
    output = {"coding": "bins", "lower": 0.0, "width": 2.0, "n_bins": 50, "unit": "year"}
    card = {**plain.card, "architecture": architecture, "output": output}
    return dataclasses.replace(plain, card=card)


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, Path]:
    """Toy brains with the regions of their inputs beside them."""
    folder, table = write_people(tmp_path, n=18)
    for path in sorted(folder.glob("sub-*/**/*_T1w.nii.gz")):
        image = load_nifti(path)
        values = np.asarray(image.dataobj)
        labels = np.select([values == 0, values < -0.5], [0, 3], 2).astype(np.int16)
        units = np.where(labels == 2, 1, 0).astype(np.float32)
        save_nifti(nib.Nifti1Image(units, image.affine), path)
        save_nifti(nib.Nifti1Image(labels, image.affine), regions_path(path))
    return folder, table


def test_planted_weights_are_found():
    rng = np.random.default_rng(0)
    fractions = rng.uniform(0.1, 0.3, (200, 3))
    ages = 30 + fractions @ np.array([-100.0, 0, 200]) + rng.normal(0, 0.5, 200)
    people = [f"sub-{k}" for k in range(200)]
    network = fit_regions(made(), fractions, ages, people, np.zeros(200, bool))
    assert network.weight.numpy() == pytest.approx([-100, 0, 200], abs=5)
    assert float(network.intercept) == pytest.approx(30, abs=2)


def test_from_people_to_a_card_that_predicts_them(people, tmp_path):
    cohort = toys(people)
    run = CrossValidation(cohort, planned(), tmp_path / "work")
    table = cross_validate(run)
    assert np.abs(table["predicted_age"] - table["age"]).mean() < 4  # ages are 20 to 80
    card = load_card(publish(run, table, name="toys", models_dir=tmp_path, external={}))
    again = predict_cohort(card, cohort)
    assert np.abs(again["predicted_age"] - again["age"]).mean() < 4
    with pytest.raises(UsageError, match="train it anew"):
        write_start(card, tmp_path)


def test_parts_of_a_mixture_are_fitted_and_told_apart(people, tmp_path):
    cohort = toys(people)
    other = {**ARCHITECTURE["parameters"], "regions": {"all": [2, 3]}, "fluid": {"rim": [1]}}
    parts = [ARCHITECTURE, {"id": "regionlinear", "parameters": other}]
    mixture = {"id": "mixture", "parameters": {"parts": parts, "weights": [3, 1]}}
    run = CrossValidation(cohort, planned(mixture), tmp_path / "work")
    table = cross_validate(run)
    assert np.abs(table["predicted_age"] - table["age"]).mean() < 8  # one part is no use
    assert (table["member_sd"] >= 0).all()
    assert table["member_sd"].max() > 0
    card = load_card(publish(run, table, name="toys", models_dir=tmp_path, external={}))
    again = predict_cohort(card, cohort)
    assert np.corrcoef(again["predicted_age"], table["predicted_age"])[0, 1] > 0.95
    assert (again["member_sd"] > 0).any()


def test_the_words_of_an_architecture_are_kept():
    assert with_outputs(ARCHITECTURE, 50) == ARCHITECTURE


def test_inputs_without_regions_are_refused_with_the_remedy(people, tmp_path):
    cohort = toys(people)
    regions_path(cohort.paths[3]).unlink()
    assert load_regions(cohort.paths[3]) is None
    with pytest.raises(DataError, match="brainage-model prepare"):
        cross_validate(CrossValidation(cohort, planned(), tmp_path / "work"))


def test_regions_lie_beside_the_input():
    assert regions_path(Path("a/sub-1_desc-xinput_T1w.nii")).name == "sub-1_desc-xinput_dseg.nii.gz"
    assert load_regions(Path("sub-1_FLAIR.nii.gz")) is None
