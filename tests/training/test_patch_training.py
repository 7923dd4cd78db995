"""Ages of patches, trained and measured on toy brains."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.io import read_tsv, save_nifti
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.networks.patches import PatchLinear, region_means
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training import patch_errors
from bidsapp_brainage.training.crossval import CrossValidation, cross_validate
from bidsapp_brainage.training.data.cohort import regions_path
from bidsapp_brainage.training.publish import publish
from tests.training.people import SHAPE, recipe, toys, write_people

LABELS = np.zeros(SHAPE, dtype=np.int16)
LABELS[4:8, 5:9, 4:8], LABELS[:3] = 51, 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Twelve people with regions beside their inputs, and a model of patches."""
    folder = tmp_path_factory.mktemp("patches")
    people = write_people(folder)
    cohort = toys(people)
    for path in cohort.paths:
        save_nifti(nib.Nifti1Image(LABELS, np.eye(4)), regions_path(path))
    plan = recipe(copies=0)
    plan.card["architecture"] = {
        "id": "patches",
        "parameters": {"shape": list(SHAPE), "lower": 14.0, "width": 2.0, "n_bins": 37,
                       "block": 2, "window": 2, "step": 1},
    }  # fmt: skip
    plan.card["input"]["segmentation"] = "muse2mm"
    run = CrossValidation(cohort, plan, folder / "work")
    table = cross_validate(run)
    return run, table, publish(run, table, name="toys", models_dir=folder, external={})


def test_card_and_table_tell_the_errors_of_patches_and_regions(trained):
    run, table, path = trained
    facts = load_card(path).patches
    assert facts["shape"] == [5, 6, 5]
    assert facts["n"] == len(run.cohort)
    errors = np.array([np.nan if e is None else e for e in facts["mae"]]).reshape(facts["shape"])
    said, ages = patch_errors._left_out(run), run.cohort.ages
    assert errors[2, 3, 2] == pytest.approx(np.abs(said[:, 2, 3, 2] - ages).mean(), abs=1e-3)
    assert (table["predicted_age"] - table["age"]).abs().mean() < 14
    regions = read_tsv(path.with_name("tiny_regions.tsv")).set_index("index")
    assert regions["name"].notna().all()
    assert set(regions.index) == {51, 100}
    network = load_members(load_card(path))[0]
    of_region = [region_means(network.spread_over_voxels(one), LABELS)[51] for one in said]
    assert regions.loc[51, "mae"] == pytest.approx(np.abs(of_region - ages).mean(), rel=1e-3)
    assert regions.loc[51, "mae_lower"] < regions.loc[51, "mae"] < regions.loc[51, "mae_upper"]


def test_errors_are_of_networks_that_did_not_see_the_person(trained):
    run, _, path = trained
    scan = int(np.flatnonzero(run.folds == 0)[0])
    volume = run.pool().batch(np.array([scan]), np.array([0]))
    (left_out,) = [m for m, (fold, _) in zip(load_members(load_card(path)), run.members,
                                             strict=True) if fold == 0]  # fmt: skip
    assert isinstance(left_out, PatchLinear)
    ages = left_out.patch_ages(volume)[0].numpy()
    kept = patch_errors._left_out(run)[scan]
    known = np.isfinite(kept)
    assert known.any()
    assert kept[known] == pytest.approx(ages[known], abs=1e-3)
