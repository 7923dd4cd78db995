"""Images whose content is elsewhere: links of git-annex, as in DataLad datasets."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bidsapp_brainage.errors import MissingExecutableError

LOGGER = logging.getLogger("bidsapp_brainage")
_AT_ONCE = 100


def is_elsewhere(path: Path) -> bool:
    """Whether a file is a link whose target is not there."""
    return path.is_symlink() and not path.exists()


def fetch(paths: Sequence[Path], bids_dir: Path) -> None:
    """Fetch the content of files of a dataset that is not here; what fails is left to the caller.

    Uses the network. Nobody is asked for a password.

    Raises
    ------
    MissingExecutableError
        Neither DataLad nor git-annex is installed, and something has to be fetched.
    """
    missing = [path.relative_to(bids_dir).as_posix() for path in paths if is_elsewhere(path)]
    if not missing:
        return
    command = _command()
    LOGGER.info("Fetching %d images with `%s`.", len(missing), " ".join(command))
    for start in range(0, len(missing), _AT_ONCE):
        finished = subprocess.run(
            [*command, "--", *missing[start : start + _AT_ONCE]],
            cwd=bids_dir,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            said = (finished.stderr.strip() or finished.stdout.strip()).splitlines()
            LOGGER.error("`%s` in %s: %s", " ".join(command), bids_dir, " ".join(said[-3:]))


def _command() -> tuple[str, ...]:
    """The command that fetches; DataLad's also installs subdatasets."""
    if shutil.which("datalad"):
        return ("datalad", "get")
    if shutil.which("git-annex"):
        return ("git", "annex", "get")
    raise MissingExecutableError(
        "`datalad_get`: neither datalad nor git-annex is installed: install one of them, or fetch "
        "the images before the run."
    )
