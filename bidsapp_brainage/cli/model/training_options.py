"""Options of ``brainage-model {train,finetune,evaluate,features,calibrate}``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bidsapp_brainage.cli.model import training
from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.model.specs import CALIBRATIONS
from bidsapp_brainage.settings import all_options
from bidsapp_brainage.training.recipe import recipe_options

_CALIBRATE = """\
Conformal 95 % intervals and the bias line from predictions of people that the networks did not
learn from. Prints the coverage on every scanner, calibrated without that scanner, and writes
calibration, bias_correction and (with --features) reference on the card.

  brainage-model features MODEL siteA=DERIVATIVES_A siteB=DERIVATIVES_B --out features.tsv
  brainage-model calibrate MODEL --oof left_out.tsv --features features.tsv --out FOLDER
"""


def add_commands(commands: Any) -> None:
    """Add the commands of training to the parser of ``brainage-model``.

    Parameters
    ----------
    commands : argparse subparsers
        Each command sets ``handler`` to a function that takes the parsed options and returns an
        exit code.
    """
    _add_train(commands)
    _add_finetune(commands)
    _add_evaluate(commands)
    _add_features(commands)
    _add_calibrate(commands)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train networks on your own people",
        description="Cross-validate over people and write weights, card, out-of-fold predictions "
        "and learning curves. Give the same command again to go on after a kill.",
    )
    parser.add_argument("--architecture", metavar="ID", help="default: the recipe's")
    parser.add_argument("--recipe", help="bundled name, or a JSON file (docs: training)")
    parser.add_argument("--licence", help="of the new weights, for the card")
    _add_recipe(parser, "refine_years")
    _add_learning(parser, target="age")
    parser.set_defaults(handler=training.train)


def _add_finetune(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune",
        help="adapt a trained network to another target, modality or age span",
        description="Start from the weights of a card, and compare with training from scratch "
        "under the same folds.",
    )
    _add_model(parser)
    _add_recipe(parser, "freeze", "unfreeze_every")
    parser.add_argument(
        "--no-scratch",
        dest="scratch",
        action="store_false",
        help="do not train from scratch for comparison",
    )
    _add_learning(parser, target=None)
    parser.set_defaults(handler=training.finetune)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="accuracy on people by cohort, sex and decade",
        description="Accuracy of raw predictions with bootstrap intervals over participants, "
        "beside what answering everybody with the mean age would give.",
    )
    _add_model(parser, more="; - with tables of predictions")
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="[NAME=]INPUTS",
        help="derivatives, or a TSV with participant_id, age, predicted_age",
    )
    parser.add_argument("--oof", type=Path, metavar="TSV", help="out-of-fold predictions")
    parser.add_argument("--out", type=Path, help="folder for the tables")
    parser.add_argument(
        "--robustness",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "INPUTS"),
        help="other versions of the images of the "
        "first INPUTS (repeated, rotated, noisy ...): print how much predictions "
        "change; repeatable",
    )
    parser.add_argument(
        "--combinations",
        action="store_true",
        help="compare all combinations of modalities on the same people: those of a model with a "
        "branch for each, or several INPUTS, the predictions of a model of one modality each",
    )
    parser.add_argument("--n-boot", type=int, default=2000, help="bootstrap resamples")
    _add_images(parser)
    _add_machine(parser)
    parser.set_defaults(handler=training.evaluate, target=None)


def _add_features(commands: Any) -> None:
    parser = commands.add_parser(
        "features",
        help="what images are compared by with those of the training people",
        description="Write one row per scan: statistics of the network's input, fractions of "
        "tissue (from *_volumes.tsv beside the input) and features of the network's encoder. "
        "`calibrate --features` makes the card's reference of it.",
    )
    _add_model(parser)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="[NAME=]INPUTS",
        help="derivatives of the training people, a folder and name for every scanner",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="TSV", help="table to write")
    _add_images(parser)
    _add_machine(parser)
    parser.set_defaults(handler=training.features, target=None)


def _add_calibrate(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="fit prediction intervals and the age-bias line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_CALIBRATE,
    )
    _add_model(parser)
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="?",
        help="derivatives of people that the model did not learn from",
    )
    parser.add_argument(
        "--oof",
        nargs="+",
        metavar="[NAME=]TSV",
        help="predictions of left-out people instead: participant_id, age, predicted_age, "
        "predicted_age_sd (of the distribution, as the network gave it); optional the column of "
        "--scanner-column, training_distance, member_sd (SD of the members' ages)",
    )
    parser.add_argument(
        "--scanner-column",
        default="scanner",
        metavar="COLUMN",
        help="column of these tables that names who was left out of training together (default: "
        "%(default)s); of several tables without it every one is a scanner, by its NAME",
    )
    parser.add_argument(
        "--features",
        type=Path,
        metavar="TSV",
        help="of the same people, from `features` with the same names of scanners: they become the "
        "card's reference, and the interval grows with the distance from it",
    )
    parser.add_argument(
        "--method",
        choices=("auto", *CALIBRATIONS),
        default="auto",
        help="interval as a multiple of the distribution's SD, equally wide for all, or growing "
        "with SD and distance from the training people (default: distance where distances are "
        "known, else which of the others fits better in cross-validation)",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for a copy of card and weights; default: change the card"
    )
    parser.add_argument("--cohort-name", help="of these people, for the card")
    _add_images(parser)
    _add_machine(parser)
    parser.set_defaults(handler=training.calibrate, target=None)


def _add_model(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("model", help=f"name of a model, or its card (.json){more}")
    add_option(parser, all_options()["models_dir"])


def _add_learning(parser: argparse.ArgumentParser, target: str | None) -> None:
    """Arguments that train and finetune share."""
    parser.add_argument("inputs", type=Path, help="derivatives of the participant level")
    parser.add_argument("out", type=Path, help="folder for the model and for resumable state")
    parser.add_argument(
        "--target",
        default=target,
        required=target is None,
        metavar="NAME[:KIND][,...]",
        help="columns of participants.tsv; KIND is "
        "bins, scalar, binary or classes (default: by what they hold)",
    )
    parser.add_argument("--name", help="of the new model: letters and digits")
    parser.add_argument("--cohort-name", help="as the card shall call the people")
    special = {"refine_years", "freeze", "unfreeze_every"}
    _add_recipe(parser, *(name for name in recipe_options() if name not in special))
    parser.add_argument(
        "--external",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "INPUTS", "PARTICIPANTS"),
        help="cohort for figures on the card only; repeatable",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="the model shall predict from the brain, its mirror image and shifts by a voxel",
    )
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    _add_images(parser)
    _add_machine(parser)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--participants",
        type=Path,
        metavar="TSV",
        help="table of people (default: of the raw dataset or of INPUTS)",
    )
    parser.add_argument(
        "--input-desc",
        metavar="LABEL",
        help="desc- of the images, if they are others than the app's",
    )
    parser.add_argument(
        "--input-suffix", metavar="SUFFIX", help="suffix of the images (T2w, FLAIR, ...)"
    )


def _add_recipe(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options that change the recipe; without them its own values hold."""
    known = recipe_options()
    for name in names:
        add_option(parser, known[name], help=known[name].help)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each network")
    add_option(parser, all_options()["device"], default="auto")
