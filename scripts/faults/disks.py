"""A disk that is full at ever later moments, for the output and for the work folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.faults.lab import Lab, Row, n_bytes

_MOMENTS = 5
_ROOM_MB = 200


def output(lab: Lab) -> Row:
    """Fill the disk of the output."""
    return _fill(lab, "output")


def work(lab: Lab) -> Row:
    """Fill the disk of the work folder."""
    return _fill(lab, "work folder")


def _fill(lab: Lab, which: str) -> Row:
    fault = f"full-{which.split()[0]}"
    reference = lab.folders("reference")[0 if which == "output" else 1]
    out, work = lab.folders(fault)
    small = out if which == "output" else work
    total = max(n_bytes(reference) // 1024, _MOMENTS + 1)
    codes, told = [], []
    with _disk(small) as resize:
        for moment in range(1, _MOMENTS + 1):
            resize(f"{max(64, total * moment // (_MOMENTS + 1))}k")
            run = lab.start(lab.command(out, work))
            codes.append(run.end())
            told.append(run.errors())
        resize(f"{_ROOM_MB}m")
        codes.append(lab.start(lab.command(out, work)).end())
        wrong = lab.differences(out)
    shutil.rmtree(out.parent, ignore_errors=True)
    return Row(
        f"Full disk: {which}",
        f"a file system in memory (tmpfs) that grows, in {_MOMENTS} steps, to "
        f"{_MOMENTS / (_MOMENTS + 1):.0%} of what the run needs; then room, and the same command",
        f"{len(wrong)} files with other bytes than those of an undisturbed run at the end",
        ", ".join(map(str, codes)),
        max(told, key=len),
        codes == [74] * _MOMENTS + [0] and not wrong,
    )


@contextmanager
def _disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """A small file system at a folder; needs the rights of an administrator."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", folder], check=True)
