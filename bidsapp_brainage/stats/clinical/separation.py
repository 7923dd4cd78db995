"""How well a gap tells two groups apart, in people left out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.group.clinical import ROC, SEPARATION
from bidsapp_brainage.stats.design import GROUP_TERM, Design
from bidsapp_brainage.stats.intervals import Floats
from bidsapp_brainage.stats.resampling import times_drawn

COLUMNS = tuple(column.name for column in SEPARATION)
CURVE_COLUMNS = tuple(column.name for column in ROC)
LEAST_OF_A_GROUP = 10  # people
N_FOLDS, N_REPEATS = 5, 10
CURVE_POINTS = 101
_AT_ONCE = 4_000_000  # people drawn that are held in memory
GAP, COVARIATES, BOTH = "gap", "covariates", "covariates and gap"


@dataclass(frozen=True)
class _Pair:
    """Two groups: who is of the second, and the predictors by name."""

    first: str
    second: str
    is_second: np.ndarray
    predictors: Mapping[str, Floats]


def separate(
    outcome: pd.Series, design: Design, *, n_boot: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Area under the ROC curve of every two groups, by their gaps and by logistic regression.

    The gap is a score as it is. The covariates of the design, and both together, are weighted by
    logistic regressions on other people: the mean over ten repeats of stratified five-fold
    cross-validation, without the intercepts, which would rank people by the share of the groups in
    the fold that they are in. Where there is nothing to learn such an area is a little below .5
    (Parker et al., BMC Bioinformatics 2007). What the gap adds is the difference of
    the two. Intervals draw people of each group with replacement, with their scores as they are, so
    that they do not contain the spread of the fit.

    Parameters
    ----------
    outcome : Series
        The gap by ``participant_id``.
    design : Design
        With groups; its other terms, and sites as fixed effects, are the covariates.
    n_boot, seed : int
        Of the bootstrap; folds have the same seed.

    Returns
    -------
    table, curves : DataFrame
        ``COLUMNS``, one row per pair of groups and predictors, and ``CURVE_COLUMNS``, the points of
        the ROC curves. Empty without two groups of at least ten people.
    """
    rows, points = [], []
    for pair in _pairs(outcome, design):
        scores = {
            name: x[:, 0] if name == GAP else _scores(x, pair.is_second, seed)
            for name, x in pair.predictors.items()
        }
        areas = _areas(scores, pair.is_second, n_boot, seed)
        for name, found in scores.items():
            rows.append(_row(pair, name, areas))
            points.append(_curve(pair, name, found))
    empty = pd.DataFrame(columns=list(CURVE_COLUMNS))
    return pd.DataFrame(rows, columns=list(COLUMNS)), pd.concat(points) if points else empty


def _pairs(outcome: pd.Series, design: Design) -> list[_Pair]:
    if design.groups is None:
        return []
    known = outcome.dropna().index.intersection(design.terms.index)
    groups = design.groups.loc[known]
    counts = groups.value_counts()
    large = sorted(counts.index[counts >= LEAST_OF_A_GROUP])
    # The reference comes first, so that a higher score speaks for the other group.
    large.sort(key=lambda name: name != design.reference)
    pairs = []
    for first, second in itertools.combinations(large, 2):
        rows = groups.index[groups.isin([first, second])]
        matrix = design.matrix(rows)
        own = [
            name
            for name in map(str, matrix)
            if name != "intercept" and not name.startswith(GROUP_TERM)
        ]
        gap = outcome.loc[rows].to_numpy(dtype=np.float64)[:, None]
        covariates = matrix[own].to_numpy(dtype=np.float64)
        predictors = {GAP: gap}
        if covariates.shape[1]:
            predictors |= {COVARIATES: covariates, BOTH: np.hstack([covariates, gap])}
        is_second = (groups.loc[rows] == second).to_numpy()
        pairs.append(_Pair(first, second, is_second, predictors))
    return pairs


def _scores(predictors: Floats, is_second: np.ndarray, seed: int) -> Floats:
    """Mean score of each person by regressions on others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold

    total = np.zeros(len(is_second))
    folds = RepeatedStratifiedKFold(n_splits=N_FOLDS, n_repeats=N_REPEATS, random_state=seed)
    scaled = predictors / np.maximum(predictors.std(axis=0), 1e-12)  # of one size for the penalty
    for learned, left_out in folds.split(predictors, is_second):
        model = LogisticRegression().fit(scaled[learned], is_second[learned])
        total[left_out] += scaled[left_out] @ model.coef_[0]
    return np.asarray(total / N_REPEATS)


def _areas(
    scores: Mapping[str, Floats], is_second: np.ndarray, n_boot: int, seed: int
) -> dict[str, Floats]:
    """Area of everybody, and behind it those of draws of people within each group, by score.

    Share of pairs of people in which that of the second group has the higher score.
    """
    places = {name: _Places.of(found, is_second) for name, found in scores.items()}
    sizes = [int((~is_second).sum()), int(is_second.sum())]
    found = {name: [of.areas(*(np.ones((1, n)) for n in sizes))] for name, of in places.items()}
    for drawn in zip(*_times_drawn(sizes, n_boot, seed), strict=True):
        for name, of in places.items():
            found[name].append(of.areas(*drawn))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _times_drawn(sizes: Sequence[int], n_boot: int, seed: int) -> list[Iterator[Floats]]:
    """How often each person of a group is drawn, some draws at once: (n_draws, n_people).

    All draws of the first group come before those of the second in the stream of random numbers, so
    that the second has a stream of its own, which begins behind them.
    """
    step = max(1, _AT_ONCE // sum(sizes))
    counts = [min(step, n_boot - start) for start in range(0, n_boot, step)]
    streams = [np.random.default_rng(seed) for _ in sizes]
    for n in counts:
        streams[1].integers(0, sizes[0], (n, sizes[0]))

    def of_group(random: np.random.Generator, size: int) -> Iterator[Floats]:
        for n in counts:
            yield times_drawn(size, n, random)

    return [of_group(*each) for each in zip(streams, sizes, strict=True)]


@dataclass(frozen=True)
class _Places:
    """The first group by score, and how many of it are below, or not above, each of the second."""

    order: np.ndarray
    below: np.ndarray
    not_above: np.ndarray

    @classmethod
    def of(cls, scores: Floats, is_second: np.ndarray) -> _Places:
        first, second = scores[~is_second], scores[is_second]
        order = np.argsort(first, kind="stable")
        sides = (np.searchsorted(first[order], second, side) for side in ("left", "right"))
        return cls(order, *sides)

    def areas(self, first: Floats, second: Floats) -> Floats:
        """Areas with each person so many times, shape (n_draws,)."""
        until = np.zeros((len(first), first.shape[1] + 1))
        np.cumsum(first[:, self.order], axis=1, out=until[:, 1:])
        pairs = until[:, self.below] + until[:, self.not_above]
        total = (second * pairs).sum(axis=1)
        return np.asarray(total / second.sum(axis=1) / (2 * first.sum(axis=1)))


def _row(pair: _Pair, name: str, areas: Mapping[str, Floats]) -> dict[str, object]:
    low, high = np.percentile(areas[name][1:], (2.5, 97.5))
    row: dict[str, object] = {
        "group_a": pair.first,
        "group_b": pair.second,
        "predictors": name,
        "n_a": int((~pair.is_second).sum()),
        "n_b": int(pair.is_second.sum()),
        "auc": areas[name][0],
        "ci95_lower": low,
        "ci95_upper": high,
    }
    if name == BOTH:
        added = areas[BOTH] - areas[COVARIATES]
        low, high = np.percentile(added[1:], (2.5, 97.5))
        row |= {"added": added[0], "added_ci95_lower": low, "added_ci95_upper": high}
    return row


def _curve(pair: _Pair, name: str, scores: Floats) -> pd.DataFrame:
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(pair.is_second, scores)
    places = np.linspace(0, 1, CURVE_POINTS)  # as many points for a thousand people as for ten
    return pd.DataFrame(
        {
            "group_a": pair.first,
            "group_b": pair.second,
            "predictors": name,
            "false_positive_rate": places,
            "true_positive_rate": np.interp(places, false_positive, true_positive),
        },
        columns=list(CURVE_COLUMNS),
    )
