"""Tables of the individual report that compare explanations with each other."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bidsapp_brainage.catalogue.lookup import explanation_title, method_title
from bidsapp_brainage.reports.html import (
    MISSING,
    Cell,
    Column,
    Table,
    decimals,
    is_missing,
    largest,
    number,
    number_cell,
)
from bidsapp_brainage.reports.tables import Show, tabulate
from bidsapp_brainage.reports.wording import LOW_AGREEMENT

_FALLEN = 0.5


def agreement(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Matrix of rank correlations between explanations, from one row per pair."""
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
    words = ""
    if len(known) and known.median() < LOW_AGREEMENT:
        words = "Here the explanations agree little: do not interpret the order of single regions."
    caption = f"Agreement of explanations, Spearman's rank correlation ({file_name})."
    return words, Table(identifier, caption, columns, cells)


def randomisation(rows: pd.DataFrame, identifier: str, file_name: str) -> tuple[str, Table]:
    """Agreement with the explanation of ever more randomised networks."""
    methods = list(dict.fromkeys(rows["method"].astype(str)))
    columns = [
        Column("Randomised down to"),
        *(Column(method_title(method), numeric=True) for method in methods),
    ]
    cells = []
    for step, part in rows.groupby("step", sort=True):
        layer = part["layer"].dropna()
        title = str(layer.iloc[0]) if len(layer) else "nothing (trained network)"
        values = part.set_index("method")["spearman"]
        row = [number_cell(values.get(method), 2, signed=True) for method in methods]
        cells.append([Cell(title, value=f"{step}"), *row])
    last = rows.sort_values("step").groupby("method")["spearman"].last()
    stuck = [method_title(str(m)).lower() for m, value in last.items() if abs(value) > _FALLEN]
    words = ""
    if stuck:
        words = (
            f"It does not fall for {', '.join(stuck)}: this explanation shows the image more "
            "than the network."
        )
    caption = f"Rank correlation with the explanation of the trained network ({file_name})."
    return words, Table(identifier, caption, columns, cells, sortable=False)


def side_by_side(
    explanations: dict[str, pd.DataFrame], identifier: str
) -> list[tuple[str, str, Table]]:
    """Values and ranks of regions by each explanation (by title); nothing with fewer than two."""
    if len(explanations) < 2:
        return []
    parts = {title: rows.set_index("index")["rank"] for title, rows in explanations.items()}
    names = next(iter(explanations.values())).set_index("index")["name"]
    wide = pd.DataFrame(parts).reindex(names.index)
    wide = wide.assign(mean=wide.mean(axis=1), name=names).sort_values("mean", kind="stable")
    wide = wide.dropna(subset=["mean"])
    return [_values(explanations, wide["name"], f"{identifier}-values"), _ranks(wide, identifier)]


def _ranks(wide: pd.DataFrame, identifier: str) -> tuple[str, str, Table]:
    titles = [str(title) for title in wide if title not in ("mean", "name")]
    columns = [
        Show("name", "Region", "name"),
        Show("mean", "Mean rank", "number", 1, ascending=True, sorted="ascending"),
        *(Show(title, title, "rank", short=True) for title in titles),
    ]
    text = (
        "1 is the most important region in each column. Regions that are near the top of every "
        "column are the ones that the network most likely used."
    )
    table = tabulate(
        f"{identifier}-ranks", "Ranks of regions by explanation.", columns, wide, searchable=True
    )
    return "Ranks side by side", text, table


def _values(
    explanations: dict[str, pd.DataFrame], names: pd.Series, identifier: str
) -> tuple[str, str, Table]:
    """Contribution and spread over members by each explanation, in the order of `names`."""
    columns, cells = [Column("Region")], [[Cell(str(name))] for name in names]
    for title, rows in explanations.items():
        signed = bool(rows["delta_age"].notna().any())
        value = "delta_age" if signed else "importance"
        known = rows.set_index("index").reindex(
            index=names.index, columns=[value, f"{value}_sd_members"]
        )
        digits = decimals(largest(known[value]))
        unit = "years" if signed else "importance; no sign"
        columns.append(Column(title, numeric=True, help=unit, short=True))
        for row, pair in zip(cells, known.itertuples(index=False), strict=True):
            row.append(_with_spread(pair[0], pair[1], digits, signed=signed))
    text = (
        "Mean over the members of the ensemble ± their standard deviation; in "
        "years, but for explanations without a sign."
    )
    table = Table(identifier, "Contributions by explanation.", columns, cells, searchable=True)
    return "Contributions side by side", text, table


def _with_spread(value: float, spread: float, digits: int, *, signed: bool) -> Cell:
    cell = number_cell(value, digits, signed=signed)
    if is_missing(value) or is_missing(spread):
        return cell
    return replace(cell, text=f"{cell.text} ± {number(spread, digits)}")
