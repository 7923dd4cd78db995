"""Tables of the group page that are shown as the group level wrote them.

Titles and explanations come from the dictionaries of the tables, so that page and JSON say the
same. A table that is not there leaves no gap: the sentence of ``notes.tsv`` says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bidsapp_brainage.bids.dictionaries import describe_columns
from bidsapp_brainage.reports.group.results import Result
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import Table
from bidsapp_brainage.reports.tables import Show, tabulate, with_values

MANY_ROWS = 25


@dataclass(frozen=True)
class Shown:
    """A table ready for the template, and the file that it shows."""

    kind: Result
    table: Table
    file_name: str


def shown_tables(
    results: StoredResults,
    kinds: Sequence[Result],
    identifier: str = "group",
    entities: Mapping[str, str] | None = None,
) -> list[Shown]:
    """Tables of these kinds that have rows; `identifier` begins their HTML identifiers."""
    shown = []
    for kind in kinds:
        rows = results.rows(kind.key, entities)
        if len(rows):
            table = result_table(kind, rows, f"{identifier}-{kind.key}", results.model_facts())
            shown.append(Shown(kind, table, results.path(kind.key, entities).name))
    return shown


def result_table(kind: Result, rows: pd.DataFrame, identifier: str, model: object = None) -> Table:
    """Table of one file; columns that are absent or have no value are left out.

    The facts of the `model` tell what contributions are about.
    """
    if kind.order in rows:
        rows = rows.sort_values(kind.order, kind="stable", na_position="last")
    if "baseline" in rows and rows["baseline"].nunique() > 1:
        several = (*kind.columns, Show("baseline", "Filled with"))
        kind = dataclasses.replace(kind, columns=several)
    columns = with_values(rows, kind.columns)
    return tabulate(
        identifier,
        kind.heading if kind.heading.endswith("?") else f"{kind.heading}.",
        columns,
        rows,
        described=describe_columns(kind.key, [show.name for show in columns], model),
        sortable=len(rows) > 1,
        searchable=len(rows) > MANY_ROWS,
    )
