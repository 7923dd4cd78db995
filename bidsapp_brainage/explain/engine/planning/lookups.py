"""Values of a chunk that are taken from intact rows, some of them replaced by changed ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Lookup:
    """Values taken from the intact rows, some of them replaced by changed rows.

    ``intact`` are positions in the intact rows; values ``at`` are replaced by rows ``by``; values
    ``outside`` lie in the padding.
    """

    intact: Tensor
    at: Tensor
    by: Tensor
    outside: Tensor

    @staticmethod
    def of(read: NDArray[np.int32], intact: NDArray[np.integer]) -> Lookup:
        """Make a table of changed rows, -1 for intact positions and -2 for the padding."""
        read, intact = read.ravel(), intact.ravel()
        replaced = np.flatnonzero(read >= 0)
        return Lookup(
            intact=int32(intact),
            at=int32(replaced),
            by=int32(read[replaced]),
            outside=int32(np.flatnonzero(read == -2)),
        )


def int32(values: NDArray[np.generic]) -> Tensor:
    """Numbers as a table."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int32))
