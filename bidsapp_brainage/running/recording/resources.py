"""Processors and memory of a stage over time, where ``--resource-monitor`` asks for them.

nipype's own monitor samples a stage's process with its children, and keeps the samples with the
result of the node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FILE = "resources.tsv"
_MB_PER_GIB = 2**30 / 1e6


@contextlib.contextmanager
def sampled(folder: Path) -> Iterator[None]:
    """Let nipype sample every node that runs in this process; its files lie in `folder` meanwhile.

    Without that they would stay wherever the run was started.
    """
    from nipype import config

    folder.mkdir(parents=True, exist_ok=True)
    config.enable_resource_monitor()
    with TemporaryDirectory(dir=folder, prefix=".samples-") as own, contextlib.chdir(own):
        yield


def read_samples(node: Any) -> list[dict[str, float]]:
    """Samples of a node that ran: seconds since the first, processors, resident memory (MB)."""
    told = getattr(node.result.runtime, "prof_dict", None) or {"time": []}
    return [
        {
            "seconds": round(time - told["time"][0], 2),
            "processors": round(percent / 100, 2),
            "rss_mb": round(gib * _MB_PER_GIB, 1),
        }
        for time, percent, gib in zip(
            told["time"], told.get("cpus", ()), told.get("rss_GiB", ()), strict=True
        )
    ]


def write_samples(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write ``resources.tsv`` into a log folder, if there is anything to tell."""
    import pandas as pd

    from bidsapp_brainage import io

    if rows:
        io.write_tsv(folder / FILE, pd.DataFrame(list(rows)))
