"""Signals of processes that tests start."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Take Ctrl-C as usual: a job that a script put in the background inherits that it is ignored.

    For ``preexec_fn`` of a process.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
