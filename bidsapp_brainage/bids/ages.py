"""Chronological ages: where they stand in a BIDS dataset and how they are read.

Order of the sources, first hit wins: ``age_file``, ``sub-X_sessions.tsv``, ``*_scans.tsv``,
``participants.tsv``. An age is never invented: what cannot be understood is ``n/a`` with a note
that says why and what to change.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.io import parse_json, read_tsv

if TYPE_CHECKING:
    import pandas as pd

_Row = dict[Hashable, Any]
DEFAULT_AGE_COLUMN = "age"
_OTHER_AGE_COLUMNS = ("age_at_session", "age_at_scan", "age_years")
_SEX_COLUMNS = ("sex", "gender")
_SITE_COLUMNS = ("site", "site_id", "center", "centre")
_SESSION_COLUMNS = ("session_id", "session", "ses")

#: Above this a number of years is not the age of a person.
MAX_AGE_YEARS = 120.0
#: Days per unit over days per year.
_YEARS_PER_UNIT = {"year": 1.0, "month": 1 / 12, "week": 7 / 365.25, "day": 1 / 365.25}
_UNIT_PATTERNS = (
    ("year", re.compile(r"^(y|yr|yrs|yo|a|year|years)\b|year", re.IGNORECASE)),
    ("month", re.compile(r"^(mo|mos|m|mon|month|months)\b|month", re.IGNORECASE)),
    ("week", re.compile(r"^(w|wk|wks|week|weeks)\b|week", re.IGNORECASE)),
    ("day", re.compile(r"^(d|day|days)\b|day", re.IGNORECASE)),
)
_DOUBTFUL = (
    f"ages were not used because many are above {MAX_AGE_YEARS:g} and no unit is given; "
    "set Units (year, month, week or day) for the column in the JSON beside the table"
)
_MISSING = frozenset({"", "n/a", "na", "nan", "none", "null", "unknown", "-", "?"})
_NUMBER = re.compile(
    r"^(?P<above>>=?|≥)?\s*(?P<number>\d+(?:[.,]\d+)?)\s*(?P<plus>\+)?\s*(?P<unit>[a-zA-Z ./]*)$"
)
_SEXES = {
    "F": ("f", "female", "woman", "w", "girl"),
    "M": ("m", "male", "man", "boy"),
    "O": ("o", "other", "intersex", "nonbinary", "non-binary"),
}


@dataclass(frozen=True)
class Age:
    """Chronological age of one scan.

    Attributes
    ----------
    value : float or None
        Years; ``None`` when unknown.
    source : str
        ``"age-file"``, ``"sessions.tsv"``, ``"scans.tsv"``, ``"participants.tsv"`` or ``"n/a"``.
    capped : bool
        The table gave a lower bound (``89+``), which is taken as the age.
    note : str
        What a reader must know about this value, in plain words; empty if nothing.
    """

    value: float | None
    source: str
    capped: bool = False
    note: str = ""


UNKNOWN_AGE = Age(None, "n/a")


@dataclass(frozen=True)
class Person:
    """What the tables say about one scan besides the image."""

    age: Age
    sex: str = "n/a"
    site: str = "n/a"
    facts: tuple[tuple[str, str], ...] = ()


def parse_age(text: object, units: str | None = None) -> Age:
    """Read one age cell: a number, ``"89+"``, ``">89"``, ``"034Y"``, ``"25 months"``, ``"n/a"`` ...

    `units` is that of the column; years if absent. The age is in years with an empty source (the
    caller knows it); unreadable text gives no value and a note.
    """
    if text is None or str(text).strip().lower() in _MISSING:
        return UNKNOWN_AGE
    match = _NUMBER.match(str(text).strip())
    if not match:
        return Age(None, "n/a", note=f"the age {text!r} is not a number; write years as 34.5")
    unit_text = match["unit"].strip() or (units or "")
    unit = _unit_of(unit_text) if unit_text else "year"
    if unit is None:
        return Age(
            None,
            "n/a",
            note=f"the unit {unit_text!r} of the age is not known; use year, month, week or day",
        )
    years = float(match["number"].replace(",", ".")) * _YEARS_PER_UNIT[unit]
    if years > MAX_AGE_YEARS:
        return Age(None, "n/a", note=_too_old(text, unit_text))
    notes = [] if unit == "year" else [f"age converted from {unit}s to years"]
    capped = bool(match["above"] or match["plus"])
    if capped:
        notes.append(f"the age {str(text).strip()!r} is a lower bound, taken as {years:g}")
    return Age(round(years, 6), "", capped, "; ".join(notes))


def _too_old(text: object, unit_text: str) -> str:
    hint = "" if unit_text else ": if it is in months or days, set Units in the JSON of the table"
    return f"the age {text} is above {MAX_AGE_YEARS:g} years and was not used{hint}"


def _unit_of(text: str) -> str | None:
    """Name of a unit of time, or None."""
    cleaned = text.strip().strip("[]().").strip()
    for name, pattern in _UNIT_PATTERNS:
        if pattern.search(cleaned):
            return name
    return None


def parse_sex(text: object) -> str:
    """``F``, ``M``, ``O`` or ``n/a`` from what people write."""
    wanted = str(text).strip().lower()
    for letter, words in _SEXES.items():
        if wanted in words:
            return letter
    return "n/a"


@dataclass(frozen=True)
class _Table:
    """One table with ages: its rows, the age column found in it, and the unit of that column."""

    path: Path
    frame: pd.DataFrame
    column: str | None
    units: str | None
    doubtful: bool  # no unit is given and the numbers can hardly be years

    @functools.cached_property
    def rows(self) -> list[_Row]:
        """All rows; looking up ten thousand people in a data frame takes minutes."""
        return self.frame.to_dict("records")

    @functools.cached_property
    def by_person(self) -> dict[str, list[_Row]]:
        """The rows of every participant, by label without ``sub-``."""
        found: dict[str, list[_Row]] = {}
        for row in self.rows:
            found.setdefault(_label(row["participant_id"], "sub"), []).append(row)
        return found

    def lookup(self, rows: Sequence[_Row], source: str) -> Age:
        """The age in the first of `rows`; the source is set only when there is a value."""
        if self.column is None or not rows:
            return UNKNOWN_AGE
        age = parse_age(rows[0][self.column], self.units)
        if self.doubtful and age.value is not None:
            age = Age(None, "n/a", note=_DOUBTFUL)
        if age.note:
            age = dataclasses.replace(age, note=f"{self.path.name}: {age.note}")
        return dataclasses.replace(age, source=source) if age.value is not None else age


def find_age_column(columns: Iterable[str], wanted: str = DEFAULT_AGE_COLUMN) -> str | None:
    """The column with ages: `wanted`, else (only for the default) its usual spellings."""
    names = [str(name) for name in columns]
    if wanted in names:
        return wanted
    if wanted != DEFAULT_AGE_COLUMN:
        return None
    by_lower = {name.lower(): name for name in reversed(names)}
    for candidate in (DEFAULT_AGE_COLUMN, *_OTHER_AGE_COLUMNS):
        if candidate in by_lower:
            return by_lower[candidate]
    return None


def _load_table(path: Path, sidecars: Sequence[Path], age_column: str) -> _Table | None:
    """Read a table and the unit of its age column; None if the file does not exist."""
    if not path.is_file():
        return None
    frame = read_tsv(path)
    column = find_age_column(frame.columns, age_column)
    units = _units(sidecars, column) if column else None
    doubtful = column is not None and units is None and _hardly_years(frame[column])
    return _Table(path, frame, column, units, doubtful)


def _hardly_years(column: pd.Series) -> bool:
    """Whether a column without unit holds so many large numbers that it cannot be years.

    A column in months has values above 120 for some people and below for others; reading the
    small ones as years would be wrong without anybody noticing.
    """
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").dropna()
    return len(numbers) > 0 and bool((numbers > MAX_AGE_YEARS).mean() >= 0.1)


def _units(sidecars: Sequence[Path], column: str) -> str | None:
    """``Units`` of a column from the nearest JSON that has it."""
    for path in sidecars:
        if not path.is_file():
            continue
        try:
            facts = parse_json(path)
        except ValueError as error:
            raise DataError(
                f"{path} is not valid JSON ({error}): correct it or remove it."
            ) from error
        described = facts.get(column) if isinstance(facts, dict) else None
        if isinstance(described, dict) and described.get("Units"):
            return str(described["Units"])
    return None


class AgeBook:
    """All that the tables of a dataset say about age, sex and site of its scans.

    `age_column` has the ages in all tables. `age_file` is asked first: a table with
    ``participant_id``, optionally ``session_id`` and ``run_id``, and the age column.

    Raises
    ------
    DataError
        If ``participants.tsv`` or the age file lists a person (and session) twice, or a table
        cannot be read.
    UsageError
        If the age file has no age column.
    """

    def __init__(
        self,
        bids_dir: Path,
        *,
        age_column: str = DEFAULT_AGE_COLUMN,
        age_file: Path | None = None,
    ) -> None:
        self._root = Path(bids_dir)
        self._column = age_column
        self._participants = _load_table(
            self._root / "participants.tsv", [self._root / "participants.json"], age_column
        )
        if self._participants is not None:
            self._participants = _checked(self._participants)
        self._extra = _load_age_file(age_file, age_column)
        self._seen_columns: set[str] = set()

    def person(self, entities: dict[str, str], relative_path: str) -> Person:
        """Age, sex and site of one scan.

        Of the short `entities` ``sub``, ``ses`` and ``run`` are used; the path of the image
        relative to the dataset is looked up in ``scans.tsv``.
        """
        rows = self._participant_rows(entities)
        return Person(
            age=self._age(entities, relative_path),
            sex=_first(rows, _SEX_COLUMNS, parse_sex),
            site=_first(rows, _SITE_COLUMNS, str),
            facts=_facts(rows),
        )

    def columns(self) -> list[str]:
        """Names of all columns seen so far in tables that may hold ages."""
        tables = [table for table in (self._participants, self._extra) if table is not None]
        own = {str(name) for table in tables for name in table.frame.columns}
        return sorted(own | self._seen_columns)

    def _age(self, entities: dict[str, str], relative_path: str) -> Age:
        """First source with a value; notes of sources without one are kept."""
        notes: list[str] = []
        for look in (self._from_age_file, self._from_sessions, self._from_scans, self._from_people):
            age = look(entities, relative_path)
            if age.value is not None:
                note = "; ".join([*notes, age.note] if age.note else notes)
                return dataclasses.replace(age, note=note)
            if age.note:
                notes.append(age.note)
        return dataclasses.replace(UNKNOWN_AGE, note="; ".join(notes))

    def _from_age_file(self, entities: dict[str, str], relative_path: str) -> Age:
        if self._extra is None:
            return UNKNOWN_AGE
        return self._extra.lookup(_of_person(self._extra, entities), "age-file")

    def _from_sessions(self, entities: dict[str, str], relative_path: str) -> Age:
        subject, session = f"sub-{entities['sub']}", entities.get("ses")
        table = self._table(self._root / subject / f"{subject}_sessions.tsv", "sessions.json")
        if table is None or session is None:
            return UNKNOWN_AGE
        return table.lookup(_matching(table.rows, {"ses": session}), "sessions.tsv")

    def _from_scans(self, entities: dict[str, str], relative_path: str) -> Age:
        parts = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
        folder = self._root.joinpath(*parts)
        table = self._table(folder / ("_".join(parts) + "_scans.tsv"), "scans.json")
        if table is None or "filename" not in table.frame.columns:
            return UNKNOWN_AGE
        inside = (self._root / relative_path).relative_to(folder).as_posix()
        rows = [row for row in table.rows if str(row["filename"]) == inside]
        return table.lookup(rows, "scans.tsv")

    def _from_people(self, entities: dict[str, str], relative_path: str) -> Age:
        if self._participants is None:
            return UNKNOWN_AGE
        return self._participants.lookup(self._participant_rows(entities), "participants.tsv")

    def _participant_rows(self, entities: dict[str, str]) -> list[_Row]:
        return [] if self._participants is None else _of_person(self._participants, entities)

    def _table(self, path: Path, shared: str) -> _Table | None:
        """Read a table, described by the JSON file beside it or by that of the dataset."""
        if not path.is_file():  # it is asked for of every scan, and most datasets have none
            return None
        sidecars = [path.with_suffix(".json"), self._root / shared]
        table = _load_table(path, sidecars, self._column)
        if table is not None:
            self._seen_columns.update(str(name) for name in table.frame.columns)
        return table


def _load_age_file(path: Path | None, age_column: str) -> _Table | None:
    """The table of ``age_file``, checked."""
    if path is None:
        return None
    table = _load_table(path, [path.with_suffix(".json")], age_column)
    if table is None:
        raise UsageError(f"`age_file` {path} does not exist.")
    if table.column is None or "participant_id" not in table.frame.columns:
        raise UsageError(
            f"`age_file` {path} needs the columns participant_id and {age_column} (tab-separated); "
            f"it has: {', '.join(map(str, table.frame.columns))}. Another name is given by "
            "`age_column`."
        )
    return _checked(table)


def _checked(table: _Table) -> _Table:
    """Raise if the table has no participant column or lists a person (and session) twice."""
    frame = table.frame
    if "participant_id" not in frame.columns:
        raise DataError(f"{table.path} has no column participant_id: add it as the first column.")
    keys = ["participant_id"]
    keys += [name for name in (*_SESSION_COLUMNS, "run_id") if name in frame.columns]
    doubled = frame[frame.duplicated(subset=keys)]["participant_id"].astype(str).unique()
    if len(doubled):
        raise DataError(
            f"{table.path} lists {', '.join(sorted(doubled)[:10])} more than once: keep one row "
            "per participant (ages of sessions belong into sub-<label>_sessions.tsv)."
        )
    return table


def _of_person(table: _Table, entities: dict[str, str]) -> list[_Row]:
    """Rows for one scan: of the participant, and of session and run where the table has them."""
    return _matching(table.by_person.get(_label(entities["sub"], "sub"), []), entities)


def _matching(rows: Sequence[_Row], entities: dict[str, str]) -> list[_Row]:
    """Rows with equal session and run, where these are columns.

    A row whose session or run is missing speaks for all of them, after the exact ones.
    """
    found: list[tuple[int, _Row]] = []
    for row in rows:
        exact = 0
        for key, names in (("ses", _SESSION_COLUMNS), ("run", ("run_id", "run"))):
            name = next((candidate for candidate in names if candidate in row), None)
            cell = "" if name is None else _label(row[name], key)
            if cell and cell != _label(entities.get(key), key):
                break
            exact += bool(cell)
        else:
            found.append((exact, row))
    return [row for _, row in sorted(found, key=lambda pair: -pair[0])]


def _label(cell: object, key: str) -> str:
    """A label without its prefix; empty when missing."""
    if cell is None or cell != cell:
        return ""
    text = str(cell).removeprefix(f"{key}-")
    if key == "sub":
        return text
    text = text.removesuffix(".0")  # a column of numbers with a gap is read as floats
    return text.lstrip("0") or text if key == "run" else text


def _facts(rows: Sequence[_Row]) -> tuple[tuple[str, str], ...]:
    """Everything that the first row says, missing values left out; sex in letters.

    A column of whole numbers with a gap is read as floats: they lose their ``.0``.
    """
    known = {str(name): value for row in rows[:1] for name, value in row.items()}
    told = {name: str(value).removesuffix(".0") for name, value in known.items() if value == value}
    told |= {name: parse_sex(told[name]) for name in _SEX_COLUMNS if name in told}
    return tuple(pair for pair in told.items() if pair[1] != "n/a")


def _first(rows: Sequence[_Row], names: Sequence[str], convert: Callable[[object], str]) -> str:
    """Value of the first of `names` (in any case) that is a column and filled, else ``n/a``."""
    by_lower = {str(name).lower(): value for row in rows[:1] for name, value in row.items()}
    for name in names:
        value = by_lower.get(name)
        if value is not None and value == value:
            return convert(value)
    return "n/a"
