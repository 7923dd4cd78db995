"""Long tables as matrices: ten million rows are summed by number, not grouped by text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.stats.intervals import Floats


def numbered(column: pd.Series) -> tuple[pd.Index, NDArray[np.intp]]:
    """Values of a column as they first occur, and the place of each row's value; -1 if missing.

    Examples
    --------
    >>> values, places = numbered(pd.Series(["b", None, "a", "b"]))
    >>> list(values), places.tolist()
    (['b', 'a'], [0, -1, 1, 0])
    """
    if not isinstance(column.dtype, pd.CategoricalDtype):
        places, values = pd.factorize(column)
        return pd.Index(values), places
    places, codes = pd.factorize(column.cat.codes.to_numpy())
    known = codes >= 0
    new = np.where(known, np.cumsum(known) - 1, -1)
    return pd.Index(np.asarray(column.cat.categories)[codes[known]]), new[places]


def by_baseline(*tables: pd.DataFrame | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Baselines in the order of their first rows; a table of one baseline is not copied."""
    for rows in (table for table in tables if table is not None and not table.empty):
        if rows["baseline"].nunique(dropna=False) == 1:
            yield rows["baseline"].iloc[0], rows
        else:
            parts = rows.groupby("baseline", dropna=False, sort=False, observed=True)
            yield from parts  # type: ignore[misc]


@dataclass(frozen=True)
class Cells:
    """Where the rows of a table lie in a matrix of two of its columns.

    Attributes
    ----------
    labels, names : Index
        Of the rows of the matrix, sorted, and of its columns, as they first occur.
    place : ndarray of int, shape (n,)
        Columns of the matrix follow each other, as they are summed.
    placed : ndarray of bool, shape (n_rows,)
        Which rows of the table have a place.
    """

    labels: pd.Index
    names: pd.Index
    place: NDArray[np.intp]
    placed: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: pd.DataFrame, row: str, column: str) -> Cells:
        """Matrix of these columns of a table; rows where one is missing have no place."""
        (labels, i), (names, j) = numbered(rows[row]), numbered(rows[column])
        order = np.argsort(labels)
        rank = np.empty(len(order) + 1, dtype=np.intp)
        rank[order] = np.arange(len(order))
        placed = (i >= 0) & (j >= 0)
        place = (j * len(labels) + rank[i])[placed]
        return cls(labels[order].rename(row), names.rename(column), place, placed)

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.labels) * len(self.names)

    def frame(self, flat: Floats) -> pd.DataFrame:
        """The matrix of values that are in the order of the places."""
        matrix = flat.reshape(len(self.names), len(self.labels)).T
        return pd.DataFrame(matrix, index=self.labels, columns=self.names)


def mean_matrix(rows: pd.DataFrame, row: str, column: str, value: str) -> pd.DataFrame:
    """Means of a value by two columns; NaN where nothing is known."""
    cells = Cells.of(rows, row, column)
    values = pd.to_numeric(rows[value]).to_numpy(dtype=np.float64)[cells.placed]
    known = np.isfinite(values)
    place = cells.place[known]
    total = np.bincount(place, weights=values[known], minlength=cells.size)
    count = np.bincount(place, minlength=cells.size)
    unknown = np.full(cells.size, np.nan)
    return cells.frame(np.divide(total, count, out=unknown, where=count > 0))


def first_matrix(rows: pd.DataFrame, row: str, column: str, value: str) -> pd.DataFrame:
    """The first known value by two columns; NaN where nothing is known."""
    cells = Cells.of(rows, row, column)
    values = pd.to_numeric(rows[value], errors="coerce").to_numpy(dtype=np.float64)[cells.placed]
    known = np.flatnonzero(np.isfinite(values))[::-1]  # the first is written last
    flat = np.full(cells.size, np.nan)
    flat[cells.place[known]] = values[known]
    return cells.frame(flat)
