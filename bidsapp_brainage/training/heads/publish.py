"""From trained U-Nets to a card: ages from raw heads, each predicted without that person."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.io import write_json, write_tsv
from bidsapp_brainage.model.card_checks import check_card
from bidsapp_brainage.model.networks.headvolumes import HeadVolumes
from bidsapp_brainage.training.crossval import SCANNER, CrossValidation
from bidsapp_brainage.training.fitting.regions import fit_regions, head_features
from bidsapp_brainage.training.publish import card_facts, weight_entry

from .trunks import save_small, unseen_by

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trunk:
    """A U-Net with the people (``participant_id``) that it learned from."""

    network: HeadVolumes
    people: tuple[str, ...]


def publish_heads(
    run: CrossValidation, trunks: Sequence[Trunk], *, name: str, models_dir: Path
) -> Path:
    """Fit ages on the features of every U-Net, and write weights, card and predictions.

    Parameters
    ----------
    run : CrossValidation
        Recipe and people, with their folds; its networks are not trained.
    trunks : sequence of Trunk
        Trained U-Nets.
    name : str
        Of the people, for the card.
    models_dir : Path
        For ``<model>.json``, its weights and ``<model>_oof.tsv``.

    Returns
    -------
    Path
        Of the card.
    """
    features = [
        head_features(trunk.network, run.pool(), np.arange(len(run.cohort))) for trunk in trunks
    ]
    table = left_out(run, trunks, features)
    label = run.recipe.label
    weights = []
    for number, (trunk, found) in enumerate(zip(trunks, features, strict=True), start=1):
        network = _fitted(run, trunk, found, np.arange(len(run.cohort)))
        path = models_dir / f"{label}_part-{number}.safetensors"
        save_small(network, path)
        weights.append(weight_entry(path))
    raw = {**run.recipe.card, "weights": weights, **card_facts(run, name, table)}
    raw["metrics"]["cross_validation"]["note"] = (
        "Every person predicted by U-Nets and weights that had not seen them, people of a scanner "
        "with fewer people without their scanner; raw predictions. The shipped model averages "
        f"{len(trunks)} networks."
    )
    raw["training"]["inputs"] = {"desc": None, "suffix": "T1w"}
    path = models_dir / f"{label}.json"
    check_card(raw, path)
    write_json(path, raw)
    write_tsv(path.with_name(f"{label}_oof.tsv"), table)
    return path


def left_out(
    run: CrossValidation, trunks: Sequence[Trunk], features: Sequence[np.ndarray]
) -> pd.DataFrame:
    """Predictions from what had not seen the person: a row per scan for which there is such.

    U-Nets that learned from a person do not count for that person, and the weights of the others
    are fitted without the person's fold.
    """
    cohort = run.cohort
    unseen = unseen_by(cohort.people, [trunk.people for trunk in trunks])
    ages = np.full((len(trunks), len(cohort)), np.nan)
    for fold in range(run.n_folds):
        tested = np.flatnonzero(run.folds == fold)
        for number, (trunk, found) in enumerate(zip(trunks, features, strict=True)):
            network = _fitted(run, trunk, found, np.flatnonzero(run.folds != fold))
            for scan in tested:
                if number in unseen[scan]:
                    ages[number, scan] = network.years(found[scan])
    head = run.recipe.card["output"]
    limits = head["lower"], head["lower"] + head["width"] * head["n_bins"]
    table = pd.DataFrame({"participant_id": cohort.people})
    table["image"] = [path.name for path in cohort.paths]
    table["fold"] = run.folds + 1
    table[SCANNER] = cohort.texts(run.recipe.scanner_column)
    table["sex"] = cohort.texts("sex")
    table["age"] = cohort.ages
    table["predicted_age"] = pd.DataFrame(ages).mean().clip(*limits)
    table["predicted_age_sd"] = run.recipe.card["architecture"]["parameters"].get("label_sd", 3.0)
    known = table.dropna(subset="predicted_age")
    return known.sort_values(["age", "participant_id"], ignore_index=True)


def _fitted(
    run: CrossValidation, trunk: Trunk, features: np.ndarray, scans: np.ndarray
) -> HeadVolumes:
    """The network of a U-Net with weights fitted on these scans."""
    network = copy.deepcopy(trunk.network)
    cohort = run.cohort
    people = [cohort.units[scan] for scan in scans]
    fit_regions(network, features[scans], cohort.ages[scans], people, cohort.simulated[scans])
    return network
