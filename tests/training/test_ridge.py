from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.training.crossval import CrossValidation, cross_validate
from bidsapp_brainage.training.data.pool import Pool
from bidsapp_brainage.training.fitting.ridge import fit_ridge
from bidsapp_brainage.training.setup import learnable
from tests.training.people import SHAPE, recipe, toys, write_people

GRID = (8, 8, 8)


def planted(n: int) -> tuple[Pool, np.ndarray]:
    """Brains whose grey matter shrinks on both sides by age, with one noisy copy each."""
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 80, n)
    volumes = np.ones((n, 2, *GRID)) + 0.05 * rng.normal(size=(n, 2, *GRID))
    volumes[:, :, 2:6, 4:6] *= (1.2 - ages / 100)[:, None, None, None, None]
    levels = np.tile(np.array([0, 1, 0, 0], np.float32), (2, 1))
    return Pool([np.rint(volume * 25).astype(np.int8) for volume in volumes], [levels] * n), ages


def network() -> TissueLinear:
    parameters = {"shape": list(GRID), "lower": 0.0, "width": 2.0, "n_bins": 50}
    made = build_network({"id": "tissuelinear", "parameters": parameters})
    assert isinstance(made, TissueLinear)
    return made


def predicted(fitted: TissueLinear, pool: Pool, scans: np.ndarray) -> np.ndarray:
    logits = fitted(pool.batch(scans, np.zeros(len(scans), int)))
    return (torch.softmax(logits, dim=1) @ (2 * (torch.arange(50) + 0.5))).detach().numpy()


def test_it_learns_a_planted_effect_and_weighs_left_and_right_alike():
    pool, ages = planted(40)
    people = [f"sub-{k}" for k in range(40)]
    fitted = fit_ridge(network(), pool, ages, np.arange(30), people, mirror_axis=0)
    tested = np.arange(30, 40)
    assert np.abs(predicted(fitted, pool, tested) - ages[tested]).mean() < 3
    weights = fitted.sum.weight.reshape(2, 4, 4, 4)
    torch.testing.assert_close(weights, weights.flip(1), atol=1e-5, rtol=1e-4)


def test_shuffled_ages_give_no_skill():
    pool, ages = planted(40)
    shuffled = np.random.default_rng(1).permutation(ages)
    fitted = fit_ridge(
        network(), pool, shuffled, np.arange(30), [f"sub-{k}" for k in range(40)], mirror_axis=0
    )
    tested = np.arange(30, 40)
    error = np.abs(predicted(fitted, pool, tested) - ages[tested]).mean()
    assert error > 0.8 * np.abs(ages[:30].mean() - ages[tested]).mean()


@pytest.fixture
def mixed(tmp_path: Path) -> CrossValidation:
    plan = recipe(epochs=2, copies=1, n_folds=2)
    output = plan.card["output"]
    bins = {name: output[name] for name in ("lower", "width", "n_bins")}
    linear = {"id": "tissuelinear", "parameters": {"shape": list(SHAPE), **bins}}
    architecture = {
        "id": "mixture",
        "parameters": {"parts": [plan.card["architecture"], linear]},
    }
    plan = dataclasses.replace(plan, card={**plan.card, "architecture": architecture})
    return CrossValidation(toys(write_people(tmp_path)), plan, tmp_path / "work")


def test_a_mixture_is_trained_part_by_part_and_goes_on_where_it_stopped(mixed: CrossValidation):
    table = cross_validate(mixed)
    assert table["predicted_age"].notna().all()
    place = mixed.place(0, 0)
    assert {path.name for path in place.glob("part-*.safetensors")} == {
        "part-1.safetensors", "part-2.safetensors",
    }  # fmt: skip
    (place / "oof.tsv").unlink()
    (place / "part-2.safetensors").unlink()
    kept = (place / "part-1.safetensors").stat().st_mtime_ns
    again = cross_validate(mixed)
    assert (place / "part-1.safetensors").stat().st_mtime_ns == kept
    np.testing.assert_allclose(again["predicted_age"], table["predicted_age"], rtol=1e-6)


def test_the_part_that_can_learn_another_target(mixed: CrossValidation):
    architecture = mixed.recipe.card["architecture"]
    assert learnable(architecture) == architecture["parameters"]["parts"][0]
    assert learnable({"id": "sfcn", "parameters": {}})["id"] == "sfcn"
