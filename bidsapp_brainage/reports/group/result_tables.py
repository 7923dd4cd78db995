"""Tables of the group page that are shown as the group level wrote them.

Each is described by a short list of columns (`results`); titles and explanations come from the
dictionaries of the tables, so that page and JSON say the same. A table that is not there leaves no
gap: the sentence of ``notes.tsv`` says why.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bidsapp_brainage.bids.dictionaries import describe_columns
from bidsapp_brainage.catalogue.levels import level_title
from bidsapp_brainage.reports.group.results import Result, Show
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import (
    Cell,
    Column,
    Table,
    is_missing,
    number,
    number_cell,
    significant,
    text_cell,
)

_P_LEAST = 0.001
_VERDICTS = {"agrees": "ok", "partly": "warn", "differs": "bad"}
MANY_ROWS = 25


@dataclass(frozen=True)
class Shown:
    """A table ready for the template, and the file that it shows."""

    key: str
    heading: str
    text: str
    table: Table
    file_name: str


def shown_tables(
    results: StoredResults,
    kinds: Sequence[Result],
    identifier: str = "group",
    entities: Mapping[str, str] | None = None,
) -> list[Shown]:
    """Tables of these kinds that have rows.

    Parameters
    ----------
    results : StoredResults
    kinds : sequence of Result
    identifier : str
        Start of the HTML identifiers.
    entities : mapping, optional
        Atlas of the tables.
    """
    shown = []
    for kind in kinds:
        rows = results.rows(kind.key, entities)
        if len(rows):
            name = results.path(kind.key, entities).name
            table = result_table(kind, rows, f"{identifier}-{kind.key}")
            shown.append(Shown(kind.key, kind.heading, kind.text, table, name))
    return shown


def result_table(kind: Result, rows: pd.DataFrame, identifier: str) -> Table:
    """Table of one file; columns that are absent or have no value are left out."""
    if kind.order in rows:
        rows = rows.sort_values(kind.order, kind="stable", na_position="last")
    if "baseline" in rows and rows["baseline"].nunique() > 1:
        kind = Result(
            kind.key, kind.heading, kind.text, (*kind.columns, Show("baseline", "Filled with"))
        )
    shown = [show for show in kind.columns if _has_values(rows, show)]
    described = describe_columns(kind.key, [show.name for show in shown])
    columns = [_column(show, described[show.name]) for show in shown]
    cells = [[_cell(row, show) for show in shown] for row in rows.to_dict("records")]
    return Table(
        identifier, f"{kind.heading}.", columns, cells,
        sortable=len(cells) > 1, searchable=len(cells) > MANY_ROWS,
    )  # fmt: skip


def _has_values(rows: pd.DataFrame, show: Show) -> bool:
    name = f"{show.name}_lower" if show.kind == "interval" else show.name
    return name in rows and bool(rows[name].notna().any())


def _column(show: Show, described: Mapping[str, Any]) -> Column:
    title = show.title or str(described.get("LongName", show.name))
    units = str(described.get("Units") or "")
    words = str(described.get("Description") or "")
    return Column(
        title,
        numeric=show.kind in {"number", "signed", "count", "p", "interval"},
        help=f"{words} ({units})" if units and words else words,
        ascending=show.kind == "p",
        wrap=show.kind == "long",
    )


def _cell(row: Mapping[Hashable, Any], show: Show) -> Cell:
    if show.kind == "interval":
        low, high = row.get(f"{show.name}_lower"), row.get(f"{show.name}_upper")
        if is_missing(low) or is_missing(high):
            return text_cell(None)
        text = f"{number(low, show.digits)} to {number(high, show.digits)}"
        return Cell(text, value=f"{float(str(low)):.6g}")
    value = row.get(show.name)
    if is_missing(value):
        return text_cell(None)
    if show.kind == "p":
        return p_cell(value)
    if show.kind in {"number", "signed", "count"}:
        try:
            digits = 0 if show.kind == "count" else show.digits
            return number_cell(value, digits, signed=show.kind == "signed")
        except ValueError:
            return text_cell(value)
    if show.kind == "verdict":
        return Cell(str(value), level=_VERDICTS.get(str(value), ""))
    if show.kind == "level":
        return Cell(level_title(str(value)))
    text = significant(value)
    return Cell(text.replace("_", " ") if show.kind == "text" else text)


def p_cell(value: Any) -> Cell:
    """A p or q value with three decimals; ``n/a`` when missing."""
    if is_missing(value):
        return text_cell(None)
    known = float(value)
    text = f"< {_P_LEAST:g}" if known < _P_LEAST else number(known, 3)
    return Cell(text, value=f"{known:.6g}")
