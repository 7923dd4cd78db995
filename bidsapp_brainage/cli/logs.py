"""Messages to the terminal."""

from __future__ import annotations

import logging
import sys

LOGGER_NAME = "bidsapp_brainage"
#: What nipreps apps show by default from the libraries; each -v lowers it by five.
_LIBRARY_LEVEL = 25


def library_level(verbose: int) -> int:
    """Level for messages of the libraries: ``max(25 - 5 * count of -v, DEBUG)``."""
    return max(_LIBRARY_LEVEL - 5 * verbose, logging.DEBUG)


def own_level(verbose: int) -> int:
    """Level for our messages: progress is always shown, ``-v`` adds details."""
    return logging.DEBUG if verbose else logging.INFO


def configure_logging(verbose: int = 0) -> None:
    """Send messages to standard error, ours from INFO on, those of libraries from 25 on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s: %(message)s", datefmt="%H:%M:%S")
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if getattr(old, "brainage", False)]:
        root.removeHandler(old)
    handler.brainage = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(library_level(verbose))
    logging.addLevelName(_LIBRARY_LEVEL, "IMPORTANT")
    logging.getLogger(LOGGER_NAME).setLevel(own_level(verbose))
    logging.captureWarnings(capture=True)
    if not verbose:
        logging.getLogger("py.warnings").setLevel(logging.ERROR)
