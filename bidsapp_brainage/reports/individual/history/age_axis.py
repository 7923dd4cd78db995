"""The ages of all scans of a person on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bidsapp_brainage.reports.html import number
from bidsapp_brainage.reports.individual.age_places import (
    AgePlaces,
    age_places,
    known_ages,
    place,
)

_STEPS = (1, 2, 5, 10, 20)
_MOST_TICKS = 7
_MARGIN = 0.04  # of the range, on both sides


@dataclass(frozen=True)
class Lane(AgePlaces):
    """One scan, its name and its ages in words."""

    label: str
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
    ages = [age for _, row in rows for age in known_ages(row)]
    low, high = min(ages), max(ages)
    room = _MARGIN * (high - low) or 1.0
    low, high = low - room, high + room
    step = next(step for step in (*_STEPS, high - low) if (high - low) / step <= _MOST_TICKS)
    first = math.ceil(low / step)
    ticks = [step * k for k in range(first, math.floor(high / step) + 1)]
    return AgeAxis(
        tuple(
            Lane(**vars(age_places(row, low, high)), label=label, said=_said(row))
            for label, row in rows
        ),
        tuple((place(tick, low, high), number(tick, 0)) for tick in ticks),
    )


def _said(row: Mapping[str, object]) -> str:
    predicted, actual = number(row.get("predicted_age")), number(row.get("chronological_age"))
    return f"predicted {predicted}, chronological {actual}"
