"""Networks over the age groups of He et al. 2025, beside what they report."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bidsapp_brainage.catalogue.levels import is_mean_level, mean_level
from bidsapp_brainage.group.regional.age_claims import reported_shape
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import Table
from bidsapp_brainage.reports.tables import Show, tabulate

_LEVEL = "network"
_REPORTED = "statements of the abstract; the paper gives numbers in figures only"
_VALUE = "mean_nosa_importance_scaled"


def network_table(
    results: StoredResults, entities: Mapping[str, str], identifier: str
) -> Table | None:
    """Published importance of networks, scaled over the networks of a person, by age group.

    Networks occluded as one, or means over their regions where there are no others; None where no
    age is known or all people are of one age group.
    """
    rows = results.rows("agegroups", entities, needs=("level", "name", "age_group", _VALUE))
    if rows.empty:
        return None
    there = [key for key in (_LEVEL, mean_level(_LEVEL)) if (rows["level"] == key).any()]
    rows = rows[rows["level"].isin(there[:1])].dropna(subset=[_VALUE])
    groups = list(dict.fromkeys(rows["age_group"].astype(str)))
    if len(groups) < 2:
        return None
    wide = rows.pivot_table(index="name", columns="age_group", values=_VALUE, sort=False)
    people = rows.groupby("age_group")["n_participants"].max()
    reported = pd.Series(wide.index.map(reported_shape), index=wide.index).replace("", "not stated")
    columns = [
        Show("name", "Network", "name"),
        Show("reported", "He et al. report", "name", help=_REPORTED),
        *(
            Show(group, group, "number", 2, f"years; mean over {people[group]:.0f} participants")
            for group in groups
        ),
    ]
    how = "each region by itself, mean over regions" if is_mean_level(there[0]) else "as one"
    caption = (
        f"Published importance of networks, occluded {how}, by age group in years; scaled from 0 "
        "to 1 over the networks of a person, mean over people."
    )
    return tabulate(
        f"{identifier}-networks-ages",
        caption,
        columns,
        wide.assign(reported=reported).reset_index(),
    )
