"""Tables with a row per person and a column per regional measure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv

from .names import labels
from .stats_files import RENAMED

if TYPE_CHECKING:
    import pandas as pd

_ID, _SESSION = "participant_id", "session_id"
#: First column of what ``asegstats2table`` and ``aparcstats2table`` write.
_OF_FREESURFER = re.compile(r"Measure:\w+|[lr]h\.aparc.*")
_NO_REGION = (_ID, _SESSION, "age", "sex")


@dataclass(frozen=True)
class Measures:
    """Regional measures of several people.

    Attributes
    ----------
    people : DataFrame
        ``participant_id session_id``, the latter missing where there are no sessions.
    values : DataFrame
        Same rows; a column per measure by the names of :class:`.subjects.Morphometry`, NaN where
        somebody lacks it.
    software, parcellations : tuple of str
        Of every person; empty text where it is not known.
    """

    people: pd.DataFrame
    values: pd.DataFrame
    software: tuple[str, ...] = field(default=())
    parcellations: tuple[str, ...] = field(default=())


def read_measures(paths: Sequence[Path]) -> Measures:
    """Read one or several tables and put them side by side.

    Parameters
    ----------
    paths : sequence of Path
        Tab-separated tables with ``participant_id`` (and ``session_id``) and columns named as
        FreeSurfer does (``Left-Hippocampus``, ``lh_bankssts_thickness``), or what
        ``asegstats2table`` and ``aparcstats2table`` write. What is no number counts as missing.

    Raises
    ------
    DataError
        A table cannot be read, has no column of people or lists somebody twice; or the tables are
        not about the same people.
    """
    import pandas as pd

    tables = [_read(path) for path in paths]
    first = tables[0]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        if set(table.index) != set(first.index):
            odd = sorted(set(table.index) ^ set(first.index))
            raise DataError(
                f"{path} and {paths[0]} are not about the same people: {_names(odd)} stand in one "
                "of them only."
            )
    values = pd.concat([table.loc[first.index] for table in tables], axis=1)
    values = values.loc[:, ~values.columns.duplicated()]
    people = first.index.to_frame(index=False)
    nobody = ("",) * len(people)
    return Measures(people, values.reset_index(drop=True), nobody, nobody)


def _read(path: Path) -> pd.DataFrame:
    """One table, indexed by person and session."""
    import pandas as pd

    table = read_tsv(path)
    first = str(table.columns[0])
    if _ID not in table and _OF_FREESURFER.fullmatch(first):
        table = table.rename(columns={first: _ID})
    if _ID not in table:
        raise DataError(
            f"{path} has no column {_ID}: its first column is '{first}'. Name the column with the "
            "people so, or give what asegstats2table and aparcstats2table wrote."
        )
    named = [labels(str(cell).rstrip("/")) for cell in table[_ID]]
    sessions = [f"ses-{session}" if session else None for _, session in named]
    if _SESSION in table:
        own = table[_SESSION]
        sessions = [None if x != x else f"ses-{str(x).removeprefix('ses-')}" for x in own]
    table = table.copy()  # in one piece: a wide table as it was read is slow to change
    table[_ID], table[_SESSION] = [f"sub-{label}" for label, _ in named], sessions
    table = table.set_index([_ID, _SESSION])
    if table.index.duplicated().any():
        raise DataError(f"{path} lists {_names(table.index[table.index.duplicated()])} twice.")
    table = table.rename(columns=RENAMED).drop(columns=[c for c in _NO_REGION if c in table])
    return table.apply(pd.to_numeric, errors="coerce").astype(float)


def _names(people: Iterable[tuple[str, str]]) -> str:
    return ", ".join(str(person[0]) for person in list(people)[:5])
