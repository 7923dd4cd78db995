"""Messages to the terminal."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bidsapp_brainage.configuration import hide_paths
from bidsapp_brainage.settings import in_flags

LOGGER_NAME = "bidsapp_brainage"
#: What nipreps apps show by default from the libraries; each -v lowers it by five.
_LIBRARY_LEVEL = 25
_FORMAT = "%(asctime)s %(levelname)s: %(message)s"
_SUBJECT = re.compile(r"\bsub-([a-zA-Z0-9+]+)")


def library_level(verbose: int) -> int:
    """Level for messages of the libraries: ``max(25 - 5 * count of -v, DEBUG)``."""
    return max(_LIBRARY_LEVEL - 5 * verbose, logging.DEBUG)


def own_level(verbose: int) -> int:
    """Level for our messages: progress is always shown, ``-v`` adds details."""
    return logging.DEBUG if verbose else logging.INFO


class _Formatter(logging.Formatter):
    """Names options as the command line does."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of one message."""
        return in_flags(super().formatMessage(record))


def configure_logging(verbose: int = 0) -> None:
    """Send messages to standard error, ours from INFO on, those of libraries from 25 on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(_FORMAT, datefmt="%H:%M:%S"))
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


class _Keeper(logging.Handler):
    """Remembers all messages of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(_Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.lines.append(self.format(record))


@contextmanager
def messages_kept() -> Iterator[list[str]]:
    """Collect what is logged inside the block, as lines of text."""
    keeper = _Keeper()
    root = logging.getLogger()
    root.addHandler(keeper)
    try:
        yield keeper.lines
    finally:
        root.removeHandler(keeper)


def write_run_logs(
    output_dir: Path, run_uuid: str, lines: list[str], roots: Mapping[str, Path]
) -> None:
    """Write ``run.log`` into the log folders of this run, as far as there are any.

    That of a participant has no lines that name another one; none tells the places of folders.
    """
    from bidsapp_brainage import io
    from bidsapp_brainage.bids.run_records import run_folder

    text = hide_paths("\n".join(lines), {str(root): name for name, root in roots.items()})
    whole = run_folder(output_dir, run_uuid)
    if whole.is_dir():
        io.write_text(whole / "run.log", text + "\n")
    for folder in output_dir.glob(f"sub-*/log/{run_uuid}"):
        own = folder.parents[1].name.removeprefix("sub-")
        kept = [line for line in text.splitlines() if set(_SUBJECT.findall(line)) <= {own}]
        io.write_text(folder / "run.log", "\n".join(kept) + "\n")
