"""Memory that is used again and again."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from torch import Tensor


class Workspace(threading.local):
    """Buffers by name for each thread: fresh memory costs more than the arithmetic in it."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """Uninitialised values of the dtype and device of `like`.

        They hold until the name is taken again.
        """
        n = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < n:
            buffer = self._buffers[name] = like.new_empty(n)
        return buffer[:n].view(shape)
