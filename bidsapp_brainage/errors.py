"""Errors that a user can act on: one class per documented exit code.

Every message names the file (or option) at fault and the remedy. The command line prints the
message without a traceback and exits with ``exit_code``.
"""

from __future__ import annotations


class BrainageError(Exception):
    """Base of all errors that this app raises on purpose; exits with 1."""

    exit_code = 1


class UsageError(BrainageError):
    """The command line asks for something impossible (unknown label, bad folder); exits with 2."""

    exit_code = 2


class DataError(BrainageError):
    """An input image or table cannot be used; exits with 65 (``EX_DATAERR``)."""

    exit_code = 65


class NoInputError(BrainageError):
    """Nothing in the dataset matches the selection; exits with 66 (``EX_NOINPUT``)."""

    exit_code = 66


class WorkflowError(BrainageError):
    """The workflow could not be built; exits with 70 (``EX_SOFTWARE``)."""

    exit_code = 70


class ResourceError(BrainageError):
    """A template, atlas or model weight is missing or altered; exits with 72 (``EX_OSFILE``)."""

    exit_code = 72


class MissingExecutableError(BrainageError):
    """A program or library that a step needs is not installed; exits with 127."""

    exit_code = 127
