"""Who is learned from and who is asked: leave one scanner out, and out of fold in the largest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.stats.folds import assign_folds
from bidsapp_brainage.training.morphometry.fitting import balancing_weights

from .people import People
from .regressors import LEARNERS

LEFT_OUT = "left out"
OUT_OF_FOLD = "out of fold"
FEW = 100  # people to learn from; fewer are said
N_FOLDS = 5
MARGIN = 2.0  # years beyond the ages learned from that an answer may have


@dataclass(frozen=True)
class Split:
    """Indices of people who are learned from and of people who are asked."""

    kind: str
    name: str
    learnt: NDArray[np.intp]
    asked: NDArray[np.intp]


def splits(people: People, parts: int = 0, train_on: str = "") -> Iterator[Split]:
    """Every scanner left out once, then folds of the scanner with most people.

    Parameters
    ----------
    people : People
    parts : int
        Leave out scanners in this many parts of about equal size instead of one at a time.
    train_on : str
        Learn from this scanner alone, ask all others, and nothing else.
    """
    cohorts = people.cohorts
    names, sizes = np.unique(cohorts, return_counts=True)
    if train_on:
        learnt = np.flatnonzero(cohorts == train_on)
        yield Split(f"from {train_on}", "others", learnt, np.flatnonzero(cohorts != train_on))
        return
    if len(names) > 1:
        part_of = _parts(names, sizes, parts) if parts else {n: i for i, n in enumerate(names)}
        part = np.array([part_of[name] for name in cohorts])
        for number in np.unique(part):
            name = names[number] if not parts else f"part {number + 1}"
            yield Split(
                LEFT_OUT, name, np.flatnonzero(part != number), np.flatnonzero(part == number)
            )
    if not parts:
        largest = np.flatnonzero(cohorts == names[np.argmax(sizes)])
        units = people.table["participant_id"].iloc[largest].tolist()
        fold = assign_folds(units, people.ages[largest], N_FOLDS, 0)
        for number in range(N_FOLDS):
            learnt, asked = largest[fold != number], largest[fold == number]
            yield Split(OUT_OF_FOLD, f"fold {number + 1}", learnt, asked)


def features(people: People, name: str) -> NDArray[np.float64]:
    """Features of people, shape (n_people, n_features), by name.

    ``fractions``: as they are; ``logs``: logarithms of ratios to the head, less their mean for
    ``ratios``; with ``-sides``, both sides are added before, with ``-grouped`` the parcels of the
    cortex, too.
    """
    kind, _, group = name.partition("-")
    volumes = people.both_sides(one_cortex=group == "grouped") if group else people.volumes
    values = volumes.to_numpy(dtype=np.float64)
    if kind == "fractions":
        return values
    smallest = np.where(values > 0, values, np.inf).min(axis=0)
    logs = np.log(np.maximum(values, np.where(np.isfinite(smallest), smallest, 1.0) / 2))
    return logs - logs.mean(axis=1, keepdims=True) if kind == "ratios" else logs


FEATURES = tuple(
    f"{kind}{end}" for kind in ("fractions", "logs", "ratios") for end in ("", "-sides", "-grouped")
)


def predictions(
    people: People,
    learner: str,
    feature_set: str,
    found: list[Split],
    *,
    balanced: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Out-of-sample predictions of one candidate.

    Features are standardised with mean and SD of those learned from, and clipped at 6 SD; ages
    are kept within ``MARGIN`` years of the ages learned from, as the bins of a network keep them.

    Returns
    -------
    DataFrame
        ``participant_id cohort age predicted sd split n_learnt``.
    """
    values, rows = features(people, feature_set), []
    for split in found:
        known = values[split.learnt]
        mean, sd = known.mean(axis=0), known.std(axis=0)
        sd = np.where(sd > 0, sd, np.inf)
        scaled = np.clip((values - mean) / sd, -6, 6)
        ages = people.ages[split.learnt]
        weights = balancing_weights(ages) if balanced else np.ones(len(ages))
        predictor = LEARNERS[learner](scaled[split.learnt], ages, weights)
        predicted, spread = predictor(scaled[split.asked])
        predicted = np.clip(predicted, ages.min() - MARGIN, ages.max() + MARGIN)
        part = people.table.iloc[split.asked].assign(
            predicted=predicted, sd=spread, split=split.kind, n_learnt=len(split.learnt)
        )
        rows.append(part)
        say(f"{learner} {feature_set} {split.kind} {split.name}")
    return pd.concat(rows, ignore_index=True)


def few_notes(found: list[Split]) -> list[str]:
    """A sentence for every split with few people to learn from."""
    return [
        f"{split.kind}, {split.name}: learned from {len(split.learnt)} people only."
        for split in found
        if len(split.learnt) < FEW
    ]


def _parts(names: NDArray[np.str_], sizes: NDArray[np.intp], parts: int) -> dict[str, int]:
    """Scanners dealt to parts, the largest first, each to the part with fewest people."""
    filled = np.zeros(parts)
    part_of = {}
    for index in np.argsort(-sizes, kind="stable"):
        least = int(np.argmin(filled))
        part_of[str(names[index])] = least
        filled[least] += sizes[index]
    return part_of
