"""Cross-validation over people: networks per fold, and predictions of people not seen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import atomic_path, read_tsv, write_json, write_tsv
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.model.uncertainty import left_right_axis
from bidsapp_brainage.stats.folds import assign_folds, hold_out
from bidsapp_brainage.training.cohort import Cohort
from bidsapp_brainage.training.decode import average_tables, decode_table
from bidsapp_brainage.training.freezing import blocks
from bidsapp_brainage.training.loop import Split, Start, Task, predict_scans, train_network
from bidsapp_brainage.training.losses import Objective, encode
from bidsapp_brainage.training.pool import Pool, make_pool
from bidsapp_brainage.training.recipe import Recipe
from bidsapp_brainage.training.ridge import fit_ridge
from bidsapp_brainage.training.setup import with_outputs

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A cross-validation: on whom, how, where, and what it starts from.

    Attributes
    ----------
    cohort : Cohort
    recipe : Recipe
    folder : Path
        Work folder: ``fold-<k>_seed-<s>/`` with weights, predictions, learning curve and
        checkpoint; the pool of copies; ``oof.tsv``. What is finished is kept.
    start : tuple of Path
        Trained weights, fold by fold; see :meth:`start_of`. Empty: from random ones.
    keep_head : bool
        Also start from their last layer.
    jobs, threads : int
        Networks at a time, each in its own process, and CPU threads of each.
    device : str
        A torch device.
    pool_folder : Path or None
        Where copies of scans are kept; by default in ``folder``.
    """

    cohort: Cohort
    recipe: Recipe
    folder: Path
    start: tuple[Path, ...] = ()
    keep_head: bool = False
    jobs: int = 1
    threads: int = 1
    device: str = "cpu"
    pool_folder: Path | None = None

    @property
    def folds(self) -> np.ndarray:
        """Fold (0 ...) in which every scan is tested; families stay together."""
        cohort, recipe = self.cohort, self.recipe
        return assign_folds(cohort.units, balanced_by(self), recipe.n_folds, recipe.seed)

    @property
    def members(self) -> list[tuple[int, int]]:
        """Fold and seed (both from 0) of every network."""
        seeds = range(self.recipe.n_seeds)
        return [(fold, seed) for fold in range(self.recipe.n_folds) for seed in seeds]

    def start_of(self, fold: int, seed: int) -> Path:
        """Weights that a network starts from: of the same fold, if there are as many folds."""
        per_fold = max(1, len(self.start) // self.recipe.n_folds)
        return self.start[(fold * per_fold + seed % per_fold) % len(self.start)]

    def place(self, fold: int, seed: int) -> Path:
        """Folder of one network."""
        return Path(self.folder) / f"fold-{fold + 1}_seed-{seed + 1}"


def balanced_by(run: Run) -> np.ndarray:
    """What folds are balanced by: age, or the first target where no age is known."""
    ages = run.cohort.ages
    if np.isfinite(ages).any():
        return ages
    return encode(run.cohort, heads(run.recipe.card["output"]))[:, 0]


def cross_validate(run: Run) -> pd.DataFrame:
    """Train all networks and gather the predictions for the people that each fold left out.

    Returns
    -------
    DataFrame
        ``participant_id image fold``, then for every head its true value and what
        :func:`bidsapp_brainage.training.decode.decode_table` gives; one row per scan. Networks
        of the same fold are averaged.

    Raises
    ------
    DataError
        ``folder`` holds a training with another recipe or other people, or there are fewer
        people than folds.
    """
    folder = Path(run.folder)
    units = len(set(run.cohort.units))
    if units < run.recipe.n_folds:
        raise DataError(f"{units} people (or families) cannot fill {run.recipe.n_folds} folds.")
    _claim(run)
    torch.set_num_threads(run.jobs * run.threads)
    _pool(run)  # before processes start, so that only one makes it
    tasks = [(run, fold, seed) for fold, seed in run.members]
    if run.jobs == 1:
        tables = [run_member(*task) for task in tasks]
    else:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(run.jobs, context, initializer=_show_progress) as pool:
            tables = list(pool.map(run_member, *zip(*tasks, strict=True)))
    table = _gathered(run, tables)
    write_tsv(folder / "oof.tsv", table)
    return table


def run_member(run: Run, fold: int, seed: int) -> pd.DataFrame:
    """Train one network (or read its results) and predict the people that its fold left out."""
    place = run.place(fold, seed)
    if (place / "oof.tsv").is_file():
        return read_tsv(place / "oof.tsv")
    torch.set_num_threads(run.threads)
    tested = run.folds == fold
    number = run.recipe.seed + fold + 1000 * seed
    split = _split(run, ~tested, run.recipe.seed + fold)
    weights = run.start_of(fold, seed) if run.start else None
    network, task = _train(run, split, weights, place, number)
    with atomic_path(place / "network.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
    scans = np.flatnonzero(tested)
    outputs = predict_scans(network, task.pool, scans)
    table = decode_table(outputs, heads(task.recipe.card["output"]))
    table.insert(0, "scan", scans)
    write_tsv(place / "oof.tsv", table)
    (place / "checkpoint.pt").unlink(missing_ok=True)
    targets = torch.from_numpy(task.targets[scans]).float()
    errors = task.objective.errors(outputs, targets).items()
    LOGGER.info(
        "%s done, on %d scans not trained on: %s",
        place.name,
        len(scans),
        ", ".join(f"{name} error {error:.3g}" for name, error in errors),
    )
    return table


def final_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the network that is kept: of the second stage, if there are two."""
    if not recipe.refine_years:
        return recipe
    card, output = dict(recipe.card), recipe.card["output"]
    first = card["architecture"]
    card["architecture"] = {
        "id": "refined",
        "parameters": {
            "first": first,
            "second": with_outputs(first, 2),
            "first_output": {name: output[name] for name in ("lower", "width", "n_bins")},
            "step": recipe.refine_years,
        },
    }
    card["output"] = {"coding": "scalar", "scale": 1.0, "offset": 0.0, "unit": output["unit"]}
    return dataclasses.replace(
        recipe,
        card=card,
        loss="mse" if recipe.loss == "mse" else "l1",
        freeze=len(blocks(build_network(first))),
        unfreeze_every=0,
    )


def _train(
    run: Run, split: Split, weights: Path | None, place: Path, seed: int
) -> tuple[torch.nn.Module, Task]:
    """One network, in one stage or two, or a mixture of several."""
    if run.recipe.card["architecture"]["id"] == "mixture":
        return _train_mixture(run, split, place, seed)
    start = Start(load_file(weights), run.keep_head) if weights else None
    if not run.recipe.refine_years:
        task = _task(run, run.recipe, start)
        return _learn(run, task, split, place, seed), task
    first = _task(run, dataclasses.replace(run.recipe, refine_years=0.0), start)
    network = train_network(first, split, folder=place / "first", seed=seed)
    stage = {f"first.{name}": value for name, value in network.state_dict().items()}
    task = _task(run, final_recipe(run.recipe), Start(stage))
    return train_network(task, split, folder=place, seed=seed), task


def _train_mixture(run: Run, split: Split, place: Path, seed: int) -> tuple[torch.nn.Module, Task]:
    """Every part on its own, as a finished file each, then all of them as one network."""
    card = run.recipe.card
    network = build_network(card["architecture"])
    whole = _task(run, run.recipe, None)
    for index, architecture in enumerate(card["architecture"]["parameters"]["parts"]):
        path = place / f"part-{index + 1}.safetensors"
        if not path.is_file():
            recipe = dataclasses.replace(run.recipe, card={**card, "architecture": architecture})
            task = dataclasses.replace(whole, recipe=recipe)
            part = _learn(run, task, split, place / f"part-{index + 1}", seed)
            with atomic_path(path) as temporary:
                save_file({k: v.contiguous() for k, v in part.state_dict().items()}, temporary)
        network.parts[index].load_state_dict(load_file(path))
    return network.eval(), whole


def _learn(run: Run, task: Task, split: Split, folder: Path, seed: int) -> torch.nn.Module:
    """Train by steps, or in closed form if the network can be."""
    network = build_network(task.recipe.card["architecture"])
    if isinstance(network, TissueLinear):
        return fit_ridge(
            network, task.pool, run.cohort.ages, split.train, run.cohort.units,
            mirror_axis=left_right_axis(run.recipe.card["input"]),
        )  # fmt: skip
    return train_network(task, split, folder=folder, seed=seed)


def _task(run: Run, recipe: Recipe, start: Start | None) -> Task:
    pool = _pool(run)
    parts = heads(recipe.card["output"])
    targets = encode(run.cohort, parts)
    objective = Objective(parts, recipe, targets)
    return Task(pool, targets, objective, recipe, run.cohort.ages, run.device, start)


def _pool(run: Run) -> Pool:
    return make_pool(run.cohort, run.recipe, run.pool_folder or run.folder, run.jobs)


def _split(run: Run, usable: np.ndarray, seed: int) -> Split:
    """Divide the people outside the test fold into those to learn from and those to stop by."""
    scans = np.flatnonzero(usable)
    units = [run.cohort.units[scan] for scan in scans]
    held = hold_out(units, balanced_by(run)[scans], run.recipe.validation_fraction, seed)
    return Split(train=scans[~held], validation=scans[held])


def _gathered(run: Run, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One row per scan: networks of a fold averaged, with the true values beside them."""
    parts = heads(final_recipe(run.recipe).card["output"])
    seeds = run.recipe.n_seeds
    folds = [
        average_tables(tables[fold * seeds : (fold + 1) * seeds], parts)
        for fold in range(run.recipe.n_folds)
    ]
    predicted = pd.concat(folds).set_index("scan").sort_index()
    cohort = run.cohort
    table = pd.DataFrame({"participant_id": cohort.people})
    table["image"] = [path.name for path in cohort.paths]
    table["fold"] = run.folds + 1
    if "sex" in cohort.facts and not any(head.name == "sex" for head in parts):
        table["sex"] = cohort.texts("sex")
    if not any(head.name == "age" for head in parts):
        table["age"] = cohort.ages
    for head in parts:
        classes = head.coding == "classes"
        table[head.name] = cohort.texts(head.name) if classes else cohort.values(head.name)
    return table.join(predicted).sort_values(["age", "participant_id"], ignore_index=True)


def _claim(run: Run) -> None:
    """Note what is trained here; refuse to mix two trainings in one folder."""
    cohort, recipe = run.cohort, run.recipe
    facts: dict[str, Any] = {
        "card": recipe.card,
        "training": recipe.choices(),
        "people": list(cohort.people),
        "units": list(cohort.units),
        "targets": np.nan_to_num(encode(cohort, heads(recipe.card["output"])), nan=-1).tolist(),
        "start": [hashlib.sha256(path.read_bytes()).hexdigest() for path in run.start],
    }
    path = Path(run.folder) / "training.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != facts:
        raise DataError(
            f"{run.folder} holds a training with another recipe or other people. "
            "Choose another output folder, or empty this one."
        )
    write_json(path, facts)


def _show_progress() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
