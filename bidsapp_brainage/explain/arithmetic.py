"""How torch computes while regions are occluded: exactly, and in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bidsapp_brainage.errors import BrainageError


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Full float32 precision (no TensorFloat-32) and deterministic kernels, for the duration."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def reraise_unless_oom(error: Exception, n_regions: int) -> None:
    """Return when memory ran out while several regions were occluded together.

    Raises
    ------
    BrainageError
        It ran out for a single region.
    Exception
        `error` itself, when it says something else.
    """
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not short and "allocate memory" not in str(error):
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if n_regions == 1:
        raise BrainageError(
            "Not enough memory to occlude a single region at a time; "
            "free memory, raise the job's memory limit, or use `device` cpu."
        ) from error
