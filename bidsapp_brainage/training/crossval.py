"""Cross-validation over people: networks per fold, and predictions of people not seen."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import write_json, write_tsv
from bidsapp_brainage.model.inputs.channels import Channel, alone, channels
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.stats.folds import assign_folds, scanner_folds
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.data.pool import Pool, make_pool
from bidsapp_brainage.training.decode import average_tables
from bidsapp_brainage.training.fitting.losses import encode
from bidsapp_brainage.training.fitting.member import train_member
from bidsapp_brainage.training.recipe import Recipe
from bidsapp_brainage.training.setup import final_recipe

#: Column of the table of predictions that says on which scanner people were.
SCANNER = "scanner"


@dataclass(frozen=True)
class CrossValidation:
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
        """Fold (0 ...) in which every scan is tested; families stay together.

        With a column of scanners, every scanner but the largest is a fold of its own.
        """
        cohort, recipe = self.cohort, self.recipe
        shape = recipe.n_folds, recipe.seed
        if not recipe.scanner_column:
            return assign_folds(cohort.units, self.balanced_by, *shape)
        scanners = cohort.texts(recipe.scanner_column)
        return scanner_folds(cohort.units, self.balanced_by, scanners, *shape)

    @property
    def n_folds(self) -> int:
        """Folds of people, and those of scanners that are left out whole."""
        return int(self.folds.max()) + 1 if self.recipe.scanner_column else self.recipe.n_folds

    @property
    def balanced_by(self) -> np.ndarray:
        """What folds are balanced by: age, or the first target where no age is known."""
        ages = self.cohort.ages
        if np.isfinite(ages).any():
            return ages
        return encode(self.cohort, heads(self.recipe.card["output"]))[:, 0]

    @property
    def is_branched(self) -> bool:
        """Whether the network has a branch for each of several channels."""
        return bool(self.recipe.card["architecture"]["id"] == "branches")

    def make_pools(self) -> None:
        """Make the scans and their augmented copies, of every channel."""
        if not self.is_branched:
            self.pool()
            return
        for channel in channels(self.recipe.card["input"]):
            self.of_channel(channel)[0].pool()

    def pool(self) -> Pool:
        """The scans and their augmented copies, made at the first call; of one channel."""
        return make_pool(self.cohort, self.recipe, self.pool_folder or self.folder, self.jobs)

    def of_channel(self, channel: Channel) -> tuple[CrossValidation, np.ndarray]:
        """The same for one branch, on the scans that have its image; and their places here."""
        card = self.recipe.card
        cohort, places = self.cohort.showing(channel.modality)
        own = {
            **card,
            "input": alone(card["input"], channel),
            "architecture": card["architecture"]["parameters"][channel.name],
        }
        return replace(self, cohort=cohort, recipe=replace(self.recipe, card=own)), places

    @property
    def members(self) -> list[tuple[int, int]]:
        """Fold and seed (both from 0) of every network."""
        seeds = range(self.recipe.n_seeds)
        return [(fold, seed) for fold in range(self.n_folds) for seed in seeds]

    def start_of(self, fold: int, seed: int) -> Path:
        """Weights that a network starts from: of the same fold, if there are as many folds."""
        per_fold = max(1, len(self.start) // self.n_folds)
        return self.start[(fold * per_fold + seed % per_fold) % len(self.start)]

    def place(self, fold: int, seed: int) -> Path:
        """Folder of one network."""
        return Path(self.folder) / f"fold-{fold + 1}_seed-{seed + 1}"


def cross_validate(run: CrossValidation) -> pd.DataFrame:
    """Train all networks and gather the predictions for the people that each fold left out.

    Returns
    -------
    DataFrame
        ``participant_id image fold``, ``scanner`` where the recipe names its column, then for
        every head its true value and what
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
    run.make_pools()  # before processes start, so that only one makes them
    tasks = [(run, fold, seed) for fold, seed in run.members]
    if run.jobs == 1:
        tables = [train_member(*task) for task in tasks]
    else:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(run.jobs, context, initializer=_show_progress) as pool:
            tables = list(pool.map(train_member, *zip(*tasks, strict=True)))
    table = gathered(run, tables)
    write_tsv(folder / "oof.tsv", table)
    return table


def from_scratch(run: CrossValidation, folder: Path) -> CrossValidation:
    """The same folds, recipe and people in another folder: random weights, nothing frozen."""
    recipe = replace(run.recipe, freeze=0, unfreeze_every=0)
    return replace(run, recipe=recipe, start=(), folder=folder)


def gathered(run: CrossValidation, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row per scan that is not simulated: networks of a fold averaged, and the true values.

    `tables` are those of the members, each with the number of the ``scan`` in its first column.
    """
    parts = heads(final_recipe(run.recipe).card["output"])
    seeds = run.recipe.n_seeds
    folds = [
        average_tables(tables[fold * seeds : (fold + 1) * seeds], parts)
        for fold in range(run.n_folds)
    ]
    predicted = pd.concat(folds).set_index("scan").sort_index()
    cohort = run.cohort
    table = pd.DataFrame({"participant_id": cohort.people})
    table["image"] = [path.name for path in cohort.paths]
    table["fold"] = run.folds + 1
    if run.recipe.scanner_column:
        table[SCANNER] = cohort.texts(run.recipe.scanner_column)
    if "sex" in cohort.facts and not any(head.name == "sex" for head in parts):
        table["sex"] = cohort.texts("sex")
    if not any(head.name == "age" for head in parts):
        table["age"] = cohort.ages
    for head in parts:
        table[head.name] = cohort.truth(head)
    table = table.join(predicted)[~cohort.simulated]
    return table.sort_values(["age", "participant_id"], ignore_index=True)


def _claim(run: CrossValidation) -> None:
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
