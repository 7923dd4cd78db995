"""One network of a cross-validation, from its start to the predictions for people left out."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from bidsapp_brainage.io import read_tsv, write_tsv
from bidsapp_brainage.model.inputs.channels import channels
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.branches import Branches
from bidsapp_brainage.model.networks.headvolumes import HeadVolumes
from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.networks.patches import PatchLinear
from bidsapp_brainage.model.networks.regional import RegionLinear, for_brain, needs_regions
from bidsapp_brainage.model.outputs import AGE, heads
from bidsapp_brainage.model.plausibility.features import parts_of
from bidsapp_brainage.model.uncertainty import left_right_axis
from bidsapp_brainage.model.weights.files import save_weights
from bidsapp_brainage.stats.folds import hold_out
from bidsapp_brainage.training.data.cohort import load_regions, load_volume
from bidsapp_brainage.training.decode import MEMBER_SD, decode_table, join_branches
from bidsapp_brainage.training.fitting.loop import Split, Start, Task, predict_scans, train_network
from bidsapp_brainage.training.fitting.losses import Objective, encode
from bidsapp_brainage.training.fitting.patches import fit_patches, keep_patch_ages
from bidsapp_brainage.training.fitting.regions import fit_regions, head_features, region_fractions
from bidsapp_brainage.training.fitting.ridge import fit_ridge
from bidsapp_brainage.training.heads.trunks import take_trunk
from bidsapp_brainage.training.recipe import Recipe
from bidsapp_brainage.training.setup import final_recipe

if TYPE_CHECKING:
    from bidsapp_brainage.training.crossval import CrossValidation

LOGGER = logging.getLogger(__name__)


def train_member(run: CrossValidation, fold: int, seed: int) -> pd.DataFrame:
    """Train one network (or read its results) and predict the people that its fold left out."""
    place = run.place(fold, seed)
    results = place / "oof.tsv"
    if results.is_file():
        return read_tsv(results)
    torch.set_num_threads(run.threads)
    tested = run.folds == fold
    number = run.recipe.seed + fold + 1000 * seed
    split = _split(run, ~tested, run.recipe.seed + fold)
    weights = run.start_of(fold, seed) if run.start else None
    scans = np.flatnonzero(tested)
    if run.is_branched:
        branched = _train_branches(run, split, place, number)
        save_weights(branched, place / "network.safetensors")
        table = _branch_answers(run, branched, scans)
    else:
        network, task = _train(run, split, weights, place, number)
        save_weights(network, place / "network.safetensors")
        if isinstance(network, PatchLinear):
            keep_patch_ages(network, task.pool, scans, place)
        table = _answers(run, network, task, scans)
    table.insert(0, "scan", scans)
    write_tsv(results, table)
    (place / "checkpoint.pt").unlink(missing_ok=True)
    return read_tsv(results)  # as rounded as after an interruption


def _answers(
    run: CrossValidation, network: torch.nn.Module, task: Task, scans: np.ndarray
) -> pd.DataFrame:
    """What a network says about scans that it did not learn from; its errors are logged."""
    outputs = _outputs(run, network, task, scans)
    targets = torch.from_numpy(task.targets[scans]).float()
    errors = task.objective.errors(outputs, targets).items()
    LOGGER.info(
        "%s: on %d scans not trained on: %s",
        run.recipe.label,
        len(scans),
        ", ".join(f"{name} error {error:.3g}" for name, error in errors),
    )
    table = decode_table(outputs, heads(task.recipe.card["output"]))
    return table.assign(**_disagreement(run, network, task, scans))


def _branch_answers(run: CrossValidation, network: Branches, scans: np.ndarray) -> pd.DataFrame:
    """What the branches say, and their mean over those whose image is there."""
    tables = {}
    for channel in channels(run.recipe.card["input"]):
        own, places = run.of_channel(channel)
        asked = np.flatnonzero(np.isin(places, scans))
        branch = network.branches[channel.name]
        table = _answers(own, branch, _task(own, own.recipe, None), asked)
        tables[channel.name] = table.set_index(places[asked]).reindex(scans).reset_index(drop=True)
    return join_branches(tables, heads(run.recipe.card["output"]))


def _outputs(
    run: CrossValidation, network: torch.nn.Module, task: Task, scans: np.ndarray
) -> torch.Tensor:
    """Outputs (n_scans, n_outputs) for original scans."""
    if not needs_regions(network):
        return predict_scans(network, task.pool, scans)
    rows = []
    for scan in scans:
        path = run.cohort.paths[scan]
        volume = load_volume(path, run.recipe.card["input"], prepared=run.cohort.prepared)
        (bound,) = for_brain([network], load_regions(path))
        with torch.inference_mode():
            rows.append(bound(torch.from_numpy(volume)[None, None]))
    return torch.cat(rows)


def _disagreement(
    run: CrossValidation, network: torch.nn.Module, task: Task, scans: np.ndarray
) -> dict[str, np.ndarray]:
    """SD of the ages that parts of a mixture give; nothing for other networks and targets."""
    parts = parts_of(network)
    name = f"predicted_{AGE}"
    tables = [
        decode_table(_outputs(run, part, task, scans), heads(task.recipe.card["output"]))
        for part in (parts if len(parts) > 1 else [])
    ]
    if not tables or name not in tables[0]:
        return {}
    return {MEMBER_SD: np.std([table[name] for table in tables], axis=0, ddof=1)}


def _train(
    run: CrossValidation, split: Split, weights: Path | None, place: Path, seed: int
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


def _train_mixture(
    run: CrossValidation, split: Split, place: Path, seed: int
) -> tuple[torch.nn.Module, Task]:
    """Every part on its own, as a finished file each, then all of them as one network."""
    card = run.recipe.card
    network = build_network(card["architecture"])
    assert isinstance(network, Mixture)
    whole = _task(run, run.recipe, None)
    for index, architecture in enumerate(card["architecture"]["parameters"]["parts"]):
        path = place / f"part-{index + 1}.safetensors"
        if not path.is_file():
            recipe = dataclasses.replace(run.recipe, card={**card, "architecture": architecture})
            task = dataclasses.replace(whole, recipe=recipe)
            part = _learn(run, task, split, place / f"part-{index + 1}", seed)
            save_weights(part, path)
        network.parts[index].load_state_dict(load_file(path))
    return network.eval(), whole


def _train_branches(run: CrossValidation, split: Split, place: Path, seed: int) -> Branches:
    """Every branch on the scans that have its image, as a finished file each."""
    network = build_network(run.recipe.card["architecture"])
    assert isinstance(network, Branches)
    for channel in channels(run.recipe.card["input"]):
        path = place / f"branch-{channel.name}.safetensors"
        if not path.is_file():
            own, places = run.of_channel(channel)
            among = {
                name: np.flatnonzero(np.isin(places, getattr(split, name)))
                for name in ("train", "validation")
            }
            part, _ = _train(own, Split(**among), None, place / path.stem, seed)
            save_weights(part, path)
        network.branches[channel.name].load_state_dict(load_file(path))
    return network.eval()


def _learn(
    run: CrossValidation, task: Task, split: Split, folder: Path, seed: int
) -> torch.nn.Module:
    """Train by steps, or in closed form if the network can be."""
    network = build_network(task.recipe.card["architecture"])
    if isinstance(network, PatchLinear):
        return fit_patches(network, task.pool, run.cohort.ages, split.train, run.cohort.units)
    if isinstance(network, TissueLinear):
        return fit_ridge(
            network, task.pool, run.cohort.ages, split.train, run.cohort.units,
            mirror_axis=left_right_axis(run.recipe.card["input"]),
        )  # fmt: skip
    if isinstance(network, HeadVolumes):
        take_trunk(network, seed)
        people = [run.cohort.units[scan] for scan in split.train]
        found = head_features(network, task.pool, split.train)
        real = np.zeros(len(found), dtype=bool)
        return fit_regions(network, found, run.cohort.ages[split.train], people, real)
    if isinstance(network, RegionLinear):
        cohort, scans = run.cohort, split.train
        return fit_regions(
            network, region_fractions(network, cohort, run.recipe.card["input"], scans),
            cohort.ages[scans], [cohort.units[scan] for scan in scans], cohort.simulated[scans],
        )  # fmt: skip
    return train_network(task, split, folder=folder, seed=seed)


def _task(run: CrossValidation, recipe: Recipe, start: Start | None) -> Task:
    parts = heads(recipe.card["output"])
    targets = encode(run.cohort, parts)
    objective = Objective(parts, recipe, targets)
    return Task(run.pool(), targets, objective, recipe, run.cohort.ages, run.device, start)


def _split(run: CrossValidation, usable: np.ndarray, seed: int) -> Split:
    """Divide the people outside the test fold into those to learn from and those to stop by."""
    scans = np.flatnonzero(usable)
    units = [run.cohort.units[scan] for scan in scans]
    held = hold_out(units, run.balanced_by[scans], run.recipe.validation_fraction, seed)
    return Split(train=scans[~held], validation=scans[held])
