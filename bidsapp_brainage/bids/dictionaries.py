"""Data dictionaries: what every column of every table means (``data/bids_columns.json``)."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any


@functools.lru_cache(maxsize=1)
def _dictionaries() -> dict[str, Any]:
    text = resources.files("bidsapp_brainage").joinpath("data/bids_columns.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def describe_columns(kind: str, columns: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the columns of one kind of table mean.

    Parameters
    ----------
    kind : str
        Suffix of the table: ``"brainage"``, ``"agedist"``, ``"occlusion"``, ``"qc"``,
        ``"metrics"``, ``"occlusionstats"``, ``"participants"``, ``"dseg"``, ``"descriptions"``.
    columns : iterable of str
        Names in the order of the table.

    Returns
    -------
    dict
        ``LongName``, ``Description`` and, where they apply, ``Units``, ``Levels``, ``Minimum``,
        ``Maximum`` and ``Derivative`` per column. A column that comes from a user's own table
        (an atlas may have any) has only its name.
    """
    known = _dictionaries()
    own = known["kinds"].get(kind, {})
    return {
        name: copy.deepcopy(own.get(name) or known["shared"].get(name) or {"LongName": name})
        for name in columns
    }


def sidecar(kind: str, columns: Iterable[str], **provenance: Any) -> dict[str, Any]:
    """Content of the JSON beside a table: its dictionary, then facts about its making.

    `provenance` may hold ``Description``, ``Sources``, ``Model``, ``Software``,
    ``BiasCorrection``, ``Device`` and the like; ``None`` values are left out.
    """
    facts = {key: value for key, value in provenance.items() if value is not None}
    return {**describe_columns(kind, columns), **facts}


def undescribed(kind: str, columns: Iterable[str]) -> list[str]:
    """Columns of a table that the dictionaries do not explain."""
    described = describe_columns(kind, columns)
    return [name for name, facts in described.items() if "Description" not in facts]
