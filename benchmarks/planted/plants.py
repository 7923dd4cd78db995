"""Ageing that is written into chosen regions of a brain, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .anatomies import Brain
from .warps import shrinking, thinned

FIRST_AGE, LAST_AGE = 20.0, 80.0
#: A change of regions: brain, label, strength (-1 for the youngest, 1 for the oldest).
Change = Callable[[Brain, int, float], Brain]


def shrink(share: float) -> Change:
    """Regions lose up to this share of their volume, and gain as much in the young."""

    def change(brain: Brain, index: int, strength: float) -> Brain:
        moved = shrinking(brain.labels == index, share * strength)
        volume, labels = brain.volume.copy(), brain.labels.copy()
        volume[moved.box] = moved.pull(brain.volume)
        labels[moved.box] = moved.nearest(brain.labels)
        return Brain(volume, labels)

    return change


def thin(share: float) -> Change:
    """Tissue becomes fluid where it borders on fluid: nothing in the youngest."""

    def change(brain: Brain, index: int, strength: float) -> Brain:
        box, values = thinned(brain.volume, brain.labels == index, share * (strength + 1) / 2)
        volume = brain.volume.copy()
        volume[box] = values
        return Brain(volume, brain.labels)

    return change


def fade(share: float) -> Change:
    """The signal falls: nothing in the youngest."""

    def change(brain: Brain, index: int, strength: float) -> Brain:
        inside = brain.labels == index
        volume = np.where(inside, brain.volume * (1 - share * (strength + 1) / 2), brain.volume)
        return Brain(volume.astype(np.float32), brain.labels)

    return change


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
    companion_change : callable
    """

    name: str
    regions: Mapping[int, Change]
    companions: Mapping[int, float] = field(default_factory=dict)
    companion_change: Change = field(default_factory=lambda: shrink(0.45))

    def aged(self, brain: Brain, age: float, rng: np.random.Generator) -> Brain:
        """A brain at an age (years)."""
        strength = strength_of(age)
        for index, change in self.regions.items():
            if (brain.labels == index).any():
                brain = change(brain, index, strength)
        for index, correlation in self.companions.items():
            if (brain.labels == index).any():
                rest = np.sqrt(1 - correlation**2) * rng.standard_normal() / np.sqrt(3)
                own = float(np.clip(correlation * strength + rest, -1, 1))
                brain = self.companion_change(brain, index, own)
        return brain


def strength_of(age: float | NDArray[np.float64]) -> float:
    """-1 for the youngest, 1 for the oldest."""
    return 2 * (age - FIRST_AGE) / (LAST_AGE - FIRST_AGE) - 1


def _each(change: Change, *indices: int) -> dict[int, Change]:
    return dict.fromkeys(indices, change)


_NOTHING = Plant("nothing (ages at random)", {})

#: By anatomy; labels are those of its table.
PLANTS: dict[str, tuple[Plant, ...]] = {
    "template": (
        Plant("hippocampi shrink", _each(shrink(0.55), 79, 80)),
        Plant("left thalamus shrinks", _each(shrink(0.45), 89)),
        Plant("right temporal cortex thins", _each(thin(0.3), 70, 74)),
        Plant("frontal cortex thins", _each(thin(0.2), 3, 4, 7, 8)),
        Plant("ventricles swell", _each(shrink(-0.4), 113, 114)),
        Plant("frontal white matter fades", _each(fade(0.15), 97, 98)),
        Plant("putamina shrink, insulae swell",
              {**_each(shrink(0.45), 85, 86), **_each(shrink(-0.4), 29, 30)}),
        Plant("hippocampi shrink, neighbours with them", _each(shrink(0.55), 79, 80),
              {81: 0.8, 82: 0.8, 37: 0.6, 38: 0.6}),
        _NOTHING,
    ),
    "phantom": (
        Plant("one small region shrinks", _each(shrink(0.45), 7)),
        Plant("four regions fade", _each(fade(0.15), 3, 33, 11, 41)),
        _NOTHING,
    ),
    "people": (
        Plant("hippocampi shrink", _each(shrink(0.55), 47, 48)),
        Plant("right temporal cortex thins", _each(thin(0.3), 154, 200)),
        Plant("ventricles swell", _each(shrink(-0.4), 51, 52)),
        _NOTHING,
    ),
}  # fmt: skip
