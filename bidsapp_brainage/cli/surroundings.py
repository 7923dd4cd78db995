"""What libraries take for granted and containers may lack: a home, and a place for scratch.

Docker runs the app under user numbers that nobody knows, and job systems without ``HOME``; a
read-only container may have no ``/tmp``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

#: Sockets lie in folders of their own there, and their paths have 108 bytes at most.
_LONGEST_TEMPORARY = 60


def settle(folder: Path) -> None:
    """Name a home and a folder for temporary files, for this process and its children.

    Parameters
    ----------
    folder : Path
        Where they are if there are none; nothing is made but the folder of temporary files.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(folder.absolute() / "home")
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # what Python says when it can write nowhere
        temporary = str(folder.absolute() / "tmp")
        Path(temporary).mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = temporary
    if len(temporary) > _LONGEST_TEMPORARY and os.access("/tmp", os.W_OK | os.X_OK):
        tempfile.tempdir = "/tmp"
