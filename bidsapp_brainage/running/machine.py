"""How much of the machine this process may use: affinity, control groups, Slurm."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
#: Below this not even the network runs: Python with its libraries takes half of it.
LEAST_MEMORY_GB = 1.0
#: Of a worker that processes one scan at a time: the largest stage, and the worker itself.
SCAN_MEMORY_GB = 4.0
_USABLE_MEMORY = 0.9  # the rest is for the system and this process itself


def available_cpus(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Processors that this process may really use, at least one.

    The smallest of the affinity mask, the quota of its control groups, and what Slurm gave to
    the task where Slurm does not bind processes.
    """
    counts = [len(os.sched_getaffinity(0))]
    counts += [
        max(1, math.ceil(quota))
        for folder in _cgroup_folders(cgroup, membership)
        if (quota := _cpu_quota(folder)) is not None
    ]
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit() and int(slurm) > 0:
        counts.append(int(slurm))
    return max(1, min(counts))


def default_threads(nprocs: int) -> int:
    """Threads per process when the user names none, as fMRIPrep does."""
    return max(1, min(nprocs - 1, 8))


def available_memory_gb(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> float:
    """Memory that the run may plan with, in GiB: 90 % of the smallest limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [float(physical)]
    limits += [
        limit
        for folder in _cgroup_folders(cgroup, membership)
        if (limit := _memory_limit(folder)) is not None
    ]
    slurm = os.environ.get("SLURM_MEM_PER_NODE", "")
    if slurm.isdigit() and int(slurm) > 0:
        limits.append(int(slurm) * 1024.0**2)
    return round(_USABLE_MEMORY * min(limits) / 1024**3, 2)


def too_little_memory(memory_gb: float) -> str | None:
    """What to do about memory that no scan can be processed with; None if there is enough."""
    if memory_gb >= LEAST_MEMORY_GB:
        return None
    return (
        f"A scan needs at least {1024 * LEAST_MEMORY_GB:.0f} MB of memory, and this run may use "
        f"{1024 * memory_gb:.0f} MB (`memory_gb`, or what the job was given). A number without a "
        "suffix is in megabytes: for gigabytes write for example `memory_gb` 8G."
    )


def _cgroup_folders(root: Path, membership: Path) -> Iterator[Path]:
    """Folders of the control groups of this process and of all groups above them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    yield root
    for controller in ("cpu", "cpu,cpuacct", "memory"):
        yield root / controller
    for line in lines:
        _, controllers, path = line.split(":", 2)
        folder = root / controllers if controllers else root
        for part in Path(path.lstrip("/")).parts:
            folder = folder / part
            yield folder


def _cpu_quota(folder: Path) -> float | None:
    """Processors' worth of time of one control group (version 2, then 1)."""
    fields = _read(folder / "cpu.max").split()
    if len(fields) == 2 and fields[0].isdigit():
        return int(fields[0]) / int(fields[1])
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():
        return int(quota) / int(period)
    return None


def _memory_limit(folder: Path) -> float | None:
    """Bytes that one control group may use (version 2, then 1)."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = _read(folder / name)
        if text.isdigit():
            return float(text)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
