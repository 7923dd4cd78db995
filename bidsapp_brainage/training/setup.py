"""From what a user asks for to a recipe: architecture, targets, names."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.networks import ARCHITECTURES, build_network
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.outputs import AGE, heads, n_outputs
from bidsapp_brainage.model.specs import Architecture
from bidsapp_brainage.model.weights.files import save_weights
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.data.targets import Target, make_output
from bidsapp_brainage.training.fitting.freezing import blocks
from bidsapp_brainage.training.recipe import Augmentation, Recipe, bundled_recipe, load_recipe

LOGGER = logging.getLogger(__name__)
DEFAULT_RECIPE = "sfcn2mm"
REGIONS = "regionlinear"
#: Architectures that have no parameters that are usual.
DESCRIBED = ("mixture", "branches", "tissuelinear", "patches", REGIONS, "headvolumes", "refined")
LEARNABLE = 0  # part of a mixture that learns by steps; the others are fitted beside it
LICENCE = "not stated: ask whoever trained the model"
AGE_BINS = {"coding": "bins", "lower": 0.0, "width": 2.0, "n_bins": 50, "unit": "year"}
OUTPUT_PARAMETERS = ("n_bins", "n_outputs", "n_classes", "num_classes", "out_channels")
#: Fields of a card that its training did not find out.
_FIXED = (
    "schema_version", "description", "architecture", "input", "output", "prediction", "licence",
    "citation", "citation_keys",
)  # fmt: skip
#: Gentler than training from scratch: what is there shall be bent, not replaced.
FINE_TUNING = {"epochs": 30, "learning_rate": 5e-4}


def read_recipe(name: str | None) -> Recipe:
    """A recipe by bundled name or by path of its JSON file; None: the default one."""
    if name and name.endswith(".json"):
        return load_recipe(Path(name))
    return load_recipe(bundled_recipe(name or DEFAULT_RECIPE))


def training_recipe(
    recipe: Recipe,
    cohort: Cohort,
    targets: tuple[Target, ...],
    *,
    architecture: str | None,
    name: str | None,
    licence: str | None,
    own: bool,
    changes: Mapping[str, object],
) -> Recipe:
    """A recipe for somebody's own people and targets.

    Grid, scaling and the optimiser's choices are those of `recipe`, but for `changes` (fields that
    are None are ignored). Another `architecture` (an id) takes its default parameters; None keeps
    the recipe's. `own` says that the user wrote the recipe, so its description, licence and
    citation are theirs.

    Raises
    ------
    UsageError
        The recipe cannot be changed so.
    """
    card = dict(recipe.card)
    card["output"] = make_output(targets, cohort, _age_bins(card))
    wanted: Architecture = card["architecture"]
    if heads(card["output"]) != heads(recipe.card["output"]) and wanted["id"] != "branches":
        wanted = learnable(wanted)
    if architecture and architecture != wanted["id"]:
        wanted = {"id": architecture, "parameters": {}}
    card["architecture"] = with_outputs(wanted, n_outputs(heads(card["output"])))
    words = ", ".join(target.name for target in targets)
    card["name"] = name or (card["name"] if own else _default_name(wanted["id"], targets))
    if not own:
        card["description"] = f"{wanted['id']} trained for {words} with brainage-model train."
        card["licence"] = LICENCE
        card["citation"], card["citation_keys"] = [], []
        card["version"] = "1.0.0"
    if licence:
        card["licence"] = licence
    return _changed(recipe, card, changes)


def tuning_recipe(
    source: ModelCard,
    cohort: Cohort,
    targets: tuple[Target, ...],
    *,
    name: str | None,
    changes: Mapping[str, object],
) -> Recipe:
    """A recipe that continues from a trained card.

    The training choices are those on the card (``training.recipe``) where it has them, with fewer
    epochs and a lower learning rate unless ``changes`` says otherwise.
    """
    choices = {**_choices_of(source), "refine_years": 0.0, **FINE_TUNING}
    raw = source.raw
    kept = ("schema_version", "input", "licence", "citation", "citation_keys")
    card = {key: raw[key] for key in kept if key in raw}
    card["output"] = make_output(targets, cohort, _age_bins(raw))
    wanted = learnable(raw["architecture"])
    card["architecture"] = with_outputs(wanted, n_outputs(heads(card["output"])))
    words = ", ".join(target.name for target in targets)
    card["name"] = name or _default_name(source.name, targets)
    card["version"] = "1.0.0"
    card["description"] = f"{source.name} {source.version}, fine-tuned for {words}."
    card["licence"] = f"derived from {source.name}: {source.licence}"
    if card["name"] == source.name:
        raise UsageError(f"`name` {source.name} is the model that you start from: choose another.")
    return _changed(Recipe(card=card, **choices), card, changes)


def recipe_of(source: ModelCard, name: str) -> Recipe:
    """The recipe that a card was trained by, for a model of another `name`.

    Raises
    ------
    UsageError
        The card does not tell, or the name is its own.
    """
    if not source.training.get("recipe"):
        raise UsageError(
            f"The card of {source.name} has no `training.recipe`, so nobody knows which people "
            "each of its networks left out: give a model of brainage-model train."
        )
    if name == source.name:
        raise UsageError(f"`name` {source.name} is the model that you start from: choose another.")
    card = {key: source.raw[key] for key in _FIXED if key in source.raw}
    return Recipe(card={**card, "name": name, "version": "1.0.0"}, **_choices_of(source))


def _choices_of(source: ModelCard) -> dict[str, Any]:
    """What the card says about its training, as fields of a recipe; nothing is frozen."""
    fields = {field.name for field in dataclasses.fields(Recipe)} - {"card", "augmentation"}
    known = source.training.get("recipe", {})
    choices = {key: value for key, value in known.items() if key in fields}
    bounds = {field.name for field in dataclasses.fields(Augmentation)}
    shifts = {k: v for k, v in known.get("augmentation", {}).items() if k in bounds}
    augmentation = Augmentation(**shifts)
    return {**choices, "augmentation": augmentation, "freeze": 0, "unfreeze_every": 0}


def with_views(recipe: Recipe) -> Recipe:
    """The same, for a model that predicts from mirrored and shifted brains, too."""
    views = {"tta": {"flip": True, "shift_voxels": 1}}
    return dataclasses.replace(recipe, card={**recipe.card, "prediction": views})


def warn_of_other_folds(card: ModelCard, recipe: Recipe) -> None:
    """Say in the log when a model that training starts from was made with other folds."""
    made = card.training.get("recipe", {})
    if (made.get("n_folds"), made.get("seed")) != (recipe.n_folds, recipe.seed):
        LOGGER.warning(
            "%s was not made with these folds: if it was trained on people among yours, networks "
            "start from weights that have seen those they are tested on",
            card.name,
        )


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


def write_start(card: ModelCard, folder: Path) -> tuple[Path, ...]:
    """Write a model's weights, of whatever format, as safetensors to start from.

    Raises
    ------
    UsageError
        The model is an ONNX file, which cannot learn.
    """
    if card.architecture["id"] not in ARCHITECTURES:
        raise UsageError(f"{card.name} is an {card.architecture['id']} file and cannot learn.")
    if card.architecture["id"] == REGIONS:
        raise UsageError(
            f"{card.name} is fitted in closed form: train it anew on your people (brainage-model "
            "train) instead of fine-tuning it."
        )
    paths = []
    for index, member in enumerate(load_members(card)):
        paths.append(folder / f"member-{index + 1}.safetensors")
        part = member.parts[LEARNABLE] if isinstance(member, Mixture) else member
        save_weights(part, paths[-1])
    return tuple(paths)


def keeps_target(source: ModelCard, recipe: Recipe) -> bool:
    """Whether a fine-tuned network predicts just what the one it starts from does."""
    return bool(source.output == recipe.card["output"])


def learnable(architecture: Architecture) -> Architecture:
    """The part of a mixture that can learn other targets; any other architecture as it is."""
    if architecture["id"] != "mixture":
        return architecture
    return architecture["parameters"]["parts"][LEARNABLE]


def with_outputs(architecture: Architecture, count: int) -> Architecture:
    """An architecture whose network gives ``count`` numbers.

    Raises
    ------
    ResourceError
        Its id is unknown.
    UsageError
        Its number of outputs cannot be chosen.
    """
    identity, parameters = architecture["id"], dict(architecture["parameters"])
    maker = ARCHITECTURES.get(identity)
    if maker is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ResourceError(f"`architecture` '{identity}' is unknown. Known: {known}.")
    if identity in DESCRIBED and not parameters:
        raise UsageError(
            f"The architecture {identity} cannot be given by name alone: describe it in a recipe "
            "(`recipe` FILE.json)."
        )
    if identity == "mixture":
        return architecture  # its parts say how many
    if identity == "branches":
        branches = {name: with_outputs(part, count) for name, part in parameters.items()}
        return {**architecture, "parameters": branches}
    accepted = inspect.signature(maker).parameters
    for parameter in OUTPUT_PARAMETERS:
        if parameter in accepted:
            parameters[parameter] = count
            break
    else:
        raise UsageError(f"The architecture {identity} cannot be given {count} outputs.")
    chosen: Architecture = {"id": identity, "parameters": parameters}
    if "text" in architecture:
        chosen["text"] = architecture["text"]
    build_network(chosen)  # faults in the parameters are said now, not in a later process
    return chosen


def _age_bins(card: Mapping[str, Any]) -> dict[str, Any]:
    """How the card codes age in bins; two-year bins from 0 to 100 if it does not."""
    for head in heads(card["output"]):
        if head.name == AGE and head.coding == "bins":
            return {name: getattr(head, name) for name in AGE_BINS}
    return dict(AGE_BINS)


def _default_name(stem: str, targets: tuple[Target, ...]) -> str:
    words = "".join(target.name.capitalize() for target in targets)
    return "".join(letter for letter in stem + words if letter.isalnum() and letter.isascii())


def _changed(recipe: Recipe, card: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
    wanted = {key: value for key, value in changes.items() if value is not None}
    names = [head.name for head in heads(card["output"])]
    if wanted.get("refine_years") and (names != [AGE] or card["output"].get("coding") != "bins"):
        raise UsageError(
            "`refine_years` corrects an age over bins: use it with `target` age alone."
        )
    try:
        return dataclasses.replace(recipe, card=dict(card), **wanted)
    except ValueError as error:
        raise UsageError(str(error)) from error
