"""Tables of the individual report about what happens when several regions are occluded.

Each function takes the rows of a table, an HTML identifier and the name of the file, and returns
the words that the rows suggest and the table.
"""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.catalogue.lookup import baseline_title, explanation_title
from bidsapp_brainage.reports.html import (
    Cell,
    Column,
    Table,
    decimals,
    largest,
    number,
    number_cell,
)
from bidsapp_brainage.reports.same_groups import merged
from bidsapp_brainage.reports.tables import Show, tabulate, with_values

TOP_PAIRS = 20
_MEMBERS = ("SD, members", "number")
_OVER_MEMBERS = "standard deviation over the members of the ensemble, years"
#: Equal in all of these: made of the same regions.
_SAME = ("n_regions", "n_voxels", "volume_mm3", "delta_age")
_CURVES = {"deletion": "Deletion", "insertion": "Insertion"}
_CONTROLS = {
    "outside_brain": ("Outside the brain", "should be about 0"),
    "unlabelled": ("Brain outside the atlas", "what the regions cannot explain"),
    "all_regions": ("All regions at once", ""),
    "sum_of_regions": ("Sum of the single regions", "differs from all at once if regions interact"),
    "whole_brain": (
        "The whole brain",
        "an empty image is predicted the age of this one plus this change",
    ),
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
    """Contributions of groups of regions beside the sums of their regions.

    Groups of the same regions are one row. A bar is as long as the largest of its level allows: on
    one scale, those of hemispheres would flatten all others.
    """
    digits = decimals(largest(rows["delta_age"]))
    sizes = rows["delta_age"].abs()
    rows = rows.assign(most=sizes.groupby(rows["level"]).transform("max"))
    rows = merged(rows, [name for name in _SAME if name in rows])
    together = "all its regions occluded at once, years; bars on one scale within each level"
    single = "each occluded by itself, years"
    columns = [
        Show("name", "Group", "name"),
        Show("level", "Level", "name"),
        Show("delta_age", "Contribution", "signed", digits, together, "most"),
        *with_values(rows, [Show("delta_age_sd_members", *_MEMBERS, digits, _OVER_MEMBERS)]),
        Show("sum_of_regions", "Sum of its regions", "signed", digits, single),
        Show("n_regions", "Regions", "count"),
        Show("volume", "Volume (ml)", "number", 0),
    ]
    caption = f"Contributions of groups of regions, in years ({file_name})."
    return "", tabulate(identifier, caption, columns, rows.assign(volume=rows["volume_mm3"] / 1000))


def modalities(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Contributions of regions by modality side by side, the largest of all together first."""
    names = list(dict.fromkeys(rows["modality"].astype(str)))
    wide = rows.pivot(index="index", columns="modality", values="delta_age")[names]
    table = rows.drop_duplicates("index").set_index("index")[["name"]].join(wide)
    table = table.dropna(subset=names[-1:])
    table = table.reindex(table[names[-1]].abs().sort_values(ascending=False).index)
    most = largest(rows["delta_age"])
    digits = decimals(most)
    columns = [Show("name", "Region", "name")]
    for name in names[:-1]:
        columns.append(Show(name, name, "signed", digits, "hidden in this modality alone, years"))
    columns.append(Show(names[-1], "All", "signed", digits, "hidden in all of them, years", most))
    caption = f"Contributions of {len(table)} regions by modality, in years ({file_name})."
    return "", tabulate(identifier, caption, columns, table.reset_index(), searchable=True)


def shapley(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Shapley values, the largest first, and what they add up to."""
    known = rows.dropna(subset=["shapley_age"])
    most = largest(known["shapley_age"])
    digits = decimals(most)
    known = known.reindex(known["shapley_age"].abs().sort_values(ascending=False).index)
    single = "the region occluded by itself, years"
    columns = [
        Show("name", "Region", "name"),
        Show("shapley_age", "Shapley value", "signed", digits, "years", most),
        Show("standard_error", "Standard error", "number", digits, "over random orders"),
        *with_values(known, [Show("shapley_age_sd_members", *_MEMBERS, digits, _OVER_MEMBERS)]),
        Show("delta_age", "Contribution", "signed", digits, single),
    ]
    total = number(known["shapley_age"].sum(), 1, signed=True)
    words = f"These values add up: together {total} years, the change with all regions hidden."
    caption = f"Shapley values of {len(known)} regions, in years ({file_name})."
    return words, tabulate(identifier, caption, columns, known, searchable=True)


def curves(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Areas under the curves of deletion and insertion, beside random orders."""
    columns = [
        Show("title", "Order of regions from", "name"),
        Show("curve", "Curve", "name"),
        Show("area", "Area", "number", help="years"),
        Show("random_area_mean", "Random order", "number", help="mean area, years"),
        Show("random_area_sd", "SD", "number", help="of random orders"),
        Show("z", "z", "signed", 1, "area against random orders"),
    ]
    named = rows if "ranking" in rows else rows.assign(ranking="occlusion")
    order = ["ranking", "curve"]
    first = named.dropna(subset=order).drop_duplicates(order).sort_values(order)
    spread = first["random_area_sd"]
    first = first.assign(
        title=first["ranking"].astype(str).map(explanation_title),
        curve=first["curve"].replace(_CURVES),
        z=(first["area"] - first["random_area_mean"]) / spread.where(spread > 0),
    )
    caption = f"Areas under deletion and insertion curves ({file_name} holds the curves)."
    return "", tabulate(identifier, caption, columns, first)


def pairs(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """The strongest interactions of two regions."""
    shown = rows.head(TOP_PAIRS)
    most = largest(shown["interaction"])
    digits = decimals(most)
    beyond = "both minus the sum of the two, years"
    columns = [
        Show("name_a", "Region", "name"),
        Show("name_b", "and", "name"),
        Show("interaction", "Interaction", "signed", digits, beyond, most),
        Show("delta_both", "Both", "signed", digits, "occluded at once, years"),
    ]
    caption = f"The {len(shown)} strongest of {len(rows)} interactions, in years ({file_name})."
    return "", tabulate(identifier, caption, columns, shown)
