"""How much two scans of a person differ without any change, as the group level measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from bidsapp_brainage.bids.names import atlas_entities, output_path, parse_name
from bidsapp_brainage.catalogue.levels import REGION
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.reports.html import Cell, as_float, is_missing, number
from bidsapp_brainage.stats.agreement.repeatability import MIN_REPEATED

_CHANGE = "smallest_detectable_change"
_READINGS: Mapping[str, Cell] = MappingProxyType(
    {
        "beyond": Cell("more than error", level="warn"),
        "within": Cell("within error", level="ok"),
        "unknown": Cell("not known", value=""),
    }
)


@dataclass(frozen=True)
class Detectable:
    """Smallest detectable changes of one model (years); empty where nobody measured them.

    Attributes
    ----------
    values : mapping of str to float
        By measure: ``predicted_age``, ``gap``.
    people : int
        On how many people they rest.
    years : float or None
        Mean time between their first and last scan.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    people: int = 0
    years: float | None = None

    @property
    def sentence(self) -> str:
        """Where the values come from, or why there are none."""
        if not self.values:
            return (
                "How much two scans of the same person differ when nothing changed is not known "
                "for this model: neither its card nor the tables of the group in this folder tell, "
                "so no change below can be told from error of measurement."
            )
        apart = f", on average {number(self.years)} years apart" if self.years is not None else ""
        return (
            "The smallest detectable change is what two scans of the same person stay below in 19 "
            "of 20 pairs when nothing changed. It was measured on repeated scans of "
            f"{self.people} people of this folder{apart}; whatever truly changed differently in "
            "them makes it larger."
        )

    @property
    def remedy(self) -> str:
        """What to do where it is not known."""
        if self.values:
            return ""
        return (
            f"Run the group level on a dataset with {MIN_REPEATED} people or more who were scanned "
            "twice, best within a few weeks, then write the pages again with --reports-only."
        )


def reading_cell(reading: object) -> Cell:
    """What a change is, compared with the error of measurement."""
    return _READINGS[str(reading)]


def of_ages(output_dir: Path, model: str) -> Detectable:
    """Smallest detectable changes of predicted age and gap from the tables of the group."""
    rows = _rows(output_path(output_dir, "reliability", model=model), "measure")
    if rows.empty:
        return Detectable()
    first = rows.iloc[0]
    values = {str(row["measure"]): as_float(row[_CHANGE]) for _, row in rows.iterrows()}
    years = first.get("years_between_mean")
    return Detectable(
        values, int(first["n_participants"]), None if is_missing(years) else as_float(years)
    )


def of_regions(output_dir: Path, model: str, table: Path) -> pd.Series:
    """Smallest detectable change of the contribution of each region, by its index.

    `table` is a table of contributions of the participant level with the same atlas. Empty where
    the group level has not measured them.
    """
    atlas = atlas_entities(parse_name(table))
    rows = _rows(output_path(output_dir, "occlusionreliability", atlas, model=model), "level")
    if rows.empty or "index" not in rows:
        return pd.Series(dtype=float)
    regions = rows[(rows["level"] == REGION.key) & rows["index"].notna()]
    return regions.set_index(regions["index"].astype(int))[_CHANGE].astype(float)


def _rows(path: Path, key: str) -> pd.DataFrame:
    """Rows of a table of reliability that have a value; none if it is missing or broken."""
    try:
        rows = read_tsv(path) if path.is_file() else pd.DataFrame()
    except DataError:
        return pd.DataFrame()
    needs = {key, _CHANGE, "n_participants"}
    return rows.dropna(subset=[_CHANGE]) if needs <= set(rows) else pd.DataFrame()
