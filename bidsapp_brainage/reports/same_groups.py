"""Groups of different levels that are made of the same regions are shown once.

An atlas may put the same regions into a lobe, a pair and a tissue compartment ("White matter" and
"white matter"). Occluded as one they give the same numbers, by which they are found here.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES, level_title


def merged(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Rows that are equal in all of `keys` as one, with all of their names and levels in words.

    Rows where a key is missing stay by themselves. Needs the columns ``name`` and ``level``.
    """
    known = rows[list(keys)].notna().all(axis=1)
    alone = pd.Series(range(len(rows)), index=rows.index).where(~known, -1)
    parts = rows.groupby([*(rows[key] for key in keys), alone], sort=False, dropna=False)
    together = [
        {**part.iloc[0], "name": _names(part["name"]), "level": _levels(part["level"])}
        for _, part in parts
    ]
    return pd.DataFrame(together, columns=list(rows))


def repeats(rows: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """Whether a row above is equal in all of `keys`, none of which is missing."""
    return rows.duplicated(list(keys)) & rows[list(keys)].notna().all(axis=1)


def _names(names: pd.Series) -> str:
    first, *others = (SIDES.get(str(name), str(name)) for name in names)
    different = {name.casefold(): name for name in others if name.casefold() != first.casefold()}
    return f"{first} ({', '.join(different.values())})" if different else first


def _levels(levels: pd.Series) -> str:
    first, *others = dict.fromkeys(level_title(str(level)) for level in levels)
    return ", ".join([first, *(title.lower() for title in others)])
