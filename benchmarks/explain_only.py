"""What explaining finished predictions again costs, scan by scan, as ``--explain-only`` does it.

``python -m benchmarks.explain_only OUTPUT_DIR [--scans 20] [--nprocs 2] [-- OPTIONS]``: copies
finished people under labels of their own until there are enough scans, explains them, and prints
seconds and processor seconds. OUTPUT_DIR is left as it is. OPTIONS go to the app, for example
another atlas or ``--occlusion-baseline mean``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measure import Row, print_rows

GOAL_S = 3.6  # 1,000 scans in an hour
_EXPLAINED = re.compile(r"\[\d+/\d+\] \S+: explained in ([\d.]+) s \(([\d.]+) s of a processor\)")


@dataclass(frozen=True)
class Measured:
    """Seconds of a run and, in the order of their end, of its scans."""

    wall_s: float
    cpu_s: float
    scans_wall_s: tuple[float, ...]
    scans_cpu_s: tuple[float, ...]
    ends_s: tuple[float, ...]


def copy_people(source: Path, target: Path, scans: int) -> None:
    """Copy finished people until there are enough scans."""
    people = sorted(path for path in source.glob("sub-*") if path.is_dir())
    found = 0
    for number in range(scans):
        if found >= scans or not people:
            break
        person = people[number % len(people)]
        found += len(list(person.rglob(f"{person.name}_*_brainage.tsv")))
        label = f"sub-{person.name.removeprefix('sub-')}x{number}"
        for path in person.rglob(f"{person.name}_*"):
            new = (
                target
                / label
                / path.relative_to(person).with_name(path.name.replace(person.name, label, 1))
            )
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new)
    if not found:
        raise SystemExit(f"{source} has no finished people.")
    shutil.copyfile(source / "dataset_description.json", target / "dataset_description.json")


def run(target: Path, work: Path, options: Sequence[str]) -> Measured:
    """Explain what lies in a folder, and watch the processes that do it."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "bidsapp_brainage", str(target / "raw"), str(target)]
    command += ["participant", "--explain-only", "-w", str(work), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    spent: dict[int, float] = {}
    scans, ends, log = [], [], []
    for line in process.stderr:
        log.append(line)
        if match := _EXPLAINED.search(line):
            scans.append((float(match[1]), float(match[2])))
            ends.append(time.monotonic() - begin)
            print(line.rstrip(), file=sys.stderr, flush=True)
        spent |= _processor_seconds(process.pid)
    if process.wait() != 0 or not scans:
        raise SystemExit("".join(log))
    wall, cpu = zip(*scans, strict=True)
    return Measured(time.monotonic() - begin, sum(spent.values()), wall, cpu, tuple(ends))


def _processor_seconds(pid: int) -> dict[int, float]:
    """Of a process and all that it started, by their numbers."""
    seconds = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for each in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                seconds[each.pid] = times.user + times.system
    return seconds


def rows_of(measured: Measured, nprocs: int) -> list[Row]:
    """What is printed; the rate is that between the first scans of all processes and the last."""
    ends = sorted(measured.ends_s)
    first = min(nprocs, len(ends)) - 1
    rows = [
        Row("scans", len(ends), ""),
        Row("whole run", measured.wall_s, "s"),
        Row("whole run, processors", measured.cpu_s, "s"),
        Row("until every process had explained one", ends[first], "s"),
        Row("a scan, in its process", statistics.median(measured.scans_wall_s), "s"),
        Row("a scan, processor", statistics.median(measured.scans_cpu_s), "s", nprocs * GOAL_S),
    ]
    if len(ends) > first + 1:
        each = (ends[-1] - ends[first]) / (len(ends) - first - 1)
        rows.append(Row("every further scan", each, "s", GOAL_S))
        rows.append(Row("1,000 scans", (ends[first] + 1000 * each) / 60, "min", 60))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Copy, explain, and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--nprocs", type=int, default=min(2, os.cpu_count() or 1))
    given = list(sys.argv[1:] if argv is None else argv)
    cut = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:cut])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out"
        target.mkdir()
        copy_people(args.output_dir.absolute(), target, args.scans)
        options = ["--nprocs", str(args.nprocs), *given[cut + 1 :]]
        print_rows(rows_of(run(target, Path(folder) / "work", options), args.nprocs))


if __name__ == "__main__":
    main()
