"""From a finished cross-validation to a model card with its weights."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.io import atomic_path, file_sha256, write_json, write_tsv
from bidsapp_brainage.model.card_checks import check_card
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.outputs import AGE, Head, heads
from bidsapp_brainage.stats.classes import balanced_accuracy
from bidsapp_brainage.stats.intervals import conformal_quantile
from bidsapp_brainage.training import calibration
from bidsapp_brainage.training.crossval import SCANNER, CrossValidation
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.evaluation import coverage, figures, predict_cohort
from bidsapp_brainage.training.patch_errors import patch_errors
from bidsapp_brainage.training.setup import final_recipe

LOGGER = logging.getLogger(__name__)
DEFAULT_AGES = (0.0, 120.0)  # of a cohort without ages


def publish(
    run: CrossValidation,
    table: pd.DataFrame,
    *,
    name: str,
    models_dir: Path,
    external: Mapping[str, Cohort],
    inputs: Mapping[str, str | None] | None = None,
) -> Path:
    """Write weights and card, evaluate the card on the external cohorts, and return its path.

    In `models_dir` appear ``<model>.json``, ``<model>_fold-<k>_seed-<s>.safetensors``, of a model
    of patches ``<model>_regions.tsv``, and the out-of-fold predictions ``<model>_oof.tsv``, which
    are the `table` of :func:`bidsapp_brainage.training.crossval.cross_validate`. `name` is that of
    the cohort on the card. External cohorts, by name, take no part in the training and change
    nothing but the figures on the card. `inputs` says which images were learnt from, if they were
    not made for a model of this name.
    """
    recipe = final_recipe(run.recipe)
    raw = {
        **recipe.card,
        "weights": _copy_weights(run, Path(models_dir)),
        **card_facts(run, name, table),
    }
    if inputs:
        raw["training"]["inputs"] = dict(inputs)
    if errors := patch_errors(run):
        raw["patches"], regions = errors
        if len(regions):
            write_tsv(Path(models_dir) / f"{recipe.label}_regions.tsv", regions)
    path = Path(models_dir) / f"{recipe.label}.json"
    check_card(raw, path)
    write_json(path, raw)
    write_tsv(path.with_name(f"{recipe.label}_oof.tsv"), table)
    raw["metrics"]["external"] = _evaluate(path, external)
    write_json(path, raw)
    return path


def targets_figures(table: pd.DataFrame, parts: tuple[Head, ...]) -> dict[str, dict[str, float]]:
    """Accuracy of every head but age, by its type."""
    scores: dict[str, dict[str, float]] = {}
    for head in parts:
        if head.name == AGE:
            continue
        known = table[table[head.name].notna()]
        predicted = known[f"predicted_{head.name}"]
        if head.coding == "classes":
            names = [str(label) for label in head.classes]
            true = known[head.name].astype(str).map(names.index).to_numpy(dtype=float)
            said = predicted.astype(str).map(names.index).to_numpy(dtype=float)
            balanced = round(balanced_accuracy(true, said), 4)
            scores[head.name] = {"n": len(known), "balanced_accuracy": balanced}
        else:
            values = figures(known[head.name].to_numpy(float), predicted.to_numpy(float))
            scores[head.name] = {key: values[key] for key in ("n", "mae", "rmse", "r", "r2")}
    return scores


def _copy_weights(run: CrossValidation, models_dir: Path) -> list[dict[str, object]]:
    entries = []
    for fold, seed in run.members:
        source = run.place(fold, seed) / "network.safetensors"
        final = models_dir / f"{run.recipe.label}_{source.parent.name}.safetensors"
        with atomic_path(final) as temporary:
            shutil.copyfile(source, temporary)
        entries.append(weight_entry(final))
    return entries


def weight_entry(path: Path) -> dict[str, object]:
    """What a card tells of a file of weights beside it."""
    size = path.stat().st_size
    return {"file": path.name, "sha256": file_sha256(path), "size": size, "url": None}


def card_facts(run: CrossValidation, name: str, table: pd.DataFrame) -> dict[str, Any]:
    """What a card tells of its people and of the predictions for them; see :func:`publish`."""
    cohort, recipe = run.cohort, run.recipe
    parts = heads(final_recipe(recipe).card["output"])
    ages = cohort.ages[np.isfinite(cohort.ages) & ~cohort.simulated]
    source = f"{run.n_folds}-fold out-of-fold predictions on {name}"
    metrics: dict[str, object] = {
        "note": (
            f"Every person predicted by networks of the one fold of {run.n_folds} that had not "
            "seen them; raw predictions. The shipped model averages all networks."
        ),
    }
    facts: dict[str, Any] = {
        "age_range": [float(np.floor(ages.min())), float(np.ceil(ages.max()))]
        if len(ages) > 1 and np.ptp(ages) > 0
        else list(DEFAULT_AGES),
        "training": {
            "cohort": name,
            "n_people": len(set(cohort.people)),
            "n_scans": int((~cohort.simulated).sum()),
            "n_simulated": int(cohort.simulated.sum()),
            "age_mean": round(float(ages.mean()), 2) if len(ages) else None,
            "age_sd": round(float(ages.std(ddof=1)), 2) if len(ages) > 1 else None,
            "recipe": recipe.choices(),
        },
        "metrics": {"cross_validation": metrics},
        "bias_correction": None,
        "calibration": {},
    }
    if any(head.name == AGE for head in parts):
        known = table[table[AGE].notna()]
        age, predicted = _ages(known)
        metrics.update(figures(age, predicted))
        if SCANNER in known:
            metrics["by_scanner"] = {
                str(scanner): figures(*_ages(people))
                for scanner, people in known.groupby(SCANNER)
                if len(people) > 1
            }
            if len(strangers := _of_scanners_left_out(known)) > 1:
                names = ", ".join(sorted(set(strangers[SCANNER].astype(str))))
                facts["metrics"]["leave_one_scanner_out"] = {
                    "people": f"{names} (left out)",
                    **figures(*_ages(strangers)),
                }
        facts["bias_correction"] = calibration.bias_line(age, predicted, source)
        facts["calibration"] = _calibration(known, source)
    others = targets_figures(table, parts)
    if others:
        metrics["targets"] = others
    if intervals := target_intervals(table, parts, source):
        facts["calibration"]["targets"] = intervals
    return facts


def target_intervals(
    table: pd.DataFrame, parts: tuple[Head, ...], source: str
) -> dict[str, dict[str, Any]]:
    """Conformal intervals, equally wide for everybody, of numbers other than the age.

    Parameters
    ----------
    table : DataFrame
        Out-of-fold predictions.
    parts : tuple of Head
    source : str
        Whose predictions they are.

    Returns
    -------
    dict
        ``calibration.targets`` of a card; nothing for heads with too few people. The coverage is
        that of each person by the errors of the others.
    """
    intervals: dict[str, dict[str, Any]] = {}
    for head in parts:
        if head.name == AGE or head.coding == "classes":
            continue
        errors = (table[f"predicted_{head.name}"] - table[head.name]).abs()
        known = errors.groupby(table["participant_id"]).mean().dropna().to_numpy(dtype=np.float64)
        if len(known) < calibration.MIN_PEOPLE:
            continue
        n = len(known)
        others = [conformal_quantile(known[np.arange(n) != place]) for place in range(n)]
        intervals[head.name] = {
            "method": "conformal_constant",
            "half_width95": round(conformal_quantile(known), 6),
            "n": n,
            "coverage95": round(float(np.mean(known <= np.array(others))), 4),
            "source": source,
        }
    return intervals


def _of_scanners_left_out(table: pd.DataFrame) -> pd.DataFrame:
    """People predicted by networks that had seen nobody of their scanner."""
    scanners_in_fold = table.groupby("fold")[SCANNER].transform("nunique")
    folds_of_scanner = table.groupby(SCANNER)["fold"].transform("nunique")
    return table[(scanners_in_fold == 1) & (folds_of_scanner == 1)]


def _ages(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return table[AGE].to_numpy(float), table["predicted_age"].to_numpy(float)


def _calibration(table: pd.DataFrame, source: str) -> dict[str, Any]:
    """Conformal where there are people enough, else the ratio of errors and SDs."""
    if table["participant_id"].nunique() >= calibration.MIN_PEOPLE:
        return calibration.calibrate(table, source)
    (age, predicted), sd = _ages(table), table["predicted_age_sd"].to_numpy(float)
    if not (sd > 0).all():
        return {}
    return {"sd_scale": calibration.sd_scale(age, predicted, sd), "source": source}


def _evaluate(card: Path, external: Mapping[str, Cohort]) -> dict[str, Any]:
    external_scores: dict[str, Any] = {}
    for name, cohort in external.items():
        model = load_card(card)
        table = predict_cohort(model, cohort)
        write_tsv(card.with_name(f"{model.name}_external-{name}.tsv"), table)
        others = targets_figures(table, tuple(h for h in model.heads if h.name in table))
        external_scores[name] = {"targets": others} if others else {}
        if "predicted_age" in table:
            known = table[table[AGE].notna()]
            external_scores[name] |= figures(*_ages(known))
            if (covered := coverage(known)) is not None:
                external_scores[name]["coverage95"] = covered
            LOGGER.info("%s: MAE %.2f years, n %d", name, external_scores[name]["mae"], len(known))
    return external_scores
