"""Files ``stats/*.stats`` of FreeSurfer and FastSurfer: a header of ``#`` lines, then a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp_brainage.errors import DataError

#: Column with the names of the rows.
_NAME = "StructName"
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_CVS_DATE = re.compile(r"\$Id:.* (\d{4})/\d{2}/\d{2} ")
_FREESURFER_6 = 2015  # year from which on programs with a CVS date belong to version 6
#: FreeSurfer before version 7 called them otherwise.
RENAMED = {
    "Left-Thalamus-Proper": "Left-Thalamus",
    "Right-Thalamus-Proper": "Right-Thalamus",
}
_REMEDY = "Let recon-all or FastSurfer finish for this person, or copy the file again."


@dataclass(frozen=True)
class StatsFile:
    """What one file says.

    Attributes
    ----------
    path : Path
    rows : mapping of str to mapping
        For every structure its numbers by column, for example ``Volume_mm3`` or ``ThickAvg``.
    measures : mapping of str to float
        ``# Measure`` lines by their short name, for example ``BrainSegVol``.
    program : {"FreeSurfer", "FastSurfer"}
        What wrote the file.
    version : str
        Of the program; empty where the file does not tell.
    hemisphere : {"lh", "rh", ""}
        Empty for files of volumes.
    """

    path: Path
    rows: Mapping[str, Mapping[str, float]]
    measures: Mapping[str, float]
    program: str
    version: str
    hemisphere: str

    def column(self, name: str) -> dict[str, float]:
        """One column by structure.

        Raises
        ------
        DataError
            The file has no such column.
        """
        try:
            return {structure: row[name] for structure, row in self.rows.items()}
        except KeyError as error:
            raise DataError(
                f"{self.path} has no column {name}: it is a stats file of another kind. "
                "Give the folder of the person as recon-all or FastSurfer made it."
            ) from error


def read_stats(path: Path) -> StatsFile:
    """Read one file and check that it is whole.

    Parameters
    ----------
    path : Path
        Such as ``stats/aseg.stats`` or ``stats/lh.aparc.stats``.

    Raises
    ------
    DataError
        The file is missing, truncated, or none of FreeSurfer or FastSurfer.
    """
    text = _text(path)
    header: dict[str, str] = {}
    measures: dict[str, float] = {}
    body: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("#"):
            body += [(number, line)] if line.strip() else []
            continue
        key, _, value = line[1:].strip().partition(" ")
        if key == "Measure":
            measures.update([_measure(path, number, value)])
        else:
            header.setdefault(key, value.strip())
    columns = header.get("ColHeaders", "").split()
    if _NAME not in columns:
        raise DataError(
            f"{path} has no line '# ColHeaders ... {_NAME} ...': it is no stats file of FreeSurfer "
            f"or FastSurfer, or its header is cut. {_REMEDY}"
        )
    rows = dict(_rows(path, columns, body))
    _check_whole(path, text, header, len(rows))
    program = "FastSurfer" if "FastSurfer_version" in header else "FreeSurfer"
    return StatsFile(path, rows, measures, program, _version(header), header.get("hemi", ""))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = " (a link without target: fetch it with `datalad get`)" if path.is_symlink() else ""
        raise DataError(f"{path} does not exist{hint}. {_REMEDY}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}). {_REMEDY}") from error


def _measure(path: Path, number: int, text: str) -> tuple[str, float]:
    """Short name and value of ``Category, ShortName, long name, value, unit``."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 5:
        raise DataError(f"{path}, line {number}: the measure '{text}' is cut. {_REMEDY}")
    return parts[1], _number(path, number, parts[-2])


def _rows(
    path: Path, columns: Sequence[str], body: Sequence[tuple[int, str]]
) -> Iterator[tuple[str, dict[str, float]]]:
    place = columns.index(_NAME)
    seen = set[str]()
    for number, line in body:
        cells = line.split()
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells, the header names {len(columns)}: "
                f"the file is truncated. {_REMEDY}"
            )
        name = RENAMED.get(cells[place], cells[place])
        if name in seen:
            raise DataError(f"{path}, line {number}: {name} stands there twice. {_REMEDY}")
        seen.add(name)
        yield (
            name,
            {
                column: _number(path, number, cell)
                for column, cell in zip(columns, cells, strict=True)
                if column != _NAME
            },
        )


def _number(path: Path, number: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}, line {number}: '{cell}' is no number. Numbers have a decimal point, as "
            "FreeSurfer and FastSurfer write them."
        )
    return value


def _check_whole(path: Path, text: str, header: Mapping[str, str], n_rows: int) -> None:
    stated = header.get("NRows", "")
    if stated.isdigit() and int(stated) != n_rows:
        raise DataError(f"{path} is truncated: {n_rows} rows, its header says {stated}. {_REMEDY}")
    if n_rows == 0 or not text.endswith("\n"):
        what = "its last line is cut" if n_rows else "it has no rows"
        raise DataError(f"{path} is truncated: {what}. {_REMEDY}")


def _version(header: Mapping[str, str]) -> str:
    """``7.3.2``; of version 6 and older ones, whose files have a CVS line, ``6`` or ``5``."""
    told = header.get("FastSurfer_version") or header.get("cvs_version", "")
    if dated := _CVS_DATE.search(told):
        return "6" if int(dated[1]) >= _FREESURFER_6 else "5"
    found = _VERSION.search(told)
    return found[0] if found else ""
