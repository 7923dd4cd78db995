"""Ageing that is written into chosen regions of a brain, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .anatomies import Brain
from .warps import shrinking, thinned

FIRST_AGE, LAST_AGE = 20.0, 80.0


@dataclass(frozen=True)
class Change:
    """What age makes of a region.

    Attributes
    ----------
    kind : {"shrink", "thin", "fade"}
        ``shrink``: the region loses up to `share` of its volume in the oldest, and gains as much
        in the youngest; what lies around it takes its place. ``thin``: up to `share` of its tissue
        becomes fluid where it borders on fluid, nothing in the youngest. ``fade``: its signal
        falls by up to `share`, nothing in the youngest.
    share : float
        A negative one lets regions swell with age.
    """

    kind: Literal["shrink", "thin", "fade"]
    share: float

    @property
    def sign_when_lost(self) -> int:
        """Whether a brain looks older (1) or younger (-1) when the region is lost."""
        return 1 if self.share > 0 else -1

    def __call__(self, brain: Brain, index: int, strength: float) -> Brain:
        """Change a region; strength is -1 for the youngest, 1 for the oldest."""
        inside = brain.labels == index
        if not inside.any():
            return brain
        late = self.share * (strength + 1) / 2
        volume, labels = brain.volume.copy(), brain.labels
        match self.kind:
            case "shrink":
                moved = shrinking(inside, self.share * strength)
                labels = labels.copy()
                volume[moved.box] = moved.pull(brain.volume)
                labels[moved.box] = moved.nearest(brain.labels)
            case "thin":
                box, values = thinned(brain.volume, inside, late)
                volume[box] = values
            case "fade":
                volume[inside] *= 1 - late
        return Brain(volume, labels)


COMPANION_CHANGE = Change("shrink", 0.45)


@dataclass(frozen=True)
class Plant:
    """What ages, and how.

    Attributes
    ----------
    name : str
        In plain words.
    regions : mapping
        From label to the change that age makes there.
    companions : mapping
        Labels that change with those regions (correlation) though age does not act on them.
    """

    name: str
    regions: Mapping[int, Change]
    companions: Mapping[int, float] = field(default_factory=dict)

    def aged(self, brain: Brain, age: float, rng: np.random.Generator) -> Brain:
        """A brain at an age (years)."""
        strength = strength_of(age)
        for index, change in self.regions.items():
            brain = change(brain, index, strength)
        for index, correlation in self.companions.items():
            rest = np.sqrt(1 - correlation**2) * rng.standard_normal() / np.sqrt(3)
            own = float(np.clip(correlation * strength + rest, -1, 1))
            brain = COMPANION_CHANGE(brain, index, own)
        return brain


def strength_of(age: float | NDArray[np.float64]) -> float:
    """-1 for the youngest, 1 for the oldest."""
    return 2 * (age - FIRST_AGE) / (LAST_AGE - FIRST_AGE) - 1


def _each(change: Change, *indices: int) -> dict[int, Change]:
    return dict.fromkeys(indices, change)


NOTHING = Plant("nothing (ages at random)", {})

#: By anatomy; labels are those of its table.
PLANTS: dict[str, tuple[Plant, ...]] = {
    "template": (
        Plant("hippocampi shrink", _each(Change("shrink", 0.55), 79, 80)),
        Plant("left thalamus shrinks", _each(Change("shrink", 0.45), 89)),
        Plant("right temporal cortex thins", _each(Change("thin", 0.3), 70, 74)),
        Plant("frontal cortex thins", _each(Change("thin", 0.2), 3, 4, 7, 8)),
        Plant("ventricles swell", _each(Change("shrink", -0.4), 113, 114)),
        Plant("frontal white matter fades", _each(Change("fade", 0.15), 97, 98)),
        Plant("putamina shrink, insulae swell",
              {**_each(Change("shrink", 0.45), 85, 86), **_each(Change("shrink", -0.4), 29, 30)}),
        Plant("hippocampi shrink, neighbours with them", _each(Change("shrink", 0.55), 79, 80),
              {81: 0.8, 82: 0.8, 37: 0.6, 38: 0.6}),
        NOTHING,
    ),
    "phantom": (
        Plant("one small region shrinks", _each(Change("shrink", 0.45), 7)),
        Plant("four regions fade", _each(Change("fade", 0.15), 3, 33, 11, 41)),
        NOTHING,
    ),
    "people": (
        Plant("hippocampi shrink", _each(Change("shrink", 0.55), 47, 48)),
        Plant("right temporal cortex thins", _each(Change("thin", 0.3), 154, 200)),
        Plant("ventricles swell", _each(Change("shrink", -0.4), 51, 52)),
        NOTHING,
    ),
}  # fmt: skip
