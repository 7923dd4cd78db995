"""``bidsapp-brainage predict``: ages of images that are no BIDS dataset."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bidsapp_brainage.api.levels import (
    OUTPUT_DIR,
    BrainAges,
    options_of_images,
    predict,
    predict_all,
)
from bidsapp_brainage.catalogue.quantity import AGE
from bidsapp_brainage.cli.logs import LOGGER_NAME, configure_logging
from bidsapp_brainage.cli.parser import PROGRAM, Parser, add_options, exit_codes
from bidsapp_brainage.cli.signals import Terminated, sigterm_raises
from bidsapp_brainage.cli.surroundings import settle
from bidsapp_brainage.errors import BrainageError, ExitCode, UsageError
from bidsapp_brainage.io import is_disk_full
from bidsapp_brainage.settings import AnalysisLevel

LOGGER = logging.getLogger(LOGGER_NAME)
COMMAND = "predict"
_EPILOG = f"""\
examples:
  {PROGRAM} {COMMAND} t1.nii.gz --age 46
  {PROGRAM} {COMMAND} scans/ --people people.tsv -o ages --nprocs 4

The images go the way of those of a BIDS dataset, and all files of that way are written. Every other
option is explained by {PROGRAM} --help.

"""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line is one of this command, and not of a BIDS App.

    The latter names a level, `participant` or `group`; so a dataset may be called `predict`.
    """
    return list(arguments[:1]) == [COMMAND] and not set(get_args(AnalysisLevel)) & set(arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``bidsapp-brainage predict``."""
    parser = Parser(
        prog=f"{PROGRAM} {COMMAND}",
        description="Brain age from T1w images that are no BIDS dataset.",
        epilog=_EPILOG + exit_codes(*ExitCode),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="NIfTI image, or folder with images right in it",
    )
    parser.add_argument(
        "-o",
        "--output-dir",
        type=Path,
        metavar="DIR",
        default=Path(OUTPUT_DIR),
        help=f"root of the derivatives; made if needed (default: ./{OUTPUT_DIR})",
    )
    parser.add_argument(
        "--age", type=float, metavar="YEARS", help="age of the person, of one image"
    )
    parser.add_argument("--sex", metavar="{F,M,O}", help="sex of the person (one image)")
    parser.add_argument(
        "--people",
        type=Path,
        metavar="TABLE",
        help="TSV or CSV with a column file, and any of age, sex and site",
    )
    add_options(parser, list(options_of_images().values()))
    return parser


def main(arguments: Sequence[str]) -> int:
    """Predict, print one line for each image, and return the exit code.

    Parameters
    ----------
    arguments : sequence of str
        Without program and command.
    """
    options = vars(build_parser().parse_args(arguments))
    configure_logging(options.get("verbose", 0))
    try:
        settle(options.get("work_dir", options["output_dir"] / ".scratch"))
        with sigterm_raises():
            found = _predict(options)
    except BrainageError as error:
        LOGGER.error("%s", error)
        return error.exit_code
    except OSError as error:
        if not is_disk_full(error):
            raise
        LOGGER.error("The disk is full (%s): free space first.", error)
        return ExitCode.DISK_FULL
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Terminated:
        return ExitCode.TERMINATED
    _show(found)
    return ExitCode.INCOMPLETE if found.failed else ExitCode.DONE


def _predict(options: dict[str, Any]) -> BrainAges:
    images, people = options.pop("images"), options.pop("people", None)
    person = {name: options.pop(name) for name in ("age", "sex") if name in options}
    one = len(images) == 1 and not images[0].is_dir()
    if person and (people is not None or not one):
        raise UsageError("--age and --sex are of one image: for several give --people.")
    if one and people is None:
        return BrainAges((predict(images[0], **person, **options),), {})
    return predict_all(images, people=people, **options)


def _show(found: BrainAges) -> None:
    """Print a table for people and for programs."""
    from bidsapp_brainage.reports.codes import targets_text

    several = any(set(each.predictions["target"]) != {AGE} for each in found.results)
    more = "\tpredictions" if several else ""
    print(f"file\tpredicted_age\tci95_lower\tci95_upper\tgap\tverdict\treport{more}")
    for each in found.results:
        low, high = each.interval or (None, None)
        cells = (each.file, each.predicted_age, low, high, each.gap, each.verdict.level)
        targets = [targets_text(each.predictions.to_dict("records"))] if several else []
        print(
            *("n/a" if cell is None else cell for cell in cells), each.report(), *targets, sep="\t"
        )
    for error in found.failed.values():
        LOGGER.error("%s", error)
