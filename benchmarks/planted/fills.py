"""What a region may be replaced by beyond the app's baselines: candidates, compared with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.explain.baselines import region_boxes

from .networks import Cohort

COMPONENTS = 30
DRAWS = 4
NEIGHBOURS = 4
MARGIN = 5  # voxels around a region in which brains are compared

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What the fills know of other people: those that the networks learned from.

    Attributes
    ----------
    volumes : ndarray, shape (n, D, H, W)
    mean, slope : ndarray, shape (D, H, W)
        Tissue units, and their change per year of age.
    age : float
        Mean age (years).
    modes : ndarray, shape (n_modes, D, H, W)
        Principal components times their SD.
    noise : float
        SD of what the modes leave.
    """

    volumes: NDArray[np.float16]
    mean: Volume
    slope: Volume
    age: float
    modes: Volume
    noise: float

    @staticmethod
    def of(people: Cohort) -> Reference:
        """Learn from people."""
        volumes = people.volumes.astype(np.float32).reshape(len(people.ages), -1)
        mean = volumes.mean(axis=0)
        away, years = volumes - mean, people.ages - people.ages.mean()
        slope = years.astype(np.float32) @ away / float(years @ years)
        values, vectors = np.linalg.eigh((away @ away.T).astype(np.float64))
        top = np.argsort(values)[::-1][:COMPONENTS]
        modes = vectors[:, top].T.astype(np.float32) @ away / np.sqrt(len(away))
        left = (values.sum() - values[top].sum()) / len(away)
        noise = float(np.sqrt(left / np.count_nonzero(away.any(axis=0))))
        shape = people.volumes.shape[1:]
        return Reference(
            people.volumes, mean.reshape(shape), slope.reshape(shape).astype(np.float32),
            float(people.ages.mean()), modes.reshape(-1, *shape), noise,
        )  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Who is explained: volume, labels, regions, and the age that the network predicts."""

    volume: Volume
    labels: NDArray[np.int16]
    indices: Sequence[int]
    predicted: float


def average_age(person: Person, known: Reference) -> list[Volume]:
    """The region as the person would have it at the mean age of the others."""
    return [person.volume - known.slope * np.float32(person.predicted - known.age)]


def conditional(person: Person, known: Reference) -> list[Volume]:
    """The expected region, given all that surrounds it (Gaussian)."""
    return _gaussian(person, known, [np.zeros(len(known.modes))])


def conditional_draws(person: Person, known: Reference) -> list[Volume]:
    """The same, drawn several times with its uncertainty."""
    rng = np.random.default_rng(0)
    return _gaussian(person, known, list(rng.standard_normal((DRAWS, len(known.modes)))))


def nearest_brains(person: Person, known: Reference) -> list[Volume]:
    """The region of those people whose surroundings are most like the person's."""
    fills = [person.volume.copy() for _ in range(NEIGHBOURS)]
    for index, box in region_boxes(person.labels, person.indices, MARGIN):
        inside = person.labels[box] == index
        others = known.volumes[(slice(None), *box)].astype(np.float32)
        around = ~inside & (person.labels[box] > 0)
        distance = ((others[:, around] - person.volume[box][around]) ** 2).sum(axis=1)
        for fill, best in zip(fills, np.argsort(distance), strict=False):
            fill[box][inside] = others[best][inside]
    return fills


CANDIDATES: Mapping[str, Callable[[Person, Reference], list[Volume]]] = {
    "average age": average_age,
    "conditional": conditional,
    "conditional, drawn": conditional_draws,
    "nearest brains": nearest_brains,
}


def _gaussian(
    person: Person, known: Reference, draws: Sequence[NDArray[np.float64]]
) -> list[Volume]:
    """Modes fitted to what lies outside each region give its inside."""
    brain = person.labels > 0
    modes = known.modes[:, brain].astype(np.float64)
    away = (person.volume - known.mean)[brain].astype(np.float64)
    precision = 1 / known.noise**2
    whole, right = precision * (modes @ modes.T), precision * (modes @ away)
    labels = person.labels[brain]
    found = [person.volume[brain].copy() for _ in draws]
    for index in person.indices:
        inside = labels == index
        own = modes[:, inside]
        inverse = np.linalg.inv(np.eye(len(modes)) + whole - precision * (own @ own.T))
        scores = inverse @ (right - precision * (own @ away[inside]))
        spread = np.linalg.cholesky(inverse)
        for fill, draw in zip(found, draws, strict=True):
            fill[inside] = known.mean[brain][inside] + (scores + spread @ draw) @ own
    fills = []
    for values in found:
        fill = person.volume.copy()
        fill[brain] = values
        fills.append(fill)
    return fills
