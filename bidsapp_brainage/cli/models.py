"""``brainage-model``: what models there are, and how to get, check and train them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsapp_brainage.cli.model import (
    morphometry_options,
    pruning,
    registry,
    segmentation,
    selftest,
    training_options,
)
from bidsapp_brainage.cli.parser import exit_codes
from bidsapp_brainage.cli.surroundings import settle
from bidsapp_brainage.errors import BrainageError, ExitCode
from bidsapp_brainage.settings import in_flags

PROGRAM = "brainage-model"
_EPILOG = """\
examples:
  brainage-model list
  brainage-model selftest
  brainage-model fetch sfcnukb
  brainage-model import run_20190719_00_epoch_best_mae.p --card sfcnukb
  bidsapp-brainage BIDS_DIR OUT participant --model sfcnukb

Only fetch uses the network.
"""
_EXIT_CODES = (
    ExitCode.DONE,
    ExitCode.INCOMPLETE,
    ExitCode.USAGE,
    ExitCode.DATA,
    ExitCode.NO_INPUT,
    ExitCode.RESOURCE,
    ExitCode.DEVIATION,
    ExitCode.NO_PROGRAM,
    ExitCode.INTERRUPTED,
)


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``brainage-model``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Models of bidsapp-brainage: the one that comes with it, published ones to "
        "fetch, and your own.",
        epilog=_EPILOG + exit_codes(*_EXIT_CODES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    registry.add_commands(subparsers)
    selftest.add_commands(subparsers)
    training_options.add_commands(subparsers)
    pruning.add_commands(subparsers)
    segmentation.add_commands(subparsers)
    morphometry_options.add_commands(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = build_parser()
    options = parser.parse_args(argv)
    settle(Path.cwd())
    try:
        code = int(options.handler(options))
        sys.stdout.flush()
        return code
    except BrainageError as error:
        print(f"{PROGRAM}: error: {_in_flags(str(error), parser)}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _in_flags(text: str, parser: argparse.ArgumentParser) -> str:
    """A message with the flags of the subcommands, else of the app, instead of fields."""
    commands: Any = next(action.choices for action in parser._actions if action.choices)
    flags = {
        action.dest: flag
        for command in commands.values()
        for action in command._actions
        for flag in action.option_strings
        if "_" not in flag
    }
    return in_flags(text, **flags)


if __name__ == "__main__":
    sys.exit(main())
