"""Tables of single scans, read for the page of all: what is broken leaves a gap, never an error."""

from __future__ import annotations

import math
from pathlib import Path

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError


def read_rows(path: Path) -> list[dict[str, str | None]]:
    """Rows as text, missing cells as None; none of a table that cannot be read."""
    try:
        return io.read_rows(path)
    except DataError:
        return []


def finite(text: object) -> float | None:
    """A cell as a number; None where it is missing, or holds none that can be drawn.

    Examples
    --------
    >>> finite("1.5"), finite(None), finite("1 1 1.2"), finite("nan")
    (1.5, None, None, None)
    """
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
