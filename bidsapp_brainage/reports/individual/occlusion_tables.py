"""Tables of the individual report about what happens when several regions are occluded.

Each function takes the rows of a table, an HTML identifier and the name of the file, and returns
the words that the rows suggest and the table.
"""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES, level_title
from bidsapp_brainage.catalogue.lookup import baseline_title, explanation_title
from bidsapp_brainage.reports.html import (
    Cell,
    Column,
    Table,
    decimals,
    largest,
    number,
    number_cell,
    text_cell,
)

TOP_PAIRS = 20
_CURVES = {"deletion": "Deletion", "insertion": "Insertion"}
_CONTROLS = {
    "outside_brain": ("Outside the brain", "should be about 0"),
    "unlabelled": ("Brain outside the atlas", "what the regions cannot explain"),
    "all_regions": ("All regions at once", ""),
    "sum_of_regions": ("Sum of the single regions", "differs from all at once if regions interact"),
    "whole_brain": ("The whole brain", "what an empty image would be predicted"),
}


def controls(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """What was occluded as a check, one row per control, one column per baseline."""
    baselines = list(dict.fromkeys(rows["baseline"].astype(str)))
    digits = decimals(float(rows["delta_age"].abs().max() or 0))
    titles = [f"Filled with {baseline_title(baseline)}" for baseline in baselines]
    columns = [
        Column("Hidden at once"),
        *(
            Column(title, numeric=True, help="change of the predicted age, years")
            for title in titles
        ),
        Column("What to expect", wrap=True),
    ]
    cells = []
    for control in dict.fromkeys(rows["control"].astype(str)):
        part = rows[rows["control"] == control].set_index("baseline")["delta_age"]
        title, expected = _CONTROLS.get(control, (control, ""))
        values = [number_cell(part.get(baseline), digits, signed=True) for baseline in baselines]
        cells.append([Cell(title), *values, Cell(expected)])
    caption = f"Controls of the occlusion, change of the predicted age in years ({file_name})."
    return "", Table(identifier, caption, columns, cells, sortable=False)


def groups(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Contributions of groups of regions beside the sums of their regions."""
    most = largest(rows["delta_age"])
    digits = decimals(most)
    columns = [
        Column("Group"),
        Column("Level"),
        Column("Contribution", numeric=True, help="all its regions occluded at once, years"),
        Column("Sum of its regions", numeric=True, help="each occluded by itself, years"),
        Column("Regions", numeric=True),
        Column("Volume (ml)", numeric=True),
    ]
    cells = [
        [
            text_cell(SIDES.get(str(row["name"]), row["name"])),
            text_cell(level_title(str(row["level"]))),
            number_cell(row["delta_age"], digits, signed=True, most=most),
            number_cell(row["sum_of_regions"], digits, signed=True),
            number_cell(row["n_regions"], 0),
            number_cell(row["volume_mm3"] / 1000, 0),
        ]
        for row in rows.to_dict("records")
    ]
    caption = f"Contributions of groups of regions, in years ({file_name})."
    return "", Table(identifier, caption, columns, cells)


def shapley(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Shapley values, the largest first, and what they add up to."""
    known = rows.dropna(subset=["shapley_age"])
    most = largest(known["shapley_age"])
    digits = decimals(most)
    known = known.reindex(known["shapley_age"].abs().sort_values(ascending=False).index)
    columns = [
        Column("Region"),
        Column("Shapley value", numeric=True, help="years"),
        Column("Standard error", numeric=True),
        Column("Contribution", numeric=True, help="the region occluded by itself, years"),
    ]
    cells = [
        [
            text_cell(row["name"]),
            number_cell(row["shapley_age"], digits, signed=True, most=most),
            number_cell(row["standard_error"], digits),
            number_cell(row["delta_age"], digits, signed=True),
        ]
        for row in known.to_dict("records")
    ]
    total = number(known["shapley_age"].sum(), 1, signed=True)
    words = f"These values add up: together {total} years, the change with all regions hidden."
    caption = f"Shapley values of {len(known)} regions, in years ({file_name})."
    table = Table(identifier, caption, columns, cells, searchable=True)
    return words, table


def curves(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Areas under the curves of deletion and insertion, beside random orders."""
    columns = [
        Column("Order of regions from"),
        Column("Curve"),
        Column("Area", numeric=True, help="years"),
        Column("Random order", numeric=True, help="mean area, years"),
        Column("SD", numeric=True, help="of random orders"),
        Column("z", numeric=True, help="area against random orders"),
    ]
    cells = []
    named = rows if "ranking" in rows else rows.assign(ranking="occlusion")
    for (ranking, curve), part in named.groupby(["ranking", "curve"], sort=True):
        row = part.iloc[0]
        spread = row["random_area_sd"]
        z = (row["area"] - row["random_area_mean"]) / spread if spread > 0 else None
        cells.append(
            [
                text_cell(explanation_title(str(ranking))),
                text_cell(_CURVES.get(str(curve), curve)),
                number_cell(row["area"], 2),
                number_cell(row["random_area_mean"], 2),
                number_cell(spread, 2),
                number_cell(z, 1, signed=True),
            ]
        )
    caption = f"Areas under deletion and insertion curves ({file_name} holds the curves)."
    return "", Table(identifier, caption, columns, cells)


def pairs(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """The strongest interactions of two regions."""
    shown = rows.head(TOP_PAIRS)
    most = largest(shown["interaction"])
    digits = decimals(most)
    columns = [
        Column("Region"),
        Column("and"),
        Column("Interaction", numeric=True, help="both minus the sum of the two, years"),
        Column("Both", numeric=True, help="occluded at once, years"),
    ]
    cells = [
        [
            text_cell(row["name_a"]),
            text_cell(row["name_b"]),
            number_cell(row["interaction"], digits, signed=True, most=most),
            number_cell(row["delta_both"], digits, signed=True),
        ]
        for row in shown.to_dict("records")
    ]
    caption = f"The {len(shown)} strongest of {len(rows)} interactions, in years ({file_name})."
    return "", Table(identifier, caption, columns, cells)
