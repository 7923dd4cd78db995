"""Ending in good order when a cluster or a user stops the run."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

_GRACE_SECONDS = 3.0


class Terminated(BaseException):
    """SIGTERM arrived; not an `Exception`, so that no handler of failures swallows it."""


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` in this process (children keep the default)."""
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker inherits the handler
            os._exit(128 + number)
        raise Terminated

    try:
        before: Any = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not in the main thread: the embedding program decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_children() -> list[int]:
    """End all processes that this one started, with their descendants.

    Returns
    -------
    list of int
        Their process ids; their temporary files may be left.
    """
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    _, alive = psutil.wait_procs(children, timeout=_GRACE_SECONDS)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(alive, timeout=_GRACE_SECONDS)
    return [child.pid for child in children]


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """A second Ctrl-C or SIGTERM must not stop the clearing up."""
    before = {}
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
