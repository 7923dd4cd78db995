"""Subcommand ``prune`` of ``brainage-model``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bidsapp_brainage.cli.model.training import find_people, log_progress
from bidsapp_brainage.errors import UsageError

_DESCRIPTION = """\
Take channels away from the convolutional network of a model (an sfcn, alone or in a mixture), those
first that the loss needs least (Taylor expansion, Molchanov 2017), and write a card of the smaller
model with a table of size, time and error after every step. INPUTS are the people that the model
was trained on: each network is measured on those that its fold left out.

  brainage-model prune sfcn2mm INPUTS OUT --keep 0.5 --steps 5
"""


def add_commands(commands: Any) -> None:
    """Add the subcommand to the parser of ``brainage-model``."""
    parser = commands.add_parser(
        "prune",
        help="make a smaller network from a trained one",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="name or card file of the model")
    parser.add_argument("inputs", type=Path, metavar="INPUTS", help="inputs of its training people")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for card, weights and table")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.5,
        metavar="PART",
        help="of the channels; %(default)s",
    )
    parser.add_argument("--steps", type=int, default=5, help="importance anew in each; %(default)s")
    parser.add_argument(
        "--epochs", type=int, default=0, help="of learning after every step; default: none"
    )
    parser.add_argument(
        "--people", type=int, default=64, metavar="N",
        help="of the training people, to find the importance by; %(default)s",
    )  # fmt: skip
    parser.add_argument("--name", help="of the new model (default: the model's and `pruned`)")
    parser.add_argument("--cohort-name", help="of the people, for the card")
    parser.add_argument("--models-dir", type=Path, help="folder with further cards")
    parser.add_argument("--participants", type=Path, metavar="TSV", help="table of people")
    parser.add_argument("--input-desc", metavar="LABEL", help="desc- of the inputs")
    parser.set_defaults(handler=prune, input_suffix=None)


def prune(options: argparse.Namespace) -> int:
    """Prune, print the curve and write the card."""
    import torch

    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.training.pruning.publish import prepared, prune_and_publish
    from bidsapp_brainage.training.pruning.steps import Plan

    torch.set_num_threads(1)
    log_progress()
    card = find_card(options.model, options.models_dir)
    try:
        plan = Plan(options.keep, options.steps, options.people, options.epochs)
    except ValueError as error:
        raise UsageError(f"`{str(error).split()[0]}`: {error}") from error
    targets = [head.name for head in card.heads]
    cohort = find_people(options, card.name, card.input, targets, card)
    name = options.name or f"{card.name}pruned"
    pruning = prepared(card, cohort, plan, name=name, folder=options.out / "work")
    people = options.cohort_name or str(card.training.get("cohort", "unnamed people"))
    path, curve = prune_and_publish(pruning, options.out, people)
    print(curve.to_string(index=False, float_format="%.4g"))
    print(path)
    return 0
