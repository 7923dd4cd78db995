"""Tables of the individual report that methods of explanation made beyond single regions.

Titles and words come from the cards of the outputs. :data:`RENDERERS` says which table is shown in
a way of its own; any other is shown as it is, explained by its data dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

from bidsapp_brainage.bids.derivatives import TableFile
from bidsapp_brainage.catalogue.lookup import explanation_title
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.reports.html import (
    Cell,
    Column,
    Table,
    decimals,
    largest,
    number_cell,
    significant,
    text_cell,
)
from bidsapp_brainage.reports.individual import comparison_tables, occlusion_tables
from bidsapp_brainage.stats.verdicts import sentence

TOP_ROWS = 50
#: Columns of a table that holds one explanation, or several with different baselines.
_OF_EXPLANATIONS = {"index", "name", "rank", "baseline"}

#: Heading, words, table.
Part = tuple[str, str, Table]
#: Rows, HTML identifier and name of the file; words that the rows suggest, and the table.
Renderer = Callable[[pd.DataFrame, str, str], tuple[str, Table]]
#: Tables that are shown in a way of their own, by output, in the order of the page.
RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        "agreement": comparison_tables.agreement,
        "controls": occlusion_tables.controls,
        "randomisation": comparison_tables.randomisation,
        "modality_table": occlusion_tables.modalities,
        "groups": occlusion_tables.groups,
        "shapley": occlusion_tables.shapley,
        "curves": occlusion_tables.curves,
        "pairs": occlusion_tables.pairs,
    }
)


def method_tables(tables: Mapping[str, TableFile], identifier: str) -> list[Part]:
    """Heading, words and table of everything beyond single regions that was computed.

    Tables come by the key of their output; those without rows are left out.
    """
    filled = {key: file for key, file in tables.items() if len(_rows(file))}
    own = [key for key in RENDERERS if key in filled]
    others = [
        key
        for key, file in filled.items()
        if key not in (*own, "table") and not set(_rows(file)) >= _OF_EXPLANATIONS
    ]
    parts = [_part(filled[key], RENDERERS[key], identifier) for key in own]
    place = int("agreement" in filled)
    parts[place:place] = comparison_tables.side_by_side(by_explanation(tables), identifier)
    return parts + [_as_it_is(filled[key], identifier) for key in others]


def by_explanation(tables: Mapping[str, TableFile]) -> dict[str, pd.DataFrame]:
    """Tables with one row per region of every explanation, by its title.

    Those of several baselines are taken apart; the table of regions is left out where they hold it.
    """
    parts: dict[str, pd.DataFrame] = {}
    for card in METHODS:
        for output in card.outputs:
            rows = _rows(tables.get(output.key))
            if output.key == "table" or not set(rows) >= _OF_EXPLANATIONS:
                continue
            for baseline, part in rows.groupby("baseline", sort=False, dropna=False):
                name = f"{card.key}_{baseline}" if isinstance(baseline, str) else card.key
                parts[explanation_title(name)] = part.drop_duplicates("index")
    return parts


def _rows(file: TableFile | None) -> pd.DataFrame:
    """Rows of a table; none where it is missing or cannot be read."""
    return pd.DataFrame() if file is None or file.rows is None else file.rows


def _part(file: TableFile, renderer: Renderer, identifier: str) -> Part:
    output = file.output
    words, table = renderer(_rows(file), f"{identifier}-{output.suffix}", file.path.name)
    return output.title, " ".join(filter(None, [output.reading, words])), table


def _as_it_is(file: TableFile, identifier: str) -> Part:
    """The first rows of a table, with the names and units of its data dictionary."""
    output, rows = file.output, _rows(file)
    shown = rows.head(TOP_ROWS)
    known = {column.name: column.as_bids() for column in output.columns} | dict(file.sidecar)
    facts = {name: told if isinstance(told := known.get(str(name)), dict) else {} for name in rows}
    columns = [
        Column(
            str(facts[name].get("LongName") or name),
            numeric=is_numeric_dtype(rows[name]) and not is_bool_dtype(rows[name]),
            help=_help(facts[name]),
        )
        for name in rows
    ]
    show = [_cell_maker(rows[name]) for name in rows]
    cells = [
        [make(value) for make, value in zip(show, row, strict=True)]
        for row in shown.itertuples(index=False)
    ]
    part = f"the first {len(shown)} of " if len(shown) < len(rows) else ""
    caption = f"{output.title or output.key}: {part}{len(rows)} rows ({file.path.name})."
    table = Table(f"{identifier}-{output.suffix}", caption, columns, cells, searchable=True)
    return output.title or output.key, output.reading or sentence(output.description), table


def _cell_maker(values: pd.Series) -> Callable[[object], Cell]:
    """How values of a column are shown: numbers with digits that fit the largest."""
    if is_bool_dtype(values) or not is_numeric_dtype(values):
        return lambda value: text_cell(significant(value))
    digits = decimals(largest(values)) if is_float_dtype(values) and (values % 1).any() else 0
    return lambda value: number_cell(value, digits)


def _help(facts: Mapping[str, object]) -> str:
    """Description and unit of a column."""
    units = f"unit: {facts['Units']}" if facts.get("Units") else ""
    return "; ".join(filter(None, [str(facts.get("Description") or "").rstrip("."), units]))
