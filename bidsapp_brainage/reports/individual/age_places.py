"""Where the ages of a scan stand on an axis of ages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bidsapp_brainage.reports.html import as_float, is_missing

_AGES = ("predicted_age", "chronological_age", "ci95_lower", "ci95_upper")


@dataclass(frozen=True)
class AgePlaces:
    """Marks of one scan, in per cent of the axis; None where unknown."""

    predicted: float
    actual: float | None
    low: float | None
    width: float | None


def known_ages(row: Mapping[str, object]) -> list[float]:
    """Ages and ends of the interval (years), as far as the row of a prediction has them."""
    return [as_float(row[name]) for name in _AGES if not is_missing(row.get(name))]


def place(age: float, first: float, last: float) -> float:
    """Per cent of the axis from `first` to `last`."""
    return round(100 * (age - first) / (last - first), 2)


def age_places(row: Mapping[str, object], first: float, last: float) -> AgePlaces:
    """Marks of the row of a prediction on the axis from `first` to `last`."""
    predicted, actual, low, high = (
        None if is_missing(row.get(name)) else place(as_float(row[name]), first, last)
        for name in _AGES
    )
    width = None if low is None or high is None else round(high - low, 2)
    return AgePlaces(predicted or 0.0, actual, low, width)
