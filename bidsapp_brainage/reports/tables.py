"""Tables of the pages, each described by a short list of its columns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES, level_title
from bidsapp_brainage.catalogue.lookup import explanation_title
from bidsapp_brainage.reports.codes import (
    correction_title,
    judged_title,
    measure_title,
    part_title,
    term_title,
    unit_title,
    weights_title,
)
from bidsapp_brainage.reports.html import (
    MISSING,
    Cell,
    Column,
    Table,
    as_float,
    is_missing,
    number,
    number_cell,
    significant,
    text_cell,
)
from bidsapp_brainage.reports.wording import BADGES, SIGNS

_P_LEAST = 0.001
_VERDICTS = {"agrees": "ok", "partly": "warn", "differs": "bad", **BADGES}
_NUMBERS = {"number", "signed", "count", "rank"}
#: Kinds of columns whose codes have words.
_TITLES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "level": level_title,
        "measure": measure_title,
        "unit": unit_title,
        "part": part_title,
        "term": term_title,
        "correction": correction_title,
        "judged": judged_title,
        "weights": weights_title,
        "explanation": explanation_title,
    }
)


@dataclass(frozen=True)
class Show:
    """A column to show.

    Attributes
    ----------
    name : str
        Column of the rows.
    title, help : str
        Empty: the words of the data dictionary, where the table has one.
    kind : str
        ``text``, ``name`` (written as it is), ``side``, ``number``, ``signed``,
        ``count``, ``rank``, ``p``, ``interval`` (of the columns ``<name>_lower`` and
        ``<name>_upper``), ``verdict``, a kind of code (``level``, ``measure``, ``unit``, ``part``,
        ``term``, ``correction``, ``explanation``), ``sign`` (of contributions: a word of
        :data:`bidsapp_brainage.stats.regional.signs.Sign`, or whether it is stable) or ``long`` for
        sentences.
    digits : int
    most : float, str or None
        The magnitude that fills a bar, or the column that says it row by row; None draws no bar.
    cell : callable or None
        Makes the cell from the value, for what no kind says.
    striped : str
        Column that says (True) where the bar is striped.
    ascending, sorted, short
        As in :class:`bidsapp_brainage.reports.html.Column`.
    """

    name: str
    title: str = ""
    kind: str = "text"
    digits: int = 2
    help: str = ""
    most: float | str | None = None
    cell: Callable[[object], Cell] | None = None
    striped: str = ""
    ascending: bool = False
    sorted: str = ""
    short: bool = False


PEOPLE = Show("n_participants", "People", "count")
INTERVAL = Show("ci95", "95 % interval", "interval")


MOST_ROWS = 3000


def tabulate(
    identifier: str,
    caption: str,
    columns: Sequence[Show],
    rows: pd.DataFrame,
    *,
    described: Mapping[str, Mapping[str, object]] | None = None,
    sortable: bool = True,
    searchable: bool = False,
) -> Table:
    """Table of these columns; `described` is the data dictionary of the rows.

    Of more than :data:`MOST_ROWS` the first ones are shown, so that a browser can open the page.
    """
    heads = [_column(show, (described or {}).get(show.name, {})) for show in columns]
    if len(rows) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(rows)} rows; the file of the table has all."
        rows = rows.head(MOST_ROWS)
    cells = [[_cell(row, show) for show in columns] for row in rows.to_dict("records")]
    return Table(identifier, caption, heads, cells, sortable, searchable)


def with_values(rows: pd.DataFrame, columns: Sequence[Show]) -> list[Show]:
    """Those columns that are there and have a value."""
    names = [f"{show.name}_lower" if show.kind == "interval" else show.name for show in columns]
    there = [name in rows and bool(rows[name].notna().any()) for name in names]
    return [show for show, known in zip(columns, there, strict=True) if known]


def without_told_sides(rows: pd.DataFrame, columns: Sequence[Show]) -> list[Show]:
    """Without the column of the side where the names of all regions begin with it."""
    sides = rows["hemisphere"].map(lambda side: str(SIDES.get(side, side)))
    told = [
        side not in (SIDES["L"], SIDES["R"]) or str(name).lower().startswith(side)
        for name, side in zip(rows["name"], sides, strict=True)
    ]
    return [show for show in columns if show.name != "hemisphere" or not all(told)]


def interval(low: object, high: object, digits: int = 2) -> str:
    """Bounds as ``low to high``; ``n/a`` when they are unknown."""
    if is_missing(low) or is_missing(high):
        return MISSING
    return f"{number(low, digits)} to {number(high, digits)}"


def _column(show: Show, described: Mapping[str, object]) -> Column:
    units, words = (str(described.get(key) or "") for key in ("Units", "Description"))
    return Column(
        show.title or str(described.get("LongName", show.name)),
        numeric=show.kind in {*_NUMBERS, "p", "interval"},
        help=show.help or (f"{words} ({units})" if units and words else words),
        ascending=show.ascending or show.kind in {"p", "rank"},
        sorted=show.sorted,
        wrap=show.kind == "long",
        short=show.short,
    )


def _cell(row: Mapping[Hashable, object], show: Show) -> Cell:
    value = row.get(show.name)
    if show.cell is not None:
        return show.cell(value)
    if show.kind == "interval":
        low = row.get(f"{show.name}_lower")
        text = interval(low, row.get(f"{show.name}_upper"), show.digits)
        return Cell(text, value="" if text == MISSING else f"{as_float(low):.6g}")
    if is_missing(value):
        return text_cell(None)
    if show.kind in _NUMBERS:
        digits = 0 if show.kind in {"count", "rank"} else show.digits
        try:
            most = as_float(row[show.most]) if isinstance(show.most, str) else show.most
            cell = number_cell(value, digits, signed=show.kind == "signed", most=most)
            return replace(cell, striped=row.get(show.striped) is True)
        except ValueError:
            return text_cell(value)
    return _word_cell(value, show.kind)


def _sign_cell(value: object) -> Cell:
    """Badge of the sign of a contribution."""
    if isinstance(value, bool):
        value = "stable" if value else "opposite"
    words = SIGNS.get(value)
    return Cell(words.word, level=words.level) if words else Cell(str(value))


def _word_cell(value: object, kind: str) -> Cell:
    if kind == "p":
        known = as_float(value)
        text = f"< {_P_LEAST:g}" if known < _P_LEAST else number(known, 3)
        return Cell(text, value=f"{known:.6g}")
    if kind == "verdict":
        return Cell(str(value), level=_VERDICTS.get(str(value), ""))
    if kind == "sign":
        return _sign_cell(value)
    if kind in _TITLES:
        return Cell(_TITLES[kind](str(value)))
    if kind == "side":
        return Cell(SIDES.get(str(value), str(value)))
    if kind == "name":
        return Cell(str(value))
    text = significant(value)
    return Cell(text.replace("_", " ") if kind == "text" else text)
