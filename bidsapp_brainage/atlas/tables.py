"""Label tables of atlases, brought to one form whatever their author called the columns."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage import io
from bidsapp_brainage.catalogue.levels import SIDES, side_of_name, side_of_word
from bidsapp_brainage.errors import DataError

COLUMNS = ("index", "name", "abbreviation", "color", "hemisphere", "lobe", "network")
#: Kept where the author of an atlas has them.
OPTIONAL_COLUMNS = ("gyrus", "compartment")
_ALIASES = {
    "label": "index",
    "value": "index",
    "hemi": "hemisphere",
    "side": "hemisphere",
    "colour": "color",
    "abbr": "abbreviation",
    "network_label": "network",
    "yeo7": "network",
}
_LOBES = {
    **{f"{lobe} Lobe": lobe for lobe in ("Frontal", "Parietal", "Temporal", "Occipital", "Limbic")},
    "Insular Lobe": "Insula",
    "Subcortical Nuclei": "Subcortical",
}


def read_label_table(path: Path, rules: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Read a BIDS label table (``*_dseg.tsv``) and bring it to this app's columns.

    It needs ``index`` (or ``label``) and ``name``. `rules` are the ``table`` part of an atlas card:
    ``columns`` (theirs -> ours), ``index_offset``, ``names`` (index -> corrected name),
    ``name_pattern`` (regular expression with the groups hemisphere, network, rest), ``networks``
    and ``lobes`` (their value -> ours; lobes by region name).

    Returns
    -------
    DataFrame
        ``COLUMNS``, and ``OPTIONAL_COLUMNS`` that the file has, sorted by index; the background
        (index 0) is left out. Missing values are None; `name`, `abbreviation` and `color` are
        always there. ``hemisphere`` is L, R or missing.

    Raises
    ------
    DataError
        If there is no index or name column, an index is not a whole number, is negative or repeats,
        or a name is missing.
    """
    rules = rules or {}
    raw = io.read_tsv(path)
    renames = _ALIASES | dict(rules.get("columns", {}))
    raw = raw.rename(columns=lambda name: str(name).strip())
    raw = raw.rename(columns={old: new for old, new in renames.items() if new not in raw.columns})
    table = pd.DataFrame({"index": _indices(raw, path) + int(rules.get("index_offset", 0))})
    table["name"] = _names(raw, path, table["index"], rules)
    table["name"] = table["name"].str.strip()
    columns = [*COLUMNS, *(column for column in OPTIONAL_COLUMNS if column in raw.columns)]
    for column in columns[2:]:
        table[column] = _text(raw, column)
    if "name_pattern" in rules:
        _parse_names(table, re.compile(rules["name_pattern"]))
    table = table[table["index"] != 0].reset_index(drop=True)
    table["hemisphere"] = [
        _side(word, name) for word, name in zip(table["hemisphere"], table["name"], strict=True)
    ]
    _translate(table, rules)
    _distinguish(table)
    table["abbreviation"] = table["abbreviation"].fillna(table["name"])
    table["color"] = [
        color if isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color) else _color(i)
        for i, color in zip(table["index"], table["color"], strict=True)
    ]
    table = table.astype(object).where(table.notna(), None).astype({"index": "int64"})
    return table.sort_values("index", ignore_index=True)[columns]


def _indices(raw: pd.DataFrame, path: Path) -> pd.Series:
    """Label values of a table; checked."""
    missing = [column for column in ("index", "name") if column not in raw.columns]
    if missing:
        raise DataError(
            f"{path} has no column {' and '.join(missing)} (it has {', '.join(raw.columns)}): "
            "an atlas table needs index and name."
        )
    values = pd.to_numeric(raw["index"], errors="coerce")
    wrong = raw.index[values.isna() | (values < 0) | (values != values.round())]
    if len(wrong):
        raise DataError(
            f"{path}, line {int(wrong[0]) + 2}: index {raw['index'][wrong[0]]!r} is not a whole "
            "number of 0 or more."
        )
    repeated = values[values.duplicated()]
    if len(repeated):
        raise DataError(f"{path} has index {int(repeated.iloc[0])} twice: each region needs one.")
    return values.astype("int64")


def _names(
    raw: pd.DataFrame, path: Path, indices: pd.Series, rules: Mapping[str, Any]
) -> pd.Series:
    """Region names; corrected where the card says so."""
    names = _text(raw, "name")
    if names.isna().any():
        row = int(names.index[names.isna()][0])
        raise DataError(f"{path}, line {row + 2}: the region has no name.")
    corrections = {int(index): name for index, name in rules.get("names", {}).items()}
    pairs = zip(indices, names, strict=True)
    return pd.Series([corrections.get(index, name) for index, name in pairs], dtype=object)


def _text(raw: pd.DataFrame, column: str) -> pd.Series:
    """A column as text, missing values kept; all missing where there is no such column."""
    if column not in raw.columns:
        return pd.Series([None] * len(raw), index=raw.index, dtype=object)
    return raw[column].map(lambda value: None if pd.isna(value) else str(value)).astype(object)


def _parse_names(table: pd.DataFrame, pattern: re.Pattern[str]) -> None:
    """Fill hemisphere, network and abbreviation from systematic names."""
    for row, name in table["name"].items():
        match = pattern.match(name)
        if match is None:
            continue
        groups = match.groupdict()
        for column in ("hemisphere", "network"):
            if groups.get(column):
                table.loc[row, column] = groups[column]
        table.loc[row, "abbreviation"] = "_".join(value for value in groups.values() if value)


def _side(word: object, name: str) -> str | None:
    """L, R or None, from the column or else from the name."""
    if isinstance(word, str) and word.strip():
        return side_of_word(word)
    return side_of_name(name)


def _translate(table: pd.DataFrame, rules: Mapping[str, Any]) -> None:
    """Networks and lobes in the words of this app."""
    networks = {"None": None, "none": None} | dict(rules.get("networks", {}))
    table["network"] = table["network"].map(lambda value: networks.get(value, value))
    table["lobe"] = table["lobe"].map(lambda value: _LOBES.get(value, value))
    lobes = rules.get("lobes", {})
    for row in table.index[table["lobe"].isna()]:
        bare = re.sub(r"^(Left|Right) ", "", table.loc[row, "name"])
        table.loc[row, "lobe"] = lobes.get(bare)


def _distinguish(table: pd.DataFrame) -> None:
    """Say the side in a name that both sides share; names in reports must be unique."""
    repeated = table["name"].duplicated(keep=False) & table["hemisphere"].notna()
    for row in table.index[repeated]:
        side = SIDES[table.loc[row, "hemisphere"]].capitalize()
        table.loc[row, "name"] = f"{side} {table.loc[row, 'name']}"


def _color(index: int) -> str:
    """A colour for a region whose table has none; neighbours in the table differ."""
    rgb = colorsys.hsv_to_rgb((index * 0.618034) % 1, 0.55 + 0.3 * (index % 2), 0.9)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)
