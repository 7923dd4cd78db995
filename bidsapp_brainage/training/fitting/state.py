"""What a training keeps from time to time, so that it goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from bidsapp_brainage.io import atomic_path

#: Name of the file, in the folder of the training.
STATE = "state.pt"


class Stateful(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """What it has learned."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Go on from there."""


def resume(path: Path, parts: Mapping[str, Stateful]) -> int:
    """Put parts back to what was kept in a file, and return the step; 0 where there is none."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def keep(path: Path, parts: Mapping[str, Stateful], step: int) -> None:
    """Write the state of parts and the step, in one go."""
    kept = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temporary:
        torch.save(kept | {"step": step}, temporary)
