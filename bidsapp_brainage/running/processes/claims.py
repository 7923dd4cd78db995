"""Scans that a run works on belong to it: another one with the same work folder has to wait."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bidsapp_brainage.errors import UsageError

_FILE = ".claims"
_HELD = (errno.EACCES, errno.EAGAIN)
_SHOWN = 10


@contextmanager
def claimed(work_dir: Path, labels: Sequence[str]) -> Iterator[None]:
    """Keep other runs from the scratch of some scans; the system forgets claims of dead processes.

    Every scan has a byte of one file that is locked, because so many files could not be open. Some
    network file systems know no locks; there nobody is kept from anything.

    Raises
    ------
    UsageError
        Another run works on one of them.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(work_dir / _FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # Linux looks through all locks for a new one's place: from the last one on it is the first.
        places = sorted(((_place(label), label) for label in labels), reverse=True)
        taken = sorted(label for place, label in places if not _claim(descriptor, place))
        if taken:
            shown = ", ".join(taken[:_SHOWN]) + (", ..." if len(taken) > _SHOWN else "")
            raise UsageError(
                f"Another run works on {shown} in the work folder {work_dir}: give the command "
                "again when it has ended (what it finished is kept), or another `work_dir`."
            )
        yield
    finally:
        os.close(descriptor)


def _place(label: str) -> int:
    """Which byte of the file belongs to a scan."""
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:7])


def _claim(descriptor: int, place: int) -> bool:
    """Lock a byte; False if another process has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:
        return error.errno not in _HELD
    return True
