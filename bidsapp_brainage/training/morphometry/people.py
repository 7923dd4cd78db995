"""People to learn from: regional measures, ages, and the datasets that are left out together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.morphometry.card import features_of
from bidsapp_brainage.morphometry.features import Feature, Floats, Kind, design
from bidsapp_brainage.training.crossval import SCANNER

SIZE = "BrainSegVolNotVent"
_SIZES = (SIZE, "MaskVol")
_THICKNESS = re.compile(r"[lr]h_(?!MeanThickness)\S+_thickness")
_CORTEX = re.compile(r"[lr]h_\S+_volume")
#: Structures of aseg.stats; sums of them and whatever else a table holds are no regions.
_STRUCTURE = re.compile(
    r"(Left|Right)-\S+|[345](rd|th)-Ventricle|Brain-Stem|CSF|WM-hypointensities|Optic-Chiasm"
    r"|CC_\w+|[lr]hCerebralWhiteMatterVol"
)
_OFTEN = 0.99  # of the people have a structure that is learned from
MIN_PEOPLE = 50


@dataclass(frozen=True)
class People:
    """People with their features.

    Attributes
    ----------
    table : DataFrame
        ``participant_id age scanner``, one row a person.
    x : ndarray, shape (n, m)
        Features, all known.
    features : tuple of Feature
    left_out : int
        People without an age or with a measure missing.
    """

    table: pd.DataFrame
    x: Floats
    features: tuple[Feature, ...]
    left_out: int = 0

    @property
    def ages(self) -> Floats:
        """Chronological ages in years, shape (n,)."""
        return self.table["age"].to_numpy(dtype=np.float64)

    def part(self, rows: NDArray[np.bool_]) -> People:
        """Some of the people."""
        return People(self.table[rows].reset_index(drop=True), self.x[rows], self.features)

    def seeing(self, chosen: NDArray[np.bool_]) -> People:
        """The same people with some of the features."""
        kept = tuple(f for f, keep in zip(self.features, chosen, strict=True) if keep)
        return People(self.table, self.x[:, chosen], kept)


def read_people(path: Path, scanner_column: str) -> People:
    """Read a wide table with ``participant_id age`` and measures by FreeSurfer's names.

    Parameters
    ----------
    path : Path
        Tab-separated, may be compressed.
    scanner_column : str
        Who is left out together: dataset or scanner.

    Raises
    ------
    DataError
        A column is missing or holds words, or there are too few people or no measures.
    """
    try:
        table = pd.read_csv(path, sep="\t", na_values=["n/a"], low_memory=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}.") from error
    needed = ("participant_id", "age", scanner_column, SIZE)
    if missing := [name for name in needed if name not in table]:
        raise DataError(
            f"{path} has no column {', '.join(missing)}. It needs participant_id, age, a column of "
            f"datasets or scanners (`scanner_column`), {SIZE} and regional measures by "
            "FreeSurfer's names."
        )
    features = features_in(table)
    _check_numbers(path, table[["age", *(feature.name for feature in features)]])
    x = design(table, features, SIZE)
    known = np.isfinite(x).all(axis=1) & table["age"].notna().to_numpy()
    if known.sum() < MIN_PEOPLE or len(features) < 2:
        raise DataError(
            f"{path}: {known.sum()} people with age and all of {len(features)} measures; "
            f"{MIN_PEOPLE} are needed."
        )
    if table.loc[known, scanner_column].nunique() < 2:
        raise DataError(
            f"{path}: the column {scanner_column} names one dataset only; errors and intervals "
            "come from people whose dataset was left out. Name another `scanner_column`."
        )
    people = table.loc[known, ["participant_id", "age", scanner_column]]
    people = people.rename(columns={scanner_column: SCANNER}).astype({SCANNER: str})
    return People(people.reset_index(drop=True), x[known], features, left_out=int((~known).sum()))


def features_in(table: pd.DataFrame) -> tuple[Feature, ...]:
    """Features of the columns of a table: thickness, then fractions, then sizes.

    Structures that hardly anybody lacks count; vessels and the fifth ventricle are mostly absent.
    """
    kinds: dict[Kind, list[str]] = {"thickness": [], "fraction": [], "size": []}
    for name in map(str, table.columns):
        if name in _SIZES:
            kinds["size"].append(name)
        elif _THICKNESS.fullmatch(name):
            kinds["thickness"].append(name)
        elif _is_region(name, table[name]):
            kinds["fraction"].append(name)
    return tuple(features_of(kinds))


def _check_numbers(path: Path, columns: pd.DataFrame) -> None:
    words = list(map(str, columns.select_dtypes(exclude="number").columns))
    if words:
        raise DataError(
            f"{path} has words where numbers belong, in {', '.join(words[:5])}. Numbers have a "
            "decimal point, and n/a stands where one is not known."
        )


def _is_region(name: str, column: pd.Series) -> bool:
    if not (_CORTEX.fullmatch(name) or _STRUCTURE.fullmatch(name)):
        return False
    return bool(pd.api.types.is_numeric_dtype(column) and (column > 0).mean() >= _OFTEN)


def parts_of(scanners: Sequence[str], parts: int) -> NDArray[np.intp]:
    """Number of the part of everybody: scanners stay whole; 0 parts: each scanner is one.

    Scanners are dealt to parts, the largest first, each to the part with fewest people.
    """
    names, which, sizes = np.unique(scanners, return_inverse=True, return_counts=True)
    if not parts:
        return which
    filled, part = np.zeros(parts), np.zeros(len(names), dtype=np.intp)
    for index in np.argsort(-sizes, kind="stable"):
        part[index] = int(np.argmin(filled))
        filled[part[index]] += sizes[index]
    return part[which]
