"""The ages of all scans of a person on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bidsapp_brainage.reports.html import as_float, is_missing, number

_STEPS = (1, 2, 5, 10, 20)
_MOST_TICKS = 7
_MARGIN = 0.04  # of the range, on both sides
_AGES = ("predicted_age", "chronological_age", "ci95_lower", "ci95_upper")


@dataclass(frozen=True)
class Lane:
    """One scan; places in per cent of the axis, None where unknown."""

    label: str
    predicted: float
    actual: float | None
    low: float | None
    width: float | None
    said: str


@dataclass(frozen=True)
class AgeAxis:
    """Scans in the order of their ages on an axis with ticks: (place in per cent, text)."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def description(self) -> str:
        """Everything that is drawn, in words."""
        return "; ".join(f"{lane.label}: {lane.said}" for lane in self.lanes)


def age_axis(rows: Sequence[tuple[str, Mapping[str, object]]]) -> AgeAxis:
    """Put scans (label and row of the prediction) on one axis of ages."""
    ages = [
        as_float(row[name]) for _, row in rows for name in _AGES if not is_missing(row.get(name))
    ]
    low, high = min(ages), max(ages)
    room = _MARGIN * (high - low) or 1.0
    low, high = low - room, high + room

    def place(age: float) -> float:
        return round(100 * (age - low) / (high - low), 2)

    step = next(step for step in (*_STEPS, high - low) if (high - low) / step <= _MOST_TICKS)
    first = math.ceil(low / step)
    ticks = [step * k for k in range(first, math.floor(high / step) + 1)]
    lanes = []
    for label, row in rows:
        at = {
            name: None if is_missing(row.get(name)) else place(as_float(row[name]))
            for name in _AGES
        }
        start, end = at["ci95_lower"], at["ci95_upper"]
        lanes.append(
            Lane(
                label=label,
                predicted=at["predicted_age"] or 0.0,
                actual=at["chronological_age"],
                low=start,
                width=None if start is None or end is None else round(end - start, 2),
                said=_said(row),
            )
        )
    return AgeAxis(tuple(lanes), tuple((place(tick), number(tick, 0)) for tick in ticks))


def _said(row: Mapping[str, object]) -> str:
    predicted, actual = number(row.get("predicted_age")), number(row.get("chronological_age"))
    return f"predicted {predicted}, chronological {actual}"
