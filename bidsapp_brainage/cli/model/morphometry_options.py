"""Options of ``brainage-model {predict-table,train-table}``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bidsapp_brainage.cli.model import morphometry
from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.morphometry.names import AUTO, EMBEDDED, PARCELLATIONS
from bidsapp_brainage.settings import all_options

_PREDICT = """\
Brain age, interval, flags and what every region adds, from results of recon-all, FastSurfer or
fMRIPrep (sourcedata/freesurfer), or from tables of them. No image is read.

  brainage-model predict-table SUBJECTS_DIR OUT --age-file participants.tsv
  brainage-model predict-table aseg.tsv lh.tsv rh.tsv OUT --model mine.json
  bidsapp-brainage BIDS_DIR OUT group
"""
_TRAIN = """\
Predict everybody by a model that left the person's dataset out, print the errors, then fit the
model to all and write card and weights with intervals.

  brainage-model train-table morphometry.tsv.gz OUT --name mine --scanner-column dataset
  brainage-model predict-table SUBJECTS_DIR RESULTS --model OUT/mine.json
"""


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    _add_predict(subparsers)
    _add_train(subparsers)


def _add_predict(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "predict-table",
        help="brain age from FreeSurfer or FastSurfer results, without an image",
        description=_PREDICT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT",
        help="folder of results, or tables (TSV) with a row per person",
    )  # fmt: skip
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the derivatives")
    parser.add_argument("--model", default=EMBEDDED, help="name, or a card (default: %(default)s)")
    parser.add_argument(
        "--parcellation", choices=(AUTO, *PARCELLATIONS), default=AUTO,
        help="of the cortex, of folders (default: the first that is there)",
    )  # fmt: skip
    parser.add_argument(
        "--bids-dir", type=Path, metavar="FOLDER", help="dataset with participants.tsv for ages"
    )
    for name in ("age_file", "age_column", "participant_label"):
        add_option(parser, all_options()[name])
    parser.set_defaults(handler=morphometry.predict_table)


def _add_train(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train-table",
        help="train a model of regional morphometry on a table of yours",
        description=_TRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("table", type=Path, metavar="TABLE", help="participant_id, age, datasets and measures")
    add("out", type=Path, metavar="OUT", help="folder for card and weights")
    add("--name", required=True, help="of the model: letters and digits")
    add("--architecture", choices=("linear", "covariance"), default="linear",
        help="ridge regression, or coVariance networks (default: %(default)s)")  # fmt: skip
    add("--scanner-column", required=True, help="column of what is left out together")
    add("--parts", type=int, default=0, help="leave datasets out in so many parts (0: each alone)")
    add("--members", type=int, default=3, help="coVariance networks (default: %(default)s)")
    add("--equal-weights", action="store_true", help="do not balance ages")
    add("--licence", default="", help="of the new weights, for the card")
    add("--cohort-name", default="", help="who the people are, for the card")
    add("--parcellation", default="desikan", help="of the table, for the card")
    parser.set_defaults(handler=morphometry.train_table)
