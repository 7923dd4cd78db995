"""From a finished cross-validation to a model card with its weights."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import atomic_path, write_json, write_tsv
from bidsapp_brainage.model.cards import check_card, file_sha256, load_card
from bidsapp_brainage.training.cohort import Cohort
from bidsapp_brainage.training.recipe import Recipe
from bidsapp_brainage.training.report import (
    accuracy,
    bias_line,
    evaluate_card,
    external_accuracy,
    sd_scale,
)

LOGGER = logging.getLogger(__name__)


def publish(
    cohort: Cohort,
    recipe: Recipe,
    *,
    name: str,
    work_dir: Path,
    models_dir: Path,
    external: dict[str, Cohort],
) -> Path:
    """Write weights and card, then evaluate the card on the external cohorts.

    Parameters
    ----------
    cohort : Cohort
        Who was trained on.
    recipe : Recipe
    name : str
        Name of the cohort on the card.
    work_dir : Path
        Folder of :func:`bidsapp_brainage.training.crossval.cross_validate`.
    models_dir : Path
        Where ``<model>.json`` and ``<model>_fold-<k>.safetensors`` go.
    external : dict
        Cohorts by name. They take no part in the training and change nothing but the figures
        on the card.

    Returns
    -------
    Path
        The card.
    """
    table = pd.read_csv(Path(work_dir) / "oof.tsv", sep="\t", dtype={"participant_id": str})
    if len(table) != len(cohort):
        raise DataError(
            f"{work_dir}/oof.tsv has {len(table)} rows, the cohort {len(cohort)} scans."
        )
    raw = {
        **recipe.card,
        "weights": _copy_weights(recipe, Path(work_dir), Path(models_dir)),
        **_facts(cohort, recipe, name, table),
    }
    path = Path(models_dir) / f"{recipe.label}.json"
    check_card(raw, path)
    write_json(path, raw)
    raw["metrics"]["external"] = _evaluate(path, external, Path(work_dir))
    write_json(path, raw)
    return path


def _copy_weights(recipe: Recipe, work_dir: Path, models_dir: Path) -> list[dict[str, Any]]:
    entries = []
    for fold in range(1, recipe.n_folds + 1):
        source = work_dir / f"fold-{fold}" / "network.safetensors"
        final = models_dir / f"{recipe.label}_fold-{fold}.safetensors"
        with atomic_path(final) as temporary:
            shutil.copyfile(source, temporary)
        entries.append(
            {
                "file": final.name,
                "sha256": file_sha256(final),
                "size": final.stat().st_size,
                "url": None,
            }
        )
    return entries


def _facts(cohort: Cohort, recipe: Recipe, name: str, table: pd.DataFrame) -> dict[str, Any]:
    age, predicted, sd = (
        table[column].to_numpy(dtype=float)
        for column in ("age", "predicted_age", "predicted_age_sd")
    )
    source = f"{recipe.n_folds}-fold out-of-fold predictions on {name}"
    return {
        "age_range": [float(np.floor(age.min())), float(np.ceil(age.max()))],
        "training": {
            "cohort": name,
            "n_people": len(set(cohort.people)),
            "n_scans": len(cohort),
            "age_mean": round(float(age.mean()), 2),
            "age_sd": round(float(age.std(ddof=1)), 2),
            "recipe": recipe.choices(),
        },
        "metrics": {
            "cross_validation": {
                "note": (
                    f"Every person predicted by the one network of {recipe.n_folds} that had not "
                    "seen them; raw predictions. The shipped model averages all networks."
                ),
                **accuracy(age, predicted),
            },
        },
        "bias_correction": bias_line(age, predicted, source),
        "calibration": {"sd_scale": sd_scale(age, predicted, sd), "source": source},
    }


def _evaluate(card: Path, external: dict[str, Cohort], work_dir: Path) -> dict[str, Any]:
    figures = {}
    for name, cohort in external.items():
        table = evaluate_card(load_card(card), cohort)
        write_tsv(work_dir / f"external-{name}.tsv", table)
        figures[name] = external_accuracy(table)
        LOGGER.info("%s: MAE %.2f years, n %d", name, figures[name]["mae"], len(cohort))
    return figures
