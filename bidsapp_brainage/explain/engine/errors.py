"""The one thing that a caller of the engine must expect."""

from __future__ import annotations

from bidsapp_brainage.errors import BrainageError


class UnsupportedNetworkError(BrainageError):
    """A module or function mixes positions, so that no exact sparse computation exists."""

    def __init__(self, where: str, what: str, why: str) -> None:
        super().__init__(
            f"{where} ({what}) {why}. The incremental engine cannot occlude this network exactly; "
            "use one full forward pass for each region (engine='loop')."
        )
