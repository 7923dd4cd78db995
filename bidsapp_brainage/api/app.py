"""The app in a process of its own, so that all doors lead to the same computation.

A run changes the environment and starts processes that import the main module again; neither is
acceptable inside of a user's script or notebook.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bidsapp_brainage.errors import (
    DataError,
    ExitCode,
    MissingExecutableError,
    NoInputError,
    ResourceError,
    RunError,
    UsageError,
)
from bidsapp_brainage.options import Option
from bidsapp_brainage.settings import AnalysisLevel, all_options, did_you_mean

LOGGER = logging.getLogger("bidsapp_brainage")
_MODULE = __name__.partition(".")[0]
_MESSAGE = re.compile(r"\d\d:\d\d:\d\d ([A-Z]+): (.*)")
_WITH_RESULTS = (ExitCode.DONE, ExitCode.INCOMPLETE)
_ERRORS = (UsageError, DataError, NoInputError, ResourceError, MissingExecutableError)


def run_app(
    bids_dir: Path, output_dir: Path, level: AnalysisLevel, options: Mapping[str, Any]
) -> bool:
    """Run one level of the app; its messages go to the logger ``bidsapp_brainage``.

    Parameters
    ----------
    bids_dir, output_dir : Path
        Without `work_dir` among the options the scratch folder is a temporary one.
    level : str
    options : mapping of str to object
        From :func:`checked`.

    Returns
    -------
    bool
        Whether everything is complete; if not, the log folders tell what failed.

    Raises
    ------
    BrainageError
        Of the class that belongs to the exit code, when the run ended without results.
    """
    with ExitStack() as stack:
        if "work_dir" not in options:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="brainage-"))
            options = {**options, "work_dir": Path(scratch)}
        code, problem = _run([str(bids_dir), str(output_dir), level, *_words(options)])
    if code in _WITH_RESULTS:
        if problem:
            LOGGER.error("%s", problem)
        return code == ExitCode.DONE
    for kind in _ERRORS:
        if kind.exit_code == code:
            raise kind(problem)
    raise RunError(problem or f"The run ended with exit code {code}.", code)


def checked(options: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    """Options by their names, with their values as the settings keep them.

    A single word stands for a list of one.

    Raises
    ------
    UsageError
        An option is not among the known ones, or has an impossible value.
    """
    taken = {}
    for name, value in options.items():
        if name not in known:
            hint = "" if name in all_options() else did_you_mean(name)
            raise UsageError(f"There is no option {name!r} here.{hint}")
        alone = known[name].several and isinstance(value, (str, Path))
        taken[name] = known[name].take([value] if alone else value)
    return taken


def _words(options: Mapping[str, Any]) -> list[str]:
    known = all_options()
    return [word for name, value in options.items() for word in known[name].arguments(value)]


def _run(arguments: list[str]) -> tuple[int, str]:
    """Exit code of the app, and the error that it ended with; empty if there was none."""
    # -P and the path of this process: the app that is started is the one that is asked, and no
    # file of the present folder can stand in the way of a module.
    command = [sys.executable, "-P", "-m", _MODULE, *arguments]
    path = os.pathsep.join(folder for folder in sys.path if folder)
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            problem = _relay(process.stdout or ())
            return process.wait(), problem
        except BaseException:  # Ctrl-C: the app ends its own processes before it goes
            process.terminate()
            process.wait()
            raise


def _relay(lines: Iterable[str]) -> str:
    """Log messages as they come, but for an error at the end, which is returned."""
    level, last = logging.INFO, ""
    for line in lines:
        message = _MESSAGE.match(line)
        text = line.rstrip()
        if message:
            if last:
                LOGGER.error("%s", last)
            last, text = "", message[2]
            level = logging.getLevelNamesMapping().get(message[1], logging.INFO)
        if level >= logging.ERROR:
            last = f"{last}\n{text}" if last else text
        else:
            LOGGER.log(level, "%s", text)
    return last
