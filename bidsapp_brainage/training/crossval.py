"""Cross-validation over people: one network per fold, and predictions of people not seen."""

from __future__ import annotations

import json
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import atomic_path, read_tsv, write_json, write_tsv
from bidsapp_brainage.training.cohort import Cohort
from bidsapp_brainage.training.folds import assign_folds, hold_out
from bidsapp_brainage.training.loop import Labels, Split, predict_scans, train_network
from bidsapp_brainage.training.pool import Pool, make_pool
from bidsapp_brainage.training.recipe import Recipe

LOGGER = logging.getLogger(__name__)


def cross_validate(
    cohort: Cohort, recipe: Recipe, folder: Path, *, jobs: int = 1, threads: int = 1
) -> pd.DataFrame:
    """Train all folds and gather the predictions for the people that each fold left out.

    Parameters
    ----------
    cohort : Cohort
    recipe : Recipe
    folder : Path
        Work folder: ``fold-<k>/`` with weights, predictions, learning curve and checkpoint; the
        pool of copies; ``oof.tsv``. Finished folds are kept, unfinished ones go on.
    jobs : int
        Folds at a time, each in its own process.
    threads : int
        CPU threads of each.

    Returns
    -------
    DataFrame
        ``participant_id age fold predicted_age predicted_age_sd``, one row per scan.

    Raises
    ------
    DataError
        ``folder`` holds a training with another recipe or other people.
    """
    folder = Path(folder)
    _claim(folder, cohort, recipe)
    torch.set_num_threads(jobs * threads)
    make_pool(cohort, recipe, folder)  # before the processes start, so that only one makes it
    tasks = [(cohort, recipe, folder, fold, threads) for fold in range(recipe.n_folds)]
    if jobs == 1:
        tables = [run_fold(*task) for task in tasks]
    else:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_show_progress) as pool:
            tables = list(pool.map(run_fold, *zip(*tasks, strict=True)))
    table = pd.concat(tables).sort_values(["age", "participant_id"], ignore_index=True)
    write_tsv(folder / "oof.tsv", table)
    return table


def run_fold(
    cohort: Cohort, recipe: Recipe, folder: Path, fold: int, threads: int = 1
) -> pd.DataFrame:
    """Train one fold's network (or read its results) and predict the people it left out."""
    place = Path(folder) / f"fold-{fold + 1}"
    if (place / "oof.tsv").is_file():
        return read_tsv(place / "oof.tsv")
    torch.set_num_threads(threads)
    pool = make_pool(cohort, recipe, folder)
    tested = assign_folds(cohort.people, cohort.ages, recipe.n_folds, recipe.seed) == fold
    seed = recipe.seed + fold
    network = train_network(
        pool, cohort.ages, _split(cohort, ~tested, recipe, seed), recipe, folder=place, seed=seed
    )
    with atomic_path(place / "network.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
    table = _predictions(network, pool, cohort, np.flatnonzero(tested), recipe)
    table.insert(2, "fold", fold + 1)
    write_tsv(place / "oof.tsv", table)
    (place / "checkpoint.pt").unlink(missing_ok=True)
    error = (table["predicted_age"] - table["age"]).abs().mean()
    LOGGER.info("%s done: MAE %.2f years on %d scans not trained on", place.name, error, len(table))
    return table


def _split(cohort: Cohort, usable: np.ndarray, recipe: Recipe, seed: int) -> Split:
    """Divide the people outside the test fold into those to learn from and those to stop by."""
    scans = np.flatnonzero(usable)
    people = [cohort.people[scan] for scan in scans]
    held = hold_out(people, cohort.ages[scans], recipe.validation_fraction, seed)
    return Split(train=scans[~held], validation=scans[held])


def _predictions(
    network: torch.nn.Module, pool: Pool, cohort: Cohort, scans: np.ndarray, recipe: Recipe
) -> pd.DataFrame:
    labels = Labels(recipe.card["output"], recipe.label_sd)
    probabilities = torch.softmax(predict_scans(network, pool, scans).double(), dim=1)
    centers = labels.centers.double()
    mean = probabilities @ centers
    variance = (probabilities * (centers - mean[:, None]).square()).sum(dim=1)
    return pd.DataFrame(
        {
            "participant_id": [cohort.people[scan] for scan in scans],
            "age": cohort.ages[scans],
            "predicted_age": mean.numpy(),
            "predicted_age_sd": variance.sqrt().numpy(),
        }
    )


def _claim(folder: Path, cohort: Cohort, recipe: Recipe) -> None:
    """Note what is trained here; refuse to mix two trainings in one folder."""
    facts = {
        "card": recipe.card,
        "training": recipe.choices(),
        "people": list(cohort.people),
        "ages": cohort.ages.tolist(),
    }
    path = folder / "training.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != facts:
        raise DataError(
            f"{folder} holds a training with another recipe or other people. "
            "Choose another --work-dir, or empty this one."
        )
    write_json(path, facts)


def _show_progress() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
