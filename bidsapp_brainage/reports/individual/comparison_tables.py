"""Tables of the individual report that tell signal from artefact: agreement and controls."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.reports.html import (
    MISSING,
    Cell,
    Column,
    Table,
    decimals,
    is_missing,
    number,
    number_cell,
    text_cell,
)

#: Words for the methods that names of explanations begin with.
METHODS = {
    "occlusion": "Occlusion",
    "lrp": "Layer-wise relevance propagation",
    "ig": "Integrated gradients",
    "noise": "Learned noise",
    "shapley": "Shapley values",
}
FILLS = {
    "background": "background",
    "mean": "mean around",
    "blur": "blurred brain",
    "template": "template",
}
_CONTROLS = {
    "outside_brain": ("Outside the brain", "should be about 0"),
    "unlabelled": ("Brain outside the atlas", "what the regions cannot explain"),
    "all_regions": ("All regions at once", ""),
    "sum_of_regions": ("Sum of the single regions", "differs from all at once if regions interact"),
    "whole_brain": ("The whole brain", "what an empty image would be predicted"),
}
LOW_AGREEMENT = 0.3
_FALLEN = 0.5

#: Heading, explanation, table.
Part = tuple[str, str, Table]


def explanation_title(name: str) -> str:
    """Words for the name of an explanation, for example ``occlusion_background``."""
    method, _, fill = name.partition("_")
    title = METHODS.get(method, method)
    return f"{title} ({FILLS.get(fill, fill)})" if fill else title


def agreement(rows: pd.DataFrame, identifier: str, name: str) -> Part:
    """Matrix of rank correlations between explanations.

    Parameters
    ----------
    rows : DataFrame
        ``explanation_a``, ``explanation_b``, ``spearman`` (signed), ``spearman_abs``,
        ``spearman_abs_per_ml``; one row per pair.
    identifier, name : str
        HTML identifier of the table; name of the file.
    """
    names = list(dict.fromkeys([*rows["explanation_a"], *rows["explanation_b"]]))
    pairs = {(row["explanation_a"], row["explanation_b"]): row for row in rows.to_dict("records")}

    def cell(first: str, second: str) -> Cell:
        if first == second:
            return Cell("1", value="1", heat=0.0)
        row = pairs.get((first, second)) or pairs.get((second, first)) or {}
        value = row.get("spearman")
        mark = ""
        if is_missing(value):
            value, mark = row.get("spearman_abs"), " (size)"
        if is_missing(value):
            return Cell(MISSING, value="")
        return Cell(number(value, 2) + mark, value=f"{value:.4g}", heat=float(str(value)))

    columns = [
        Column("Explanation"),
        *(Column(explanation_title(name), numeric=True, short=True) for name in names),
    ]
    cells = [
        [Cell(explanation_title(first)), *(cell(first, second) for second in names)]
        for first in names
    ]
    known = rows["spearman"].dropna()
    text = (
        "Rank correlation over regions between explanations of this scan: 1 is the same order, 0 "
        "none. Numbers marked (size) compare sizes only, because one of the two has no sign; they "
        "tend to be high, as large regions have large contributions in every explanation."
    )
    if len(known) and known.median() < LOW_AGREEMENT:
        text += " Here the explanations agree little: do not interpret the order of single regions."
    caption = f"Agreement of explanations, Spearman's rank correlation ({name})."
    return "Do explanations agree?", text, Table(identifier, caption, columns, cells)


def controls(rows: pd.DataFrame, identifier: str, name: str) -> Part:
    """What was occluded as a check, one row per control, one column per fill."""
    fills = list(dict.fromkeys(rows["baseline"].astype(str)))
    digits = decimals(float(rows["delta_age"].abs().max() or 0))
    titles = [f"Filled with {FILLS.get(fill, fill)}" for fill in fills]
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
        values = [number_cell(part.get(fill), digits, signed=True) for fill in fills]
        cells.append([Cell(title), *values, Cell(expected)])
    text = (
        "Hiding what should not matter, and everything at once, shows how far the numbers of "
        "single regions can be trusted."
    )
    caption = f"Controls of the occlusion, change of the predicted age in years ({name})."
    return "Controls", text, Table(identifier, caption, columns, cells, sortable=False)


def randomisation(rows: pd.DataFrame, identifier: str, name: str) -> Part:
    """Agreement with the explanation of ever more randomised networks."""
    methods = list(dict.fromkeys(rows["method"].astype(str)))
    columns = [
        Column("Randomised down to"),
        *(Column(METHODS.get(method, method), numeric=True) for method in methods),
    ]
    cells = []
    for step, part in rows.groupby("step", sort=True):
        layer = part["layer"].dropna()
        title = str(layer.iloc[0]) if len(layer) else "nothing (trained network)"
        values = part.set_index("method")["spearman"]
        row = [number_cell(values.get(method), 2, signed=True) for method in methods]
        cells.append([Cell(title, value=f"{step}"), *row])
    last = rows.sort_values("step").groupby("method")["spearman"].last()
    stuck = [
        METHODS.get(str(m), str(m)).lower() for m, value in last.items() if abs(value) > _FALLEN
    ]
    text = (
        "Weights were replaced by random ones, from the output down. An explanation that depends "
        "on what the network learned changes: its rank correlation with that of the trained "
        "network falls."
    )
    if stuck:
        text += (
            f" It does not fall for {', '.join(stuck)}: this explanation shows the image more "
            "than the network."
        )
    caption = f"Rank correlation with the explanation of the trained network ({name})."
    return "Randomised networks", text, Table(identifier, caption, columns, cells, sortable=False)


def ranks(found: dict[str, pd.DataFrame], identifier: str) -> Part | None:
    """Ranks of regions by each explanation side by side; None with fewer than two.

    Parameters
    ----------
    found : dict
        Title of an explanation to its table: ``index``, ``name``, ``rank``.
    identifier : str
    """
    if len(found) < 2:
        return None
    parts = {title: rows.set_index("index")["rank"] for title, rows in found.items()}
    names = next(iter(found.values())).set_index("index")["name"]
    wide = pd.DataFrame(parts).reindex(names.index)
    wide = wide.assign(mean=wide.mean(axis=1), name=names).sort_values("mean", kind="stable")
    wide = wide.dropna(subset=["mean"])
    columns = [
        Column("Region"),
        Column("Mean rank", numeric=True, ascending=True, sorted="ascending"),
        *(Column(title, numeric=True, ascending=True, short=True) for title in parts),
    ]
    cells = [
        [
            text_cell(row["name"]),
            number_cell(row["mean"], 1),
            *(number_cell(row[title], 0) for title in parts),
        ]
        for row in wide.to_dict("records")
    ]
    text = (
        "1 is the most important region in each column. Regions that are near the top of every "
        "column are the ones that the network most likely used."
    )
    caption = "Ranks of regions by explanation."
    return "Ranks side by side", text, Table(identifier, caption, columns, cells, searchable=True)
