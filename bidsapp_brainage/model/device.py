"""Which processor computes, and with how many threads."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bidsapp_brainage.errors import UsageError


def resolve_device(spec: str) -> tuple[str, str]:
    """Turn ``auto``, ``cpu`` or ``cuda[:N]`` into a torch device and a line for the log.

    Returns
    -------
    device : str
        ``cpu`` or ``cuda:N``.
    message : str
        Starts with ``Warning:`` when a GPU seems to be there but cannot be used.

    Raises
    ------
    UsageError
        The word is unknown, or a GPU was asked for by name and is not there.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", spec)
    if match is None:
        raise UsageError(f"`device` '{spec}' is unknown. Use auto, cpu, cuda or cuda:N.")
    if spec == "cpu":
        return "cpu", "Predicting on the CPU."
    count = _cuda_count()
    if spec == "auto":
        return _automatic(count)
    index = int(match.group(1) or 0)
    if index >= count:
        raise UsageError(
            f"`device` {spec}: {count} CUDA devices are visible. In a container pass --nv "
            "(Apptainer) or --gpus all (Docker); without a GPU use `device` cpu."
        )
    return f"cuda:{index}", f"Predicting on CUDA device {index}."


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` CPU threads inside the block (None: as many as now)."""
    import torch

    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def _automatic(count: int) -> tuple[str, str]:
    if count:
        return "cuda:0", "Predicting on CUDA device 0."
    if _gpu_hinted():
        return "cpu", (
            "Warning: no CUDA device visible - did you pass --nv / --gpus? continuing on CPU."
        )
    return "cpu", "Predicting on the CPU (no CUDA device)."


def _cuda_count() -> int:
    if not _driver_is_there():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _driver_is_there() -> bool:
    """Whether there may be a driver; without one torch, which takes a second to load, finds none.

    That of NVIDIA is looked for as torch does, that of AMD by its device.
    """
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _gpu_hinted() -> bool:
    """True if the machine or the container looks as if a GPU was meant to be used."""
    wanted = os.environ.get("NVIDIA_VISIBLE_DEVICES", "void").strip().lower()
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    return driver or wanted not in ("", "void", "none")
