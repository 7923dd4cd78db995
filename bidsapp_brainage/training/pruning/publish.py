"""A card of the pruned ensemble, with its curve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from bidsapp_brainage.io import write_tsv
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.weights.files import save_weights
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training.crossval import CrossValidation
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.publish import publish
from bidsapp_brainage.training.setup import recipe_of

from .channels import with_channels
from .steps import Plan, Pruning, member_with, norms, prune


def prepared(card: ModelCard, cohort: Cohort, plan: Plan, *, name: str, folder: Path) -> Pruning:
    """The pruning of a card on the people that it was trained on; nothing is computed.

    Raises
    ------
    UsageError
        The card does not tell how it was trained, its name is the new one, or it has nothing that
        can be pruned.
    """
    recipe = recipe_of(card, name)
    if not plan.epochs:
        recipe = replace(recipe, copies=0)
    pruning = Pruning(card, CrossValidation(cohort, recipe, folder, pool_folder=folder), plan)
    with_channels(card.architecture, ())  # says now if there is nothing to prune
    return pruning


def prune_and_publish(pruning: Pruning, out: Path, cohort_name: str) -> tuple[Path, pd.DataFrame]:
    """Prune; write card, weights, out-of-fold predictions and ``<name>_pruning.tsv`` to `out`.

    The card has error, bias line and intervals of the pruned networks, and no ``reference``, since
    the features of the training people are those of the old networks. Its training is told by the
    old card's recipe.
    """
    curve, networks, table = prune(pruning)
    card, run = pruning.card, pruning.run
    final = pruning.folder / "final"
    channels = [norm.num_features for norm in norms(networks[0])]
    kept = f"{sum(channels)} of {sum(map(int, str(curve['channels'].iloc[0]).split()))}"
    fixed = {
        **run.recipe.card,
        "architecture": with_channels(card.architecture, channels),
        "description": f"{card.description} Pruned from {card.name} {card.version} by importance: "
        f"{kept} channels are left.",
    }
    run = replace(run, folder=final, recipe=replace(run.recipe, card=fixed))
    members = load_members(card)
    for (fold, seed), member, network in zip(run.members, members, networks, strict=True):
        whole = member_with(pruning, member, network)
        save_weights(whole, run.place(fold, seed) / "network.safetensors")
    path = publish(
        run,
        table,
        name=cohort_name,
        models_dir=out,
        external={},
        inputs=card.training.get("inputs") or {"desc": f"{card.name}input", "suffix": None},
    )
    write_tsv(Path(out) / f"{run.recipe.label}_pruning.tsv", curve)
    return path, curve
