"""Ratings of scans by people: tables from the reports, checked, merged and kept in ``ratings/``.

A table has one row per scan and rater. All tables of the folder count, so that a file may also be
put there by hand. What cannot be used is refused as a whole: a rating that is silently passed over
would leave a bad scan in.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bidsapp_brainage import io
from bidsapp_brainage.bids.derivatives import Derivatives, scan_name, tried_participants
from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.ratings import ARTEFACTS, BEST, EXCLUDE, STEP_GRADES, STEPS
from bidsapp_brainage.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "ratings"
#: What makes a rating; of two with the same the later counts.
KEY = ["scan", "rater"]
_DATE = "rated_at"
_MOST_NAMED = 5  # of wrong rows or scans in a message
#: Words of a table, and what they stand for.
_YES_NO = MappingProxyType({"true": True, "false": False})
_STEP_WORDS = MappingProxyType({word: word for word in STEP_GRADES})


def read_ratings(path: Path, participant: str = "") -> pd.DataFrame:
    """Read one table of ratings; scans are named as in the other tables.

    With a participant (``sub-01``) only the rows of this one are checked and given.

    Missing columns other than ``rater``, ``rating`` and those that name the scan (``scan``, or
    ``participant_id`` with ``session_id`` and ``run_id``) are filled with what is unknown; columns
    that the dictionary does not have are dropped.

    Returns
    -------
    DataFrame
        Columns of the card ``ratings``; ``rating`` as whole numbers, artefacts as booleans (missing
        where not said), ``rated_at`` as text.

    Raises
    ------
    DataError
        The file is no such table, a grade or a word is none, or a rater rated a scan twice.
    """
    table = io.read_tsv(path, as_text=True)
    _check_columns(path, table)
    table = table.assign(scan=_scans(table)).reindex(columns=columns_of("ratings"))
    if participant:
        table = table[table["scan"].astype(str).str.split("_").str[0] == participant]
    table = table.astype(object).apply(lambda column: column.str.strip())
    grades = [str(grade) for grade in range(EXCLUDE, BEST + 1)]
    _refuse(path, table, ~table["rating"].isin(grades), f"rating is not {_listed(grades)}")
    for name in KEY:
        _refuse(path, table, table[name].isna(), f"{name} is missing")
    optional: dict[str, Mapping[str, object]] = {key: _STEP_WORDS for key, _ in STEPS}
    optional |= {item.key: _YES_NO for item in ARTEFACTS}
    for name, words in optional.items():
        told = table[name].str.lower()
        wrong = told.notna() & ~told.isin(list(words))
        _refuse(path, table, wrong, f"{name} is not {_listed([*words, 'n/a'])}")
        table[name] = told.map(words)
    _refuse(path, table, ~_is_time(table[_DATE]), f"{_DATE} is no time like 2026-01-31T12:00:00Z")
    _refuse(path, table, table.duplicated(KEY, keep=False), "one rater rated a scan twice")
    return table.assign(rating=table["rating"].astype(int), **_labels(table))


def stored_ratings(output_dir: Path, participant: str = "") -> pd.DataFrame:
    """All ratings in ``ratings/`` of the output, or of a participant; a row per scan and rater.

    Raises
    ------
    DataError
        A table cannot be used, or two contradict each other and no time says which is later.
    """
    paths = sorted((Path(output_dir) / FOLDER).glob("*.tsv"))
    tables = [read_ratings(path, participant).assign(file=path.name) for path in paths]
    merged = _merged(tables)
    times = merged[_DATE].fillna("")
    # "last" of what is sorted by time: quick, unlike "max" of texts
    latest = merged[times == times.groupby([merged[name] for name in KEY]).transform("last")]
    unclear = latest[latest.groupby(KEY)["rating"].transform("nunique") > 1]
    if not unclear.empty:
        first = unclear.iloc[0]
        raise DataError(
            f"{Path(output_dir) / FOLDER}: {', '.join(sorted(set(unclear['file'])))} have "
            f"different ratings of {first['scan']} by {first['rater']}, and their times do not say "
            "which is later: remove one row."
        )
    return latest.drop_duplicates(KEY, keep="last").drop(columns="file").reset_index(drop=True)


def by_scan(ratings: pd.DataFrame) -> dict[str, list[dict[str, object]]]:
    """What every rater said, by the name of the scan; `ratings` as :func:`stored_ratings`."""
    said: dict[str, list[dict[str, object]]] = {}
    for row in ratings.to_dict("records"):
        said.setdefault(row["scan"], []).append({str(name): value for name, value in row.items()})
    return said


def take_in(output_dir: Path, paths: Sequence[Path]) -> int:
    """Keep the ratings of tables in ``ratings/`` of the output, one file per rater.

    Of two ratings of one scan by one rater the later counts; without times, that of the later
    table, and what is taken in before what was there.

    Returns
    -------
    int
        How many rows the tables have.

    Raises
    ------
    DataError
        A table cannot be used, or names a scan that the output does not have. Nothing is kept then.
    """
    tables = [read_ratings(path) for path in paths]
    known = _known(output_dir)
    for path, table in zip(paths, tables, strict=True):
        _refuse_unknown(path, table, *known)
    new = _merged(tables)
    folder = Path(output_dir) / FOLDER
    with io.folder_lock(folder):
        for label, rows in new.groupby(new["rater"].map(_label), sort=True):
            path = output_path(output_dir, "ratings", rater=str(label))
            old = [read_ratings(path)] if path.is_file() else []
            kept = _merged([*old, rows]).drop_duplicates(KEY, keep="last").sort_values(KEY)
            io.write_tsv(path, kept)
            io.write_json(sidecar_path(path), sidecar("ratings", list(kept.columns)))
    return len(new)


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    needed = ["rater", "rating"] if "scan" in table else ["participant_id", "rater", "rating"]
    absent = [name for name in needed if name not in table]
    if absent:
        raise DataError(
            f"{path} has no column {absent[0]} (it has {', '.join(map(str, table.columns))}): a "
            "table of ratings has tabs between columns and the names that the reports export."
        )


def _scans(table: pd.DataFrame) -> pd.Series:
    """Names of scans, made of their labels where the table does not give them."""
    if "participant_id" not in table:
        return table["scan"]
    made = _with_prefix(table["participant_id"], "sub")
    for column, key in (("session_id", "ses"), ("run_id", "run")):
        if column in table:
            made = made + ("_" + _with_prefix(table[column], key)).fillna("")
    return table["scan"].fillna(made) if "scan" in table else made


def _with_prefix(labels: pd.Series, key: str) -> pd.Series:
    return f"{key}-" + labels.str.strip().str.removeprefix(f"{key}-")


def _labels(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Columns of labels as the name of the scan has them."""
    columns = {"participant_id": "sub", "session_id": "ses", "run_id": "run"}
    return {
        column: table["scan"].str.extract(f"(?:^|_)({key}-[a-zA-Z0-9+]+)(?:_|$)", expand=False)
        for column, key in columns.items()
    }


def _is_time(values: pd.Series) -> pd.Series:
    """Whether values are times in UTC, or missing."""
    return values.isna() | values.str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").fillna(False)


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, why: str) -> None:
    if not wrong.any():
        return
    lines = [str(int(row) + 2) for row in table.index[wrong]]  # the header is line 1
    first = table.loc[wrong].iloc[0]
    raise DataError(
        f"{path}, line {_few(lines)} ({first['scan']}, rater "
        f"{first['rater']}, rating {first['rating']}): {why}. Correct the file; nothing of it "
        "was used."
    )


def _merged(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, earlier times first; rows of one time in the order of the tables."""
    import pandas as pd

    if not tables:
        return pd.DataFrame(columns=[*columns_of("ratings"), "file"])
    rows = pd.concat([table.astype(object) for table in tables], ignore_index=True)
    return rows.sort_values(_DATE, na_position="first", kind="stable")


def _label(rater: str) -> str:
    """The name of a rater as a label of file names."""
    plain = re.sub(r"[^a-zA-Z0-9]", "", rater)
    return plain or hashlib.sha256(rater.encode()).hexdigest()[:8]


def _known(output_dir: Path) -> tuple[list[str], set[str]]:
    """Scans with derivatives, and participants without any: all of their scans may be rated."""
    scans = list(dict.fromkeys(scan_name(file.scan) for file in Derivatives(output_dir).files))
    return scans, tried_participants(output_dir) - {scan.split("_")[0] for scan in scans}


def _refuse_unknown(path: Path, table: pd.DataFrame, scans: list[str], failed: set[str]) -> None:
    rated = list(dict.fromkeys(table["scan"]))
    unknown = [scan for scan in rated if scan not in scans and scan.split("_")[0] not in failed]
    if not unknown:
        return
    close = difflib.get_close_matches(unknown[0], scans, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise DataError(
        f"{path} rates {_few(unknown)}, of which the output folder knows nothing.{hint} Give the "
        "output folder whose pages were rated, or remove these rows; nothing of it was used."
    )


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
