"""Ratings of scans in a group: who is left out, how raters agree, what the results owe to it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.ratings import (
    ARTEFACTS,
    BEST,
    EXCLUDE,
    GRADES,
    STEP_GRADES,
    STEPS,
)
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.group.collect import ModelResult
from bidsapp_brainage.group.notes import Findings, Note, findings
from bidsapp_brainage.stats.agreement import raters
from bidsapp_brainage.stats.agreement.raters import Weights

MIN_SCANS = 2  # that both of two raters rated
FAR_APART = 2  # grades


@dataclass(frozen=True)
class Ratings:
    """What people said about the scans, and the lowest rating that a scan may have.

    The table has one row per scan and rater
    (:func:`bidsapp_brainage.bids.ratings.stored_ratings`).
    """

    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=columns_of("ratings")))
    minimum: int = EXCLUDE

    def of(self, model: ModelResult) -> Ratings:
        """Only those of the scans of a model."""
        own = self.table["scan"].isin(model.brainage["scan"])
        return replace(self, table=self.table[own].reset_index(drop=True))

    @functools.cached_property
    def scans(self) -> pd.DataFrame:
        """One row per rated scan, the table ``scanratings``; the lowest ratings first."""
        columns = columns_of("scanratings")
        if self.table.empty:
            return pd.DataFrame(columns=columns)
        scans = self.table.groupby("scan", sort=True)
        seen = (self.table[[item.key for item in ARTEFACTS]] == True).groupby(self.table["scan"])  # noqa: E712
        grades = scans["rating"].agg(["min", "max", "count"])
        table = pd.DataFrame(
            {
                "participant_id": scans["participant_id"].first(),
                "rating": scans["rating"].agg(lambda part: raters.consensus(list(part))),
                "lowest": grades["min"],
                "highest": grades["max"],
                "n_raters": grades["count"],
                "raters": scans["rater"].agg(lambda part: ", ".join(sorted(part))),
                "artefacts": [_titles(row) for row in seen.any().to_numpy()],
                "notes": scans["notes"]
                .agg(lambda part: " | ".join(part.dropna()))
                .replace("", None),
            }
        ).reset_index()
        table["left_out"] = table["rating"] < self.minimum
        order = table.sort_values(["rating", "lowest", "scan"])
        return order.reindex(columns=columns).reset_index(drop=True)

    def below(self, minimum: int) -> frozenset[str]:
        """Scans with a lower rating."""
        scans = self.scans
        return frozenset(scans.loc[scans["rating"] < minimum, "scan"])

    @property
    def reasons(self) -> dict[str, str]:
        """Why scans are left out."""
        return {
            row["scan"]: f"rated {row['rating']} by {row['raters']}, below {self.minimum}"
            for row in self.scans.to_dict("records")
            if row["left_out"]
        }

    def other_minimums(self, scans: Set[str]) -> list[int]:
        """Lowest ratings that would leave out others of the scans than the chosen one, not all."""
        seen = [self.below(self.minimum)]
        others = []
        for minimum in range(EXCLUDE, BEST):
            if self.below(minimum) not in seen and not scans <= self.below(minimum):
                seen.append(self.below(minimum))
                others.append(minimum)
        return others


def _titles(seen: NDArray[np.bool_]) -> str | None:
    """Titles of the artefacts that were seen; None for none."""
    pairs = zip(ARTEFACTS, seen, strict=True)
    return ", ".join(artefact.title for artefact, there in pairs if there) or None


def without_scans(model: ModelResult, left_out: Set[str]) -> ModelResult:
    """The results of a model without some scans.

    Raises
    ------
    NoInputError
        Nothing is left.
    """
    if not left_out:
        return model
    if set(model.brainage["scan"]) <= left_out:
        raise NoInputError(
            f"All scans of model {model.label} are rated below `min_rating`: give a lower one, or "
            "correct the tables in OUTPUT_DIR/ratings/."
        )
    atlases = [
        replace(
            atlas,
            frames=_frames(atlas.frames, left_out),
            maps=_without(atlas.maps, left_out),
            left_out=atlas.left_out | left_out,
        )
        for atlas in model.atlases
    ]
    return replace(
        model,
        frames=_frames(model.frames, left_out),
        atlases=tuple(atlas for atlas in atlases if not atlas.table.empty),
        maps={key: _without(maps, left_out) for key, maps in model.maps.items()},
    )


def _frames(frames: Mapping[str, pd.DataFrame], left_out: Set[str]) -> dict[str, pd.DataFrame]:
    return {
        key: frame[~frame["scan"].isin(left_out)].reset_index(drop=True)
        for key, frame in frames.items()
    }


def _without(of_scans: Mapping[str, Path], left_out: Set[str]) -> dict[str, Path]:
    return {scan: path for scan, path in of_scans.items() if scan not in left_out}


def rating_tables(ratings: Ratings) -> Findings:
    """The rated scans, the agreement of raters, and sentences about both."""
    scans = ratings.scans
    if scans.empty:
        return Findings({})
    who = ", ".join(sorted(set(ratings.table["rater"])))
    told = f"Scans rated: {len(scans)}, by {who}. Those that nobody rated are used."
    notes = [Note("ratings", told)]
    if ratings.minimum > EXCLUDE:
        names = ", ".join(scans.loc[scans["left_out"], "scan"]) or "no scan"
        told = f"Rated below {ratings.minimum} and left out of all results: {names}."
        notes.append(Note("ratings", told))
    apart = scans[scans["highest"] - scans["lowest"] >= FAR_APART]
    if len(apart):
        names = ", ".join(apart["scan"])
        told = f"Raters differ by {FAR_APART} grades or more: look together at {names}."
        notes.append(Note("ratings", told))
    agreed = findings("rateragreement", agreement_table(ratings.table))
    return Findings({"scanratings": scans, **agreed.tables}, notes)


def agreement_table(table: pd.DataFrame) -> pd.DataFrame:
    """Agreement of every pair of raters about everything that both said of a scan.

    The table has one row per scan and rater; columns are those of the card ``rateragreement``.
    """
    rows = [
        {"rater_a": one, "rater_b": two, **row}
        for one, two in combinations(sorted(set(table["rater"])), 2)
        for row in _pair_rows(table[table["rater"] == one], table[table["rater"] == two])
    ]
    return pd.DataFrame(rows, columns=columns_of("rateragreement"))


@dataclass(frozen=True)
class _Item:
    """Something that is asked of a scan, with its answers in their order."""

    key: str
    column: str
    answers: Mapping[object, int]
    weights: tuple[Weights, ...] = ("none",)


def _items() -> Iterator[_Item]:
    grades: dict[object, int] = {grade.value: place for place, grade in enumerate(GRADES)}
    yield _Item("rating", "rating", grades, ("quadratic", "linear", "none"))
    yield _Item("exclude", "rating", {value: int(value == EXCLUDE) for value in grades})
    steps: dict[object, int] = {word: place for place, word in enumerate(STEP_GRADES)}
    for key, _ in STEPS:
        yield _Item(key, key, steps, ("quadratic",))
    for artefact in ARTEFACTS:
        yield _Item(artefact.key, artefact.key, {False: 0, True: 1})


def _pair_rows(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[dict[str, object]]:
    both = first.merge(second, on="scan", suffixes=("_a", "_b"))
    for item in _items():
        one, two = (both[f"{item.column}_{who}"].map(item.answers) for who in "ab")
        known = one.notna() & two.notna()
        if known.sum() < MIN_SCANS:
            continue
        for weights in item.weights:
            found = raters.agreement(
                one[known].astype(int),
                two[known].astype(int),
                both.loc[known, "participant_id_a"],
                n_answers=max(item.answers.values()) + 1,
                weights=weights,
            )
            yield {
                "item": item.key,
                "weights": weights,
                "n_scans": found.n_scans,
                "n_participants": found.n_participants,
                "agreement": found.share,
                "kappa": found.kappa,
                "ci95_lower": found.lower,
                "ci95_upper": found.upper,
            }


def known_ratings(ratings: Ratings, scans: pd.Series) -> pd.DataFrame:
    """Rating and number of raters of every one of some scans; without columns if none is rated."""
    if ratings.scans.empty:
        return pd.DataFrame(index=scans.index)
    rated = ratings.scans.set_index("scan")[["rating", "n_raters"]].astype("Int64")
    return rated.reindex(scans).set_index(scans.index)
