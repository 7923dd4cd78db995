"""A cohort of toy brains, and a recipe small enough for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.io import save_nifti, write_tsv
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.training.data.cohort import Cohort, Source, find_cohort
from bidsapp_brainage.training.data.pool import make_pool
from bidsapp_brainage.training.fitting.loop import Task
from bidsapp_brainage.training.fitting.losses import Objective, encode
from bidsapp_brainage.training.recipe import Recipe
from tests.model.tiny import card_dict

SHAPE = (12, 14, 12)
TINY = Source("tiny")


def brain(age: float, seed: int) -> np.ndarray:
    """A z-scored ball whose dark centre (its ventricles) grows with age."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    mask = radius < 0.9
    values = np.where(radius < 0.2 + 0.006 * age, -2.0, 1.0) + 0.2 * rng.normal(size=SHAPE)
    values = (values - values[mask].mean()) / values[mask].std()
    return np.where(mask, values, 0.0).astype(np.float32)


def write_people(folder: Path, n: int = 12, sessions: int = 1) -> tuple[Path, Path]:
    """Write model inputs and participants.tsv; returns both places."""
    ages = np.linspace(20, 80, n)
    people = [f"sub-{index:02d}" for index in range(n)]
    for index, (person, age) in enumerate(zip(people, ages, strict=True)):
        for session in range(1, sessions + 1):
            middle, place = "", folder / "out" / person
            if sessions > 1:
                middle, place = f"_ses-{session}", place / f"ses-{session}"
            name = f"{person}{middle}_space-T_res-8_desc-tinyinput_T1w.nii.gz"
            image = nib.Nifti1Image(brain(age, 100 * session + index), np.eye(4))
            save_nifti(image, place / "anat" / name)
    table = folder / "out" / "participants.tsv"
    sexes = ["F" if index % 2 else "M" for index in range(n)]
    write_tsv(table, pd.DataFrame({"participant_id": people, "age": ages, "sex": sexes}))
    return folder / "out", table


def toys(people: tuple[Path, Path]) -> Cohort:
    """The cohort of :func:`write_people`."""
    return find_cohort(people[0], TINY, people[1])


def task(cohort: Cohort, plan: Recipe, folder: Path) -> Task:
    """What a network of ``plan`` learns from ``cohort``."""
    parts = heads(plan.card["output"])
    targets = encode(cohort, parts)
    pool = make_pool(cohort, plan, folder)
    return Task(pool, targets, Objective(parts, plan, targets), plan, cohort.ages)


def recipe(**changes: Any) -> Recipe:
    """A recipe that trains in about a second."""
    card = card_dict(shape=SHAPE)
    for name in ("weights", "training", "metrics", "bias_correction", "calibration", "age_range"):
        del card[name]
    choices: dict[str, Any] = {
        "n_folds": 3, "epochs": 2, "batch_size": 4, "copies": 1, "bfloat16": False,
    }  # fmt: skip
    return Recipe(card=card, **{**choices, **changes})
