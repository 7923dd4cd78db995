"""Tables of many scans, kept in Parquet beside the derivatives so that each file is read once.

A pooled table lies in parts, each of some hundred people who follow each other in the order of
their labels. ``<label>.json`` of a part says which files it has the rows of, with the size and the
time of change (ns) that each had, and names a Parquet file with its SHA-256. A part is used as it
is if all of this is so; else rows of unchanged files are taken over if the Parquet file is whole,
the others are read, and the part is written anew. Both files get their names when they are
complete, the JSON last, and no Parquet file has the name of another: two runs at once do not mix.

A file that changes but keeps its path, its size and its time of change is not read again.
"""

from __future__ import annotations

import bisect
import errno
import functools
import json
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.pooled.small_tables import ReadTogether, in_order
from bidsapp_brainage.io import atomic_path, file_sha256, read_json, write_text

if TYPE_CHECKING:
    import duckdb

FOLDER = Path(".cache") / "group"
PEOPLE_PER_PART = 400
#: What made a part; those of another make are stale.
_MAKE = f"bidsapp_brainage {__version__}, pandas {pd.__version__}, form 1"
_SUPERSEDED_S = 86_400  # another run may still read what this one replaces

#: Path below the root, size (bytes), time of change (ns).
_Key = tuple[str, int, int]


@dataclass(frozen=True)
class SmallTable:
    """A file of one scan: a few rows of a pooled table, with the identity in front of them."""

    path: Path
    participant_id: str
    session_id: str | None
    run_id: str | None
    scan: str


IDENTITY = ["participant_id", "session_id", "run_id", "scan"]


@dataclass(frozen=True)
class _Part:
    """Parquet file of a part, its columns, and how many rows each file has, in their order."""

    parquet: Path
    columns: tuple[str, ...]
    rows_of: dict[_Key, int]


class PooledTable:
    """One table of many scans, in the order of its files.

    Parameters
    ----------
    root : Path
        The derivatives.
    folder : Path
        Where the parts are kept, its own for each table.
    files : sequence of SmallTable
        All of the table, sorted by path.
    reader : callable
        Reads several files together.

    Attributes
    ----------
    folder : Path
    problems : list of str
        One sentence per file that could not be read; it has no rows, and is tried again next time.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        files: Sequence[SmallTable],
        reader: Callable[[Sequence[Path]], ReadTogether],
    ) -> None:
        self.folder = folder
        self._root, self._reader = root, reader
        self.problems: list[str] = []
        firsts = sorted(path.stem for path in folder.glob("sub-*.json"))
        divided = divide(files, firsts, PEOPLE_PER_PART)
        self._parts = [self._part(label, own) for label, own in divided.items()]
        self._tidy(divided)

    @functools.cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        """One without tables, which reads and writes one part at a time."""
        import duckdb

        return duckdb.connect(config={"threads": 1, "memory_limit": "1GB"})

    @property
    def columns(self) -> list[str]:
        """Names of all columns, those of the first files first."""
        return list(dict.fromkeys(name for part in self._parts for name in part.columns))

    def frame(
        self, columns: Collection[str] = (), *, compact: bool = False, without: str = ""
    ) -> pd.DataFrame:
        """All rows, of the named columns as far as they are there, or of all.

        `compact` makes text categorical, for tables with hundreds of rows for each scan; `without`
        leaves out the rows of one baseline.
        """
        wanted = [name for name in self.columns if not columns or name in columns]
        frames = []
        for part in self._parts:
            own = [name for name in wanted if name in part.columns]
            rows = self._database.read_parquet(str(part.parquet))
            if without and "baseline" in own:
                rows = rows.filter(f"baseline IS DISTINCT FROM {_text(without)}")
            frame = _as_read(rows.project(", ".join(map(_quoted, own))).df())
            frames.append(_compact(frame) if compact else frame)
        return _concatenated(frames, wanted)

    def lines(self, left_out: Collection[str] = ()) -> Iterator[str]:
        """The table as BIDS TSV, part by part, without the rows of some scans."""
        yield "\t".join(self.columns) + "\n"
        for part in self._parts:
            rows = self._database.read_parquet(str(part.parquet))
            types = dict(zip(rows.columns, map(str, rows.types), strict=True))
            cells = ", ".join(_cell(name, types.get(name)) for name in self.columns)
            found = rows.project(f"concat_ws(chr(9), {cells}) AS line, scan").fetchnumpy()
            kept = ~pd.Series(found["scan"]).isin(list(left_out)).to_numpy()
            yield "".join(f"{line}\n" for line in found["line"][kept])

    def _part(self, label: str, files: Sequence[SmallTable]) -> _Part:
        """The part with these files: the one that is there, or one with what it lacks."""
        keys = [file_key(self._root, file.path) for file in files]
        known = self._known(label)
        if known is not None and list(known.rows_of) == keys:
            return known
        taken = self._taken(known, keys)
        old = {} if known is None else known.rows_of
        new = [place for place, key in enumerate(keys) if key not in old]
        read = self._reader([files[place].path for place in new])
        self.problems += read.problems.values()
        places = np.array(new, dtype=np.intp)[read.file]
        parts = [taken, (_with_identity(read.rows, files, places), places)]
        full = [part for part in parts if len(part[1])]  # the columns of an empty one do not count
        rows, of_file = in_order(full) if full else (pd.DataFrame(), places)
        counts = np.bincount(of_file, minlength=len(keys))
        bad = {new[number] for number in read.problems}
        rows_of = {
            key: int(counts[place])
            for place, key in enumerate(keys)
            if key is not None and place not in bad
        }
        if known is not None and list(known.rows_of.items()) == list(rows_of.items()):
            return known  # what is new could not be read
        return self._write(label, rows, rows_of)

    def _taken(
        self, known: _Part | None, keys: Sequence[_Key | None]
    ) -> tuple[pd.DataFrame, NDArray[np.intp]]:
        """Rows of the files that have not changed, and the places of these files among the keys."""
        if known is None:
            return pd.DataFrame(), np.empty(0, dtype=np.intp)
        places = {key: place for place, key in enumerate(keys)}
        of_file = [places.get(key, -1) for key in known.rows_of]
        place = np.repeat(np.array(of_file, dtype=np.intp), list(known.rows_of.values()))
        rows = _as_read(self._database.read_parquet(str(known.parquet)).df())
        return rows[place >= 0], place[place >= 0]

    def _known(self, label: str) -> _Part | None:
        """The part that is there; None where it is of another make, broken or not whole."""
        told = read_json(self.folder / f"{label}.json")
        try:
            parquet = self.folder / str(told["Parquet"])
            rows_of = {(str(p), int(s), int(t)): int(n) for p, s, t, n in told["Files"]}  # type: ignore[attr-defined]
            columns = tuple(map(str, told["Columns"]))  # type: ignore[call-overload]
            whole = told["Make"] == _MAKE and told["SHA256"] == file_sha256(parquet)
        except (KeyError, TypeError, ValueError, OSError):
            return None
        return _Part(parquet, columns, rows_of) if whole else None

    def _write(self, label: str, rows: pd.DataFrame, rows_of: dict[_Key, int]) -> _Part:
        columns = [*IDENTITY, *(str(name) for name in rows if name not in IDENTITY)]
        parquet = self.folder / f"{label}-{secrets.token_hex(8)}.parquet"
        with atomic_path(parquet) as temporary:
            self._write_parquet(rows.reindex(columns=columns).apply(_storable), temporary)
            checksum = file_sha256(temporary)
        facts = {
            "Make": _MAKE,
            "Parquet": parquet.name,
            "SHA256": checksum,
            "Columns": columns,
            "Files": [[*key, n] for key, n in rows_of.items()],
        }
        write_text(self.folder / f"{label}.json", json.dumps(facts) + "\n")
        return _Part(parquet, tuple(columns), rows_of)

    def _write_parquet(self, rows: pd.DataFrame, path: Path) -> None:
        import duckdb

        try:
            self._database.from_df(rows).write_parquet(str(path), compression="zstd")
        except duckdb.IOException as error:
            full = "No space left" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(path)) from error

    def _tidy(self, used: Collection[str]) -> None:
        """Remove parts without people, and Parquet files that were replaced a while ago."""
        for path in self.folder.glob("sub-*.json"):
            if path.stem not in used:
                path.unlink(missing_ok=True)
        named = {part.parquet for part in self._parts}
        for path in set(self.folder.glob("*.parquet")) - named:
            if time.time() - path.stat().st_mtime > _SUPERSEDED_S:
                path.unlink(missing_ok=True)


def file_key(root: Path, path: Path) -> _Key | None:
    """What tells a file from a changed one; None where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path).removeprefix(f"{root}{os.sep}"), found.st_size, found.st_mtime_ns


def divide(
    files: Sequence[SmallTable], firsts: Sequence[str], most: int
) -> dict[str, list[SmallTable]]:
    """Files by part, under the label of its first person; `firsts` are those of the parts there.

    A new part has at most so many people. New people go to the part that their labels belong to;
    one that has twice as many is divided.
    """
    by_person: dict[str, list[SmallTable]] = {}
    for file in files:
        by_person.setdefault(file.participant_id, []).append(file)
    ranges: dict[str, list[str]] = {}
    for person in sorted(by_person):
        place = bisect.bisect_right(firsts, person) - 1
        ranges.setdefault(firsts[max(place, 0)] if firsts else person, []).append(person)
    if not firsts:
        ranges = {"": list(by_person)}
    divided: dict[str, list[SmallTable]] = {}
    for first, people in ranges.items():
        size = most if not first or len(people) > 2 * most else len(people)
        for start in range(0, len(people), size):
            part = people[start : start + size]
            label = part[0] if start or not first else first
            divided[label] = [file for person in part for file in by_person[person]]
    return divided


def _with_identity(
    rows: pd.DataFrame, files: Sequence[SmallTable], places: NDArray[np.intp]
) -> pd.DataFrame:
    front = {
        name: np.array([getattr(file, name) for file in files], dtype=object)[places]
        for name in IDENTITY
    }
    rest = rows.drop(columns=[name for name in IDENTITY if name in rows])
    return pd.concat([pd.DataFrame(front), rest], axis=1)


def _storable(column: pd.Series) -> pd.Series:
    """A column with one type; what has several becomes text."""
    if column.dtype != object:
        return column
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "empty":
        return column.astype(float)
    if kind == "boolean":
        return column.astype("boolean")
    return (column if kind == "string" else column.map(str, na_action="ignore")).astype("string")


def _as_read(rows: pd.DataFrame) -> pd.DataFrame:
    """With the types that the reader of tables gives."""
    words = [name for name in rows if rows[name].dtype == "boolean"]
    for name in words:
        values = rows[name]
        rows[name] = values.astype(object).where(values.notna(), np.nan)
    return rows


def _compact(rows: pd.DataFrame) -> pd.DataFrame:
    """With categorical text."""
    text = [name for name in rows if pd.api.types.is_string_dtype(rows[name])]
    return rows.assign(**{str(name): pd.Categorical(rows[name]) for name in text})


def _concatenated(frames: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """All rows, column by column: there is never a second copy of more than one of them."""
    if not any(len(frame) for frame in frames):
        return pd.DataFrame(columns=list(columns or IDENTITY))
    whole = {}
    for name in columns:
        parts = [
            frame.pop(name) if name in frame else pd.Series(np.nan, index=frame.index)
            for frame in frames
        ]
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
            whole[name] = pd.Series(union_categoricals(parts))
        else:
            whole[name] = pd.concat(parts, ignore_index=True).infer_objects()
    return pd.DataFrame(whole, copy=False)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _cell(name: str, kind: str | None) -> str:
    """SQL of a TSV cell, as :func:`bidsapp_brainage.io.write_tsv` writes it."""
    if kind is None:
        return "'n/a'"
    text = f"CAST({_quoted(name)} AS VARCHAR)"
    if kind == "DOUBLE":
        number = _quoted(name)
        text = f"CASE WHEN isfinite({number}) THEN format('{{:.6g}}', {number} + 0.0) END"
    return f"coalesce({text}, 'n/a')"
