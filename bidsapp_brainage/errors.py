"""Errors that a user can act on, and the exit codes of the commands.

Every message names the file (or option) at fault and the remedy. A message names an option by its
field in backticks, for example `` `models_dir` ``: a program reads the name of an argument, and
the command line shows its own spelling. It prints the message without a traceback and exits with
``exit_code``.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes with their meaning; those above 2 are of ``sysexits.h`` and of shells."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Keep the meaning beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done"
    INCOMPLETE = 1, "some participants or reports failed"
    USAGE = 2, "the command line asks for something impossible"
    DATA = 65, "unusable data"
    NO_INPUT = 66, "nothing matches the selection"
    SOFTWARE = 70, "internal error"
    RESOURCE = 72, "template, atlas or weights missing or altered"
    DISK_FULL = 74, "disk full"
    DEVIATION = 76, "the self-test of a model gives other answers than the recorded ones"
    NO_PROGRAM = 127, "program or library missing"
    INTERRUPTED = 130, "interrupted"
    TERMINATED = 143, "terminated"


class BrainageError(Exception):
    """Base of all errors that this app raises on purpose."""

    exit_code = ExitCode.INCOMPLETE


class UsageError(BrainageError):
    """The command line asks for something impossible (unknown label, bad folder)."""

    exit_code = ExitCode.USAGE


class DataError(BrainageError):
    """An input image or table cannot be used."""

    exit_code = ExitCode.DATA


class OtherPredictionError(DataError):
    """An image and the age that was predicted from it do not belong together."""


class NoInputError(BrainageError):
    """Nothing in the dataset matches the selection."""

    exit_code = ExitCode.NO_INPUT


class WorkflowError(BrainageError):
    """The workflow could not be built."""

    exit_code = ExitCode.SOFTWARE


class ResourceError(BrainageError):
    """A template, atlas or model weight is missing or altered."""

    exit_code = ExitCode.RESOURCE


class MissingExecutableError(BrainageError):
    """A program or library that a step needs is not installed."""

    exit_code = ExitCode.NO_PROGRAM


class RunError(BrainageError):
    """A run in a process of its own ended early; the exit code is that of the process."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        known = {int(each): each for each in ExitCode}
        self.exit_code = known.get(code, ExitCode.SOFTWARE)
