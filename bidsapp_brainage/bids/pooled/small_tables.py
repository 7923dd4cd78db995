"""Many small tables of one kind, read together: one pass of the parser for hundreds of files."""

from __future__ import annotations

import io as memory
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import parse_json, read_tsv

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReadTogether:
    """Rows of many files.

    Attributes
    ----------
    rows : DataFrame
        In the order of the files; no rows and no columns where nothing was read.
    file : ndarray, shape (n_rows,)
        Place of the file of each row in the list that was given.
    problems : dict of int to str
        By place, why a file could not be read.
    """

    rows: pd.DataFrame
    file: NDArray[np.intp]
    problems: dict[int, str]


def read_tables(paths: Sequence[Path]) -> ReadTogether:
    """Read BIDS TSV files as :func:`bidsapp_brainage.io.read_tsv` reads each of them.

    Files with the same header are parsed as one text. Where that text has not as many rows as its
    files have lines, or cannot be parsed, each of its files is read by itself, so that one broken
    file is named and the others count.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    bodies: dict[int, bytes] = {}
    alone: list[int] = []
    for place, path in enumerate(paths):
        header, body = _split(path)
        if header:
            alike[header].append(place)
            bodies[place] = body
        else:
            alone.append(place)
    parts: list[tuple[pd.DataFrame, NDArray[np.intp]]] = []
    for header, places in alike.items():
        together = _parsed(header, [bodies[place] for place in places])
        if together is None:
            alone += places
        else:
            rows, counts = together
            parts.append((rows, np.repeat(places, counts)))
    problems: dict[int, str] = {}
    for place in sorted(alone):
        try:
            rows = read_tsv(paths[place])
        except DataError as error:
            problems[place] = str(error)
        else:
            parts.append((rows, np.full(len(rows), place)))
    return _joined(parts, problems)


def _split(path: Path) -> tuple[bytes, bytes]:
    """Header and rows of a plain table; no header where it needs a closer look."""
    try:
        text = path.read_bytes()
    except OSError:
        return b"", b""
    header, end, body = text.partition(b"\n")
    if body and not body.endswith(b"\n"):
        body += b"\n"
    full = body.count(b"\t") == body.count(b"\n") * header.count(b"\t")
    unusual = any(sign in text for sign in (b'"', b"\r", b"\n\n"))
    if not (end and full and header.strip() and header.isascii()) or unusual:
        return b"", b""
    return header, body


def _parsed(header: bytes, bodies: Sequence[bytes]) -> tuple[pd.DataFrame, list[int]] | None:
    """Rows of several files and how many each has; None where they do not fit together."""
    counts = [body.count(b"\n") for body in bodies]
    try:
        rows = read_tsv(memory.BytesIO(b"".join((header, b"\n", *bodies))))
    except DataError:
        return None
    return (rows, counts) if len(rows) == sum(counts) else None


def _joined(
    parts: Sequence[tuple[pd.DataFrame, NDArray[np.intp]]], problems: dict[int, str]
) -> ReadTogether:
    import pandas as pd

    if not parts:
        return ReadTogether(pd.DataFrame(), np.empty(0, dtype=np.intp), problems)
    return ReadTogether(*(in_order(parts) if len(parts) > 1 else parts[0]), problems)


def in_order(
    parts: Sequence[tuple[pd.DataFrame, NDArray[np.intp]]],
) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Rows of several frames in the order of the places of their files, and these places."""
    import pandas as pd

    places = np.concatenate([place for _, place in parts])
    order = np.argsort(places, kind="stable")
    rows = pd.concat([part for part, _ in parts], ignore_index=True).iloc[order]
    # An all-missing column of one file must not decide about the type of the column.
    return rows.reset_index(drop=True).infer_objects(), places[order]


def read_facts(paths: Sequence[Path]) -> ReadTogether:
    """Read the top-level facts of JSON files: columns ``fact`` and ``value`` (JSON, sorted keys).

    A file that is not there, or is no object, has no facts.
    """
    import pandas as pd

    found: list[tuple[int, str, str]] = []
    problems: dict[int, str] = {}
    for place, path in enumerate(paths):
        try:
            content = parse_json(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            problems[place] = f"{path} is not valid JSON ({error})."
            continue
        if isinstance(content, dict):
            facts = ((name, json.dumps(value, sort_keys=True)) for name, value in content.items())
            found += [(place, name, value) for name, value in facts]
    file = np.array([place for place, _, _ in found], dtype=np.intp)
    rows = pd.DataFrame([fact for _, *fact in found], columns=["fact", "value"], dtype=object)
    return ReadTogether(rows, file, problems)
