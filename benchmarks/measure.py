"""Clocks, memory, goals and tables that the benchmarks share."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Clock = Callable[[], float]
Work = Callable[[], object]
Said = Callable[[str], None]
MAC_PER_GMAC = 1e9


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, and what it should be.

    Attributes
    ----------
    what : str
    measured : float or None
        None when something needed for it is not installed.
    unit : str
    goal : float or None
    at_least : bool
        Whether `goal` is a lower limit; an upper one otherwise.
    """

    what: str
    measured: float | None
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without a goal or a measurement."""
        if self.goal is None or self.measured is None:
            return None
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    def cells(self) -> tuple[str, str, str]:
        """Text for a table."""
        shown = "not measured" if self.measured is None else f"{self.measured:.3g} {self.unit}"
        if self.goal is None:
            return self.what, shown, ""
        goal = f"{'>=' if self.at_least else '<='} {self.goal:g} {self.unit}"
        return self.what, shown, goal + ("  MISSED" if self.met is False else "")


class Progress:
    """Says what is being measured, step k of n, on the standard error stream."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._start = time.monotonic()

    def step(self, what: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._say(f"[{self._step}/{self._steps}] {what}")

    def part(self, what: str) -> None:
        """Begin a part of the step."""
        self._say(f"      {what}")

    def _say(self, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        print(f"{minutes:3d}:{seconds:02d}  {what}", file=sys.stderr, flush=True)


def paired_seconds(
    works: Mapping[str, Work],
    repeats: int,
    clock: Clock = time.process_time,
    said: Said | None = None,
) -> dict[str, float]:
    """Median seconds of several pieces of work.

    They take turns, so that a machine that slows down for a while slows all of them down. Each
    runs once before anything is timed. `said` is told what comes next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            if said is not None:
                said(f"{name}: " + (f"round {repeat} of {repeats}" if repeat else "warm-up"))
            start = clock()
            work()
            if repeat:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for a page of the documentation."""
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def gemm_rate(size: int = 1024, repeats: int = 7) -> float:
    """Multiply-adds per processor second of torch's matrix product, on one thread."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    seconds = paired_seconds({"mm": lambda: torch.mm(a, b, out=out)}, repeats)["mm"]
    return size**3 / seconds


def memory_mb(field: str, process: int | str = "self") -> float:
    """A field of a process's status, such as VmRSS or VmHWM (the peak), in MB.

    ``ru_maxrss`` would do for the peak, but a child begins with that of its parent.
    """
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024 / 1e6
    raise KeyError(field)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns of text, as wide as they need to be."""
    widths = [max(len(line[k]) for line in [head, *lines]) for k in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, rule, *lines]
    )


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table of measurements and goals."""
    print(table(("what", "measured", "goal"), [row.cells() for row in rows]))


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }


def write_results(path: Path, rows: Sequence[Row], **more: Any) -> None:
    """Write measurements as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": machine(),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
        **more,
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
