"""``brainage-model``: what models there are, and how to get, check and train them."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

PROGRAM = "brainage-model"
# Modules that add subcommands through ``add_commands(subparsers)``. They import nothing heavy:
# a subcommand names its handler as "module:function" in ``set_defaults(handler=...)``.
_COMMANDS = ("bidsapp_brainage.cli.model_registry", "bidsapp_brainage.cli.model_training")

_EPILOG = """\
examples:
  brainage-model list
  brainage-model fetch sfcnukb
  bidsapp-brainage BIDS_DIR OUT participant --model sfcnukb

Only fetch uses the network. Exit codes: 0 done; 2 usage; 65 unusable data; 72 model or weights
missing or altered; 127 library missing.
"""


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``brainage-model``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Models of bidsapp-brainage: the one that comes with it, published ones to "
        "fetch, and your own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in filter(importlib.util.find_spec, _COMMANDS):
        importlib.import_module(module).add_commands(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    from bidsapp_brainage.errors import BrainageError

    parser = build_parser()
    options = parser.parse_args(argv)
    try:
        code = _handler(options.handler)(options)
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
        return 130


def _in_flags(text: str, parser: argparse.ArgumentParser) -> str:
    """A message with the flags of the subcommands, else of the app, instead of fields."""
    from bidsapp_brainage.settings import in_flags

    commands: Any = next(action.choices for action in parser._actions if action.choices)
    actions = (action for command in commands.values() for action in command._actions)
    flags = {action.dest: action.option_strings[-1] for action in actions if action.option_strings}
    return in_flags(text, **flags)


def _handler(name: str) -> Callable[[argparse.Namespace], int]:
    """Import ``module:function`` only now, so that ``--help`` stays fast."""
    module, _, function = name.partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
    return found


if __name__ == "__main__":
    sys.exit(main())
