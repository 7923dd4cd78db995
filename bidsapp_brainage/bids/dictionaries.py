"""Data dictionaries: what every column of every table means, from the cards of the outputs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from bidsapp_brainage.catalogue.cards import Column
from bidsapp_brainage.catalogue.columns import SHARED
from bidsapp_brainage.catalogue.lookup import OUTPUTS
from bidsapp_brainage.catalogue.quantity import Quantity


@functools.lru_cache
def _columns(kind: str) -> Mapping[str, Column]:
    """Columns of all tables with one suffix, and those that mean the same in every table."""
    own = [column for card in OUTPUTS if card.suffix == kind for column in card.columns]
    return {column.name: column for column in (*SHARED, *own)}


@functools.lru_cache
def _about_explanations() -> frozenset[str]:
    """Suffixes of tables about contributions of regions."""
    return frozenset(card.suffix for card in OUTPUTS if card.columns and "atlas" in card.entities)


def describe_columns(
    kind: str, columns: Iterable[str], model: object = None
) -> dict[str, dict[str, object]]:
    """What the columns of a kind of table (its suffix) mean, in the order of the names.

    Each has ``LongName``, ``Description`` and, where they apply, ``Units``, ``Levels``,
    ``Minimum``, ``Maximum`` and ``Derivative``. A column that comes from a user's own table (an
    atlas may have any) has only its name. The object `model` of sidecars says what an explanation
    is about; without it, it is about the age.
    """
    known = _columns(kind)
    explained = Quantity.from_model(model if kind in _about_explanations() else None)
    return {
        name: explained.described(known[name]).as_bids() if name in known else {"LongName": name}
        for name in columns
    }


def sidecar(kind: str, columns: Iterable[str], **provenance: object) -> dict[str, object]:
    """Content of the JSON beside a table: its dictionary, then facts about its making.

    `provenance` may hold ``Description``, ``Sources``, ``Model``, ``Software``,
    ``BiasCorrection``, ``Device`` and the like; ``None`` values are left out.
    """
    facts = {key: value for key, value in provenance.items() if value is not None}
    return {**describe_columns(kind, columns, facts.get("Model")), **facts}


def undescribed(kind: str, columns: Iterable[str]) -> list[str]:
    """Columns of a table that the dictionaries do not explain."""
    described = describe_columns(kind, columns)
    return [name for name, facts in described.items() if "Description" not in facts]
