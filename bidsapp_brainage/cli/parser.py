"""The command line, made from the options of the settings.

An option that was not given leaves no trace in the namespace, so that a configuration file can
speak for it; the defaults stand in `bidsapp_brainage.settings` alone.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bidsapp_brainage import __version__
from bidsapp_brainage.errors import ExitCode
from bidsapp_brainage.options import Option
from bidsapp_brainage.settings import MODES, AnalysisLevel, all_options

PROGRAM = "bidsapp-brainage"

_EPILOG = """\
examples:
  bidsapp-brainage /data /out participant --participant-label 01 02 -w /scratch
  bidsapp-brainage /data /out group
  bidsapp-brainage predict t1.nii.gz --age 46    (images without BIDS: predict --help)

"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        """Tell and leave with the code for impossible command lines."""
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(ExitCode.USAGE)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``bidsapp-brainage``."""
    parser = Parser(
        prog=PROGRAM,
        description="Brain age from T1w MRI, with the contribution of each atlas region.",
        epilog=_EPILOG + exit_codes(*ExitCode),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"{PROGRAM} v{__version__}",
        help="show the version and exit",
    )
    _add_positionals(parser)
    add_options(parser, [option for option in all_options().values() if option.help])
    parser.add_argument(
        "--notrack",
        action="store_true",
        help="accepted so that scripts work; this app sends nothing anywhere",
    )
    return parser


def exit_codes(*codes: ExitCode) -> str:
    """One paragraph with the meaning of exit codes, for the help."""
    text = "; ".join(f"{code} {code.meaning}" for code in codes)
    return textwrap.fill(f"Exit codes: {text}.", 99)


def _add_positionals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids_dir", type=Path, help="root of the BIDS dataset (raw data)")
    parser.add_argument("output_dir", type=Path, help="root of the derivatives; made if needed")
    parser.add_argument(
        "analysis_level",
        nargs="+",
        choices=typing.get_args(AnalysisLevel),
        help="'participant' processes images; 'group' summarises what is in OUTPUT_DIR; both run "
        "one after the other",
    )


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Add options below their headings, in the order in which these come first."""
    for heading in dict.fromkeys(option.heading for option in options):
        group: Any = parser.add_argument_group(heading)
        if heading == MODES:
            group = group.add_mutually_exclusive_group()
        for option in options:
            if option.heading == heading:
                add_option(group, option)


def add_option(parser: Any, option: Option, **others: Any) -> None:
    """Add an option to a parser or a group.

    Parameters
    ----------
    parser : argparse.ArgumentParser or group
    option : Option
    **others
        Arguments of ``add_argument`` in the place of those of the option.
    """
    facts: dict[str, Any] = {"dest": option.name, "help": option.full_help}
    if option.counted:
        facts["action"] = "count"
    elif option.kind is bool:
        facts["action"] = argparse.BooleanOptionalAction if option.deniable else "store_true"
    else:
        facts |= {"type": _reader(option), "metavar": option.metavar}
        if option.several and not option.joined:
            facts["nargs"] = "+"
    facts |= others
    parser.add_argument(*option.spellings, **{**facts, "help": facts["help"].replace("%", "%%")})


def _reader(option: Option) -> Callable[[str], Any]:
    """Read one argument, in the manner of argparse."""

    def read(text: str) -> Any:
        try:
            return option.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
