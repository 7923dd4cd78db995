"""What the page shows of the regions of one atlas: their table, and a few sentences."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bidsapp_brainage.catalogue.explanation_columns import NEGLIGIBLE_YEARS
from bidsapp_brainage.catalogue.levels import SIDES
from bidsapp_brainage.catalogue.lookup import baseline_title, output
from bidsapp_brainage.reports import wording
from bidsapp_brainage.reports.html import (
    Table,
    as_float,
    decimals,
    largest,
    number,
    slug,
)
from bidsapp_brainage.reports.individual.method_tables import Part, method_tables
from bidsapp_brainage.reports.individual.results import RegionResult, ScanResult
from bidsapp_brainage.reports.tables import Show, tabulate, with_values, without_told_sides
from bidsapp_brainage.reports.wording import Notice
from bidsapp_brainage.stats.regional.signs import Verdict, all_baselines, signs, verdict
from bidsapp_brainage.stats.verdicts import Verdict as Judged
from bidsapp_brainage.stats.verdicts import region_verdict

#: Further columns of the table, with heading and help.
SHOWN = tuple(column for column in output("table").columns if any(column.shown))


@dataclass(frozen=True)
class RegionsView:
    """Tables about the contributions of regions.

    ``verdict`` says first what holds of them, ``judged`` how far they are to be trusted.
    """

    title: str
    verdict: tuple[Notice, ...]
    judged: Judged
    sentence: str
    regions: Table | None
    further: tuple[Part, ...]
    notes: tuple[str, ...]
    fill: str


def regions_view(scan: ScanResult, model: str, result: RegionResult) -> RegionsView:
    """Tables of one atlas; ``regions`` is None when the file is missing or broken."""
    title = result.atlas or "Atlas"
    rows = region_rows(result)
    if rows is None or result.table is None:
        absent = "The table of regions is missing or unreadable."
        return RegionsView(title, (), Judged(), absent, None, (), (), "")
    known = _verdict(rows, result)
    identifier = slug("regions", scan.label, model, result.atlas)
    return RegionsView(
        title=title,
        verdict=tuple(wording.contributions(known, beyond=_BEYOND)),
        judged=region_verdict(known),
        sentence=_region_sentence(rows, known),
        regions=_region_table(rows, identifier, result.table.path.name),
        further=tuple(method_tables(result.tables, identifier)),
        notes=_region_notes(rows),
        fill=baseline_title(known.baselines[0]) if known.baselines else "",
    )


def region_rows(result: RegionResult) -> pd.DataFrame | None:
    """Rows of the table of regions with all columns that are looked at; None when unreadable.

    ``sign`` (:data:`bidsapp_brainage.stats.regional.signs.Sign`) is judged over all baselines.
    """
    if result.table is None or result.table.rows is None or result.table.rows.empty:
        return None
    rows = _with_columns(result.table.rows)
    baselines = _all_baselines(rows, result)
    sign = rows["index"].map(signs(baselines))
    return rows.assign(sign=sign, doubtful=sign.isin(["opposite", "uncertain"]))


def _all_baselines(rows: pd.DataFrame, result: RegionResult) -> pd.DataFrame:
    """Contributions with every baseline, that of the table of regions first."""
    file = result.tables.get("baselines")
    return all_baselines(rows, None if file is None else file.rows)


def _verdict(rows: pd.DataFrame, result: RegionResult) -> Verdict:
    file = result.tables.get("agreement")
    pairs = None if file is None or file.rows is None else file.rows
    if pairs is not None and not {"explanation_a", "explanation_b", "spearman"} <= set(pairs):
        pairs = None
    return verdict(_all_baselines(rows, result), pairs)


def _with_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the table all columns that are looked at, and words for sides."""
    wanted = (
        "index", "name", "hemisphere", "lobe", "network", "baseline", "n_voxels", "volume_mm3",
        "delta_age", "rank", *(column.name for column in SHOWN),
    )  # fmt: skip
    full = rows.reindex(columns=[*rows.columns, *(name for name in wanted if name not in rows)])
    return full.assign(hemisphere=full["hemisphere"].map(lambda side: SIDES.get(side, side)))


_BEYOND = ", and larger than the spread over the members of the ensemble"
_SIGN_HELP = (
    "stable: the same with every replacement and larger than the spread over the members of the "
    "ensemble; depends: opposite with another replacement; uncertain: within the spread over the "
    "members with one of them; negligible: below "
    f"{NEGLIGIBLE_YEARS:g} years with every replacement"
)


def _region_table(rows: pd.DataFrame, identifier: str, file_name: str) -> Table:
    """One row per region; columns without any value are left out."""
    ordered = rows.sort_values("rank", kind="stable", na_position="last")
    most = largest(ordered["delta_age"])
    digits = decimals(most)
    places = [
        Show("lobe", "Lobe", "name"),
        Show("network", "Network", "name"),
        Show("hemisphere", "Side", "name"),
    ]
    if rows["baseline"].nunique() > 1:
        places.append(Show("baseline", "Filled with", "name"))
    further = [
        Show(
            column.name,
            column.shown[0],
            "signed" if column.minimum is None else "number",
            decimals(largest(ordered[column.name])),
            column.shown[1],
        )
        for column in SHOWN
    ]
    without = "predicted age without minus with it, years"
    columns = [
        Show("name", "Region", "name"),
        Show("rank", "Rank", "rank", sorted="ascending"),
        Show("delta_age", "Contribution", "signed", digits, without, most, striped="doubtful"),
        *with_values(ordered, [Show("sign", "Sign", "sign", help=_SIGN_HELP)]),
        *with_values(ordered, further),
        Show("volume", "Volume (ml)", "number", 1),
        *with_values(ordered, without_told_sides(ordered, places)),
    ]
    ordered = ordered.assign(volume=ordered["volume_mm3"] / 1000)
    caption = f"Contributions of all {len(rows)} regions, in years ({file_name})."
    return tabulate(identifier, caption, columns, ordered, searchable=True)


def _region_sentence(rows: pd.DataFrame, known: Verdict) -> str:
    empty = int((rows["n_voxels"] == 0).sum())
    parts = [f"{len(rows)} regions" + (f", {empty} of them empty in this scan." if empty else ".")]
    if known.strongest is None:
        return parts[0]
    fill = baseline_title(known.baselines[0])
    if len(known.baselines) < 2:
        parts.append(f"Strongest with {fill}: {_change(rows, known.strongest)}")
    elif known.strongest == known.strongest_stable:
        parts.append(f"Strongest with {fill}, its sign stable: {_change(rows, known.strongest)}")
    elif known.strongest_stable is None:
        parts.append("No strongest region is named: no sign is stable.")
    else:
        parts.append(
            "The region with the largest contribution is not named: its sign is not stable. "
            f"Strongest with {fill} among those whose sign is: "
            f"{_change(rows, known.strongest_stable)}"
        )
    return " ".join(parts)


def _change(rows: pd.DataFrame, label: int) -> str:
    """What hiding a region does, after its name."""
    region = rows[rows["index"] == label].iloc[0]
    change = float(region["delta_age"])
    effect = "older" if change < 0 else "younger"
    return (
        f"{region['name']}; without it the predicted age changes by {_years(change)} years, so it "
        f"made this brain look {effect}."
    )


def _region_notes(rows: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    most = largest(rows["delta_age"])
    if most is not None and most < NEGLIGIBLE_YEARS:
        notes.append(
            f"No region changes the predicted age by more than {_years(most).lstrip('+')} years: "
            "this model hardly uses single regions of this scan, and the order means little."
        )
    if rows["nosa_importance"].isna().all():
        notes.append("NOSA importance is n/a: its definition needs the chronological age.")
    if rows["z_null"].isna().all():
        notes.append(
            "No size-matched null was computed: large regions tend to have large contributions, "
            "so compare the columns per ml and size-adjusted as well."
        )
    return tuple(notes)


def _years(value: object) -> str:
    """Signed change of age with as many decimals as it needs."""
    return number(value, decimals(as_float(value)), signed=True)
