"""Tables of the individual report about groups of regions and further methods of explanation."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bidsapp_brainage.catalogue.levels import SIDES, level_title
from bidsapp_brainage.reports.html import (
    Column,
    Table,
    decimals,
    number,
    number_cell,
    text_cell,
)
from bidsapp_brainage.reports.individual import comparison_tables as agreement
from bidsapp_brainage.reports.individual.results import TableFile

_CURVES = {"deletion": "Deletion", "insertion": "Insertion"}
TOP_PAIRS = 20
#: Methods beyond occlusion, as the outputs of their tables.
ATTRIBUTIONS = ("lrp", "ig", "noise")


def further_tables(found: Mapping[str, TableFile], identifier: str) -> list[tuple[str, str, Table]]:
    """Heading, explanation and table of everything beyond single regions that was computed.

    Parameters
    ----------
    found : mapping
        Tables by the key of their output; those without rows are left out.
    identifier : str
        Start of the HTML identifiers.
    """
    makers = {
        "agreement": agreement.agreement,
        "controls": agreement.controls,
        "randomisation": agreement.randomisation,
        "groups": _groups,
        "shapley": _shapley,
        "curves": _curves,
        "pairs": _pairs,
    }
    made = [
        make(file.rows, f"{identifier}-{file.output.suffix}", file.path.name)
        for kind, make in makers.items()
        if (file := found.get(kind)) is not None and file.rows is not None and len(file.rows)
    ]
    side_by_side = agreement.ranks(by_explanation(found), f"{identifier}-ranks")
    if side_by_side is not None:
        made.insert(int("agreement" in found), side_by_side)
    return made


def by_explanation(found: Mapping[str, TableFile]) -> dict[str, pd.DataFrame]:
    """Tables with one row per region of every explanation, by its title.

    Parameters
    ----------
    found : mapping
        Tables by the key of their output. Those of several baselines are taken apart.
    """
    parts: dict[str, pd.DataFrame] = {}
    for kind, method in (("baselines", "occlusion"), *((m, m) for m in ATTRIBUTIONS)):
        file = found.get(kind)
        if file is None or file.rows is None or "baseline" not in file.rows:
            continue
        for fill, rows in file.rows.groupby("baseline", sort=False, dropna=False):
            name = method if pd.isna(fill) else f"{method}_{fill}"
            parts[agreement.explanation_title(name)] = rows.drop_duplicates("index")
    return parts


def _most(values: pd.Series) -> float | None:
    return float(values.abs().max()) if values.notna().any() else None


def _groups(rows: pd.DataFrame, identifier: str, name: str) -> tuple[str, str, Table]:
    most = _most(rows["delta_age"])
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
    caption = f"Contributions of groups of regions, in years ({name})."
    text = (
        "Each group was hidden as a whole. Where this differs from the sum of its regions, the "
        "regions act together."
    )
    return "Networks, lobes and hemispheres", text, Table(identifier, caption, columns, cells)


def _shapley(rows: pd.DataFrame, identifier: str, name: str) -> tuple[str, str, Table]:
    known = rows.dropna(subset=["shapley_age"])
    most = _most(known["shapley_age"])
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
    text = (
        "The mean effect of hiding a region after others, in random order. These values add up: "
        f"together {total} years, the change with all regions hidden."
    )
    caption = f"Shapley values of {len(known)} regions, in years ({name})."
    table = Table(identifier, caption, columns, cells, searchable=True)
    return "Shapley values", text, table


def _curves(rows: pd.DataFrame, identifier: str, name: str) -> tuple[str, str, Table]:
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
                text_cell(agreement.explanation_title(str(ranking))),
                text_cell(_CURVES.get(str(curve), curve)),
                number_cell(row["area"], 2),
                number_cell(row["random_area_mean"], 2),
                number_cell(spread, 2),
                number_cell(z, 1, signed=True),
            ]
        )
    text = (
        "Regions were hidden (deletion) or shown again (insertion) one after another, the most "
        "important first. The ranking is faithful to the network if the area is larger than with "
        "random orders."
    )
    caption = f"Areas under deletion and insertion curves ({name} holds the curves)."
    return "Is the ranking faithful?", text, Table(identifier, caption, columns, cells)


def _pairs(rows: pd.DataFrame, identifier: str, name: str) -> tuple[str, str, Table]:
    shown = rows.head(TOP_PAIRS)
    most = _most(shown["interaction"])
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
    caption = f"The {len(shown)} strongest of {len(rows)} interactions, in years ({name})."
    text = "What hiding two regions at once does beyond hiding each of them."
    return "Interactions of the top regions", text, Table(identifier, caption, columns, cells)
