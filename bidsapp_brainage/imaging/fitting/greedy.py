"""The registration program greedy as a library: quiet, seeded, with messages when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import SimpleITK as sitk

from bidsapp_brainage.errors import DataError


@contextmanager
def greedy(seed: int, *, single_precision: bool = False) -> Iterator[tuple[Greedy, Path]]:
    """A process to give commands to, and a folder for its files, which is removed afterwards."""
    with TemporaryDirectory(prefix="greedy-") as folder:
        yield Greedy(seed, single_precision=single_precision), Path(folder)


class Greedy:
    """One greedy process-in-library, quiet unless it fails.

    Single precision takes two thirds of the time.
    """

    def __init__(self, seed: int, *, single_precision: bool = False) -> None:
        from picsl_greedy import Greedy3D, GreedyFloat3D

        self._seed = seed
        self._greedy = GreedyFloat3D() if single_precision else Greedy3D()

    def __call__(self, command: str, **images: sitk.Image | None) -> None:
        """Run a command; names in it stand for `images`, those that are None for results."""
        log = StringIO()
        try:
            with _silent_stdout():
                self._greedy.execute(f"{command} -seed {self._seed}", out=log, err=log, **images)
        except Exception as error:
            tail = " ".join(log.getvalue().split()[-40:])
            raise DataError(f"The registration failed ({error}). {tail}") from error

    def output(self, name: str) -> sitk.Image:
        """An image that a command has left under a name."""
        return self._greedy[name]


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Drop what greedy's optimiser prints past Python, straight to the process's stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
