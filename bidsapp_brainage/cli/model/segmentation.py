"""Subcommands ``train-segmentation``, ``train-heads`` and ``prepare`` of ``brainage-model``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the subcommands to the parser of ``brainage-model``."""
    _add_segmentation(commands)
    _add_heads(commands)
    _add_prepare(commands)


def _add_segmentation(commands: Any) -> None:
    parser = commands.add_parser(
        "train-segmentation",
        help="train the segmentation on label maps",
        description="Learn regions from images of random contrast, made from label maps (MUSE) of "
        "people that the app has preprocessed; print the overlap with the labels of people not "
        "learned from, and write card and weights. Give the same command again to go on.",
    )
    parser.add_argument("derivatives", type=Path, help="output of the participant level")
    parser.add_argument("labels", type=Path, help="folder of sub-*_dseg.nii.gz in T1w space")
    parser.add_argument("out", type=Path, help="folder for card, weights and resumable state")
    parser.add_argument("--steps", type=int, help="images to learn from (default: the recipe's)")
    parser.add_argument(
        "--leave-out", type=int, default=5, metavar="N", help="every Nth person is not learned from"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make images")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network")
    parser.set_defaults(handler=train_segmentation)


def _add_heads(commands: Any) -> None:
    parser = commands.add_parser(
        "train-heads",
        help="train a model of raw heads (for --level fast) on label maps",
        description="Learn the volumes of large regions from raw heads in random contrast, pose "
        "and field of view, with one network for each half of the people; then fit ages, predict "
        "everybody by what had not seen them, and write card and weights. Give the same command "
        "again to go on.",
    )
    parser.add_argument("labels", type=Path, help="folder of sub-*_dseg.nii.gz on the raw grid")
    parser.add_argument("inputs", type=Path, help="raw BIDS dataset with these people, and others")
    parser.add_argument("out", type=Path, help="folder for card, weights and resumable state")
    parser.add_argument("--recipe", help="bundled name, or a JSON file (default: %(default)s)")
    parser.add_argument("--participants", type=Path, metavar="TSV", help="table with the ages")
    parser.add_argument("--cohort-name", default="", help="of the people, for the card")
    parser.add_argument("--steps", type=int, help="images to learn from (default: the recipe's)")
    parser.add_argument("--part", type=int, choices=(1, 2), help="train only this half, and stop")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network")
    parser.set_defaults(handler=train_heads, recipe="fast4mm")


def _add_prepare(commands: Any) -> None:
    parser = commands.add_parser(
        "prepare",
        help="make the inputs of a new model from what the app made of people",
        description="For training with another recipe than that of the model the app ran with.",
    )
    parser.add_argument(
        "inputs",
        type=Path,
        help="output of the participant level; of a recipe for raw images the raw dataset",
    )
    parser.add_argument("out", type=Path, help="folder for the inputs, to give to train")
    parser.add_argument("--recipe", help="bundled name, or a JSON file (docs: training)")
    parser.add_argument(
        "--simulated",
        type=int,
        default=0,
        metavar="N",
        help="further versions of every image, as other scanners might show it",
    )
    parser.add_argument("--seed", type=int, help="of these versions (default: the recipe's)")
    parser.set_defaults(handler=prepare)


def train_segmentation(options: argparse.Namespace) -> int:
    """Pack people, train, measure, and write card and weights."""
    import torch

    from bidsapp_brainage.training.segmentation import fitting, publish
    from bidsapp_brainage.training.segmentation.subjects import pack_people

    torch.set_num_threads(options.threads)
    facts = publish.fixed_facts()
    people = pack_people(options.derivatives, options.labels, options.out / "people", facts)
    left_out = people[options.leave_out - 1 :: options.leave_out]
    names = [path.stem for path in left_out]
    recipe = fitting.Recipe(**({"steps": options.steps} if options.steps else {}))
    fitting.fit(options.out / "people", names, options.out, recipe, options.workers)
    network = publish.trained_network(options.out / "state.pt")
    table = publish.measured(network, left_out, recipe.seed)
    print(table.round(3).to_string(index=False))
    facts = publish.with_training(facts, recipe, n=len(people) - len(names), n_left_out=len(names))
    mean = publish.mean_tissue(path for path in people if path not in left_out)
    print(publish.publish(network, table, mean, facts, options.out))
    return 0


def train_heads(options: argparse.Namespace) -> int:
    """Train on heads with label maps, then fit ages and write the card."""
    import torch

    from bidsapp_brainage.segmentation.labels import muse_labels
    from bidsapp_brainage.training.crossval import CrossValidation
    from bidsapp_brainage.training.data.cohort import Source, find_cohort
    from bidsapp_brainage.training.heads.fitting import HeadRecipe, fit_heads
    from bidsapp_brainage.training.heads.publish import Trunk, publish_heads
    from bidsapp_brainage.training.heads.subjects import halves, pack_heads
    from bidsapp_brainage.training.heads.trunks import rounded
    from bidsapp_brainage.training.setup import read_recipe

    torch.set_num_threads(options.threads)
    recipe, steps = read_recipe(options.recipe), options.steps or HeadRecipe().steps
    people = pack_heads(options.inputs, options.labels, options.out / "people", muse_labels())
    trunks = []
    for number, group in enumerate(halves(people), start=1):
        if options.part in (None, number):
            place = options.out / f"part-{number}"
            network = fit_heads(group, place, recipe.card, HeadRecipe(steps=steps))
            trunks.append(Trunk(rounded(network), tuple(path.stem for path in group)))
    if options.part:
        return 0
    source = Source(recipe.label, suffix="T1w")
    cohort = find_cohort(options.inputs, source, options.participants)
    run = CrossValidation(cohort=cohort, recipe=recipe, folder=options.out / "work")
    name = options.cohort_name or options.inputs.resolve().name
    print(publish_heads(run, trunks, name=name, models_dir=options.out))
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Write the inputs and count them."""
    from bidsapp_brainage.model.specs import sees_raw_images
    from bidsapp_brainage.training.data.prepare import prepare_inputs, prepare_raw_inputs
    from bidsapp_brainage.training.setup import read_recipe

    recipe = read_recipe(options.recipe)
    task = options.inputs, options.out, recipe.card["input"], recipe.label
    if sees_raw_images(recipe.card["input"]):
        made = prepare_raw_inputs(*task)
    else:
        seed = recipe.seed if options.seed is None else options.seed
        made = prepare_inputs(*task, simulated=options.simulated, seed=seed)
    number = 0
    for number, path in enumerate(made, start=1):
        print(f"{number} {path.name}", flush=True)
    print(f"{number} inputs of {recipe.label} in {options.out}")
    return 0
