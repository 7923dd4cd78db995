"""Child processes: how they are started, what they say, and how they are ended."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing as mp
import os
import signal
from collections.abc import Iterable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from typing import Any

# Imported once in the server that all children are forked from; none of them touches a GPU.
_PRELOAD = [
    "nipype.pipeline.plugins.multiproc",
    "bidsapp_brainage.explain.session",
    "bidsapp_brainage.imaging.registration",
    "bidsapp_brainage.interfaces.sinks",
    "bidsapp_brainage.interfaces.images",
    "bidsapp_brainage.interfaces.prediction",
    "bidsapp_brainage.model.prediction",
    "bidsapp_brainage.reports.figures.overlays",
    "bidsapp_brainage.segmentation.alignment",
    "bidsapp_brainage.segmentation.native",
    "bidsapp_brainage.segmentation.network",
    # what these import only when they need it
    "contourpy",
    "isal.igzip",
    "jsonschema",
    "safetensors.torch",
]
GRACE_S = 3.0
_PR_SET_PDEATHSIG = 1
#: What multiprocessing says of a child whose server was killed, and its own code with it.
_SERVER_GONE = 255
#: What to do when a step wanted more memory than there is.
MORE_MEMORY = "give the job more memory, or lower --nprocs or --batch-size."


def forkserver() -> ForkServerContext:
    """The way children are started: from a server that has imported what they need."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def prepare_children() -> None:
    """Let the server import what children need while the run still prepares itself.

    Children have the environment of this moment.
    """
    forkserver()
    ensure_running()


class _ToParent(logging.Handler):
    """Sends what a child logs to the parent, which knows whose work it is."""

    def __init__(self, sender: Connection) -> None:
        super().__init__()
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        """Send level and text."""
        self._sender.send((record.levelno, record.getMessage()))


def settle_in(sender: Connection, log_level: int) -> None:
    """Make this process a child that leaves signals and messages to its parent.

    Parameters
    ----------
    sender : Connection
        To the parent, which gets (level, text) of our messages.
    log_level : int
        Of nipype's own messages.
    """
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the parent alone, which then ends us
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_nipype(log_level)
    ours = logging.getLogger("bidsapp_brainage")
    ours.addHandler(_ToParent(sender))
    ours.setLevel(logging.INFO)
    ours.propagate = False


def quiet_nipype(level: int) -> None:
    """Let nipype say in this process only what is of this level or above, and print it itself."""
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).propagate = False


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that forked it is gone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def obituary(exitcode: int | None) -> str:
    """What to tell about a child that ended without an answer."""
    if exitcode in (-signal.SIGKILL, _SERVER_GONE):
        return (
            f"The process was killed, most likely because the memory did not suffice: {MORE_MEMORY}"
        )
    return (
        f"The process ended unexpectedly (exit code {exitcode}): run again with --nprocs 1 -vv "
        "and report the last lines of the log."
    )


def end(processes: Iterable[Any]) -> None:
    """End children with their own children, politely first."""
    running = [process for process in processes if process.is_alive()]
    for process in running:
        _signal_group(process.pid, signal.SIGTERM)
    for process in running:
        process.join(GRACE_S)
        if process.is_alive():
            _signal_group(process.pid, signal.SIGKILL)
            process.join()


def _signal_group(pid: int | None, number: signal.Signals) -> None:
    """Signal a child and its own children."""
    if pid is None:
        return
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # not yet leader of its group, or gone
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
