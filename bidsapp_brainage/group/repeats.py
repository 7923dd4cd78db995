"""Repeated scans of the same people: reliability and change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.group.calibration import CALIBRATED, calibrated, is_calibrated
from bidsapp_brainage.group.notes import Findings, Note, findings
from bidsapp_brainage.group.regional.levels import Level
from bidsapp_brainage.stats.agreement import pace as ageing
from bidsapp_brainage.stats.agreement.change import MIN_YEARS
from bidsapp_brainage.stats.agreement.repeatability import MIN_REPEATED, reliability
from bidsapp_brainage.stats.intervals import MIN_FOR_INTERVAL, mean_with_interval


@dataclass(frozen=True)
class Repeats:
    """Which scans are compared: the same number for everybody, in the order of age and name."""

    scans: pd.DataFrame  # participants by number of the scan: names of scans

    @property
    def n_sessions(self) -> int:
        """Scans per participant."""
        return self.scans.shape[1]

    def matrix(self, values: pd.Series) -> np.ndarray:
        """Values by scan name as people by sessions, complete rows only."""
        table = self.scans.apply(lambda column: column.map(values)).astype(float)
        return np.asarray(table.dropna().to_numpy(dtype=np.float64))


def choose_repeats(scans: pd.DataFrame) -> tuple[Repeats | None, list[Note]]:
    """Choose the scans of people who have several; the note says why there are none.

    The number of scans per person is the one that uses most scans.
    """
    ordered = scans.sort_values(["participant_id", "chronological_age", "scan"])
    number = ordered.groupby("participant_id").cumcount()
    counts = scans["participant_id"].value_counts()
    if counts.max() < 2:
        return None, [Note("reliability", "Everybody has one scan: no reliability.")]
    used = max(range(2, int(counts.max()) + 1), key=lambda k: k * int((counts >= k).sum()))
    n_people = int((counts >= used).sum())
    if n_people < MIN_REPEATED:
        sentence = (
            f"Too few participants with several scans for reliability ({n_people}; at least "
            f"{MIN_REPEATED} are needed)."
        )
        return None, [Note("reliability", sentence)]
    wide = ordered.assign(number=number).pivot(
        index="participant_id", columns="number", values="scan"
    )
    return Repeats(wide.iloc[:, :used].dropna()), []


def _reliability_row(values: np.ndarray) -> dict[str, object] | None:
    """Columns of a reliability table; None for too few people."""
    if len(values) < MIN_REPEATED:
        return None
    agreement = reliability(values)
    row: dict[str, object] = {
        "n_participants": agreement.n_people,
        "n_sessions": agreement.n_sessions,
        "within_sd": agreement.within_sd,
    }
    for name, icc in (("icc21", agreement.icc21), ("icc31", agreement.icc31)):
        row |= dict(zip((name, f"{name}_ci95_lower", f"{name}_ci95_upper"), icc, strict=True))
    return row | {"smallest_detectable_change": agreement.smallest_detectable_change}


def reliability_and_change(scans: pd.DataFrame, repeats: Repeats | None) -> Findings:
    """Reliability of predicted age and gap, their change per year, and that of each person (T4).

    Of calibrated values, where there are any.
    """
    analysed = calibrated(scans)
    change = change_table(analysed)
    reliable = _reliability_table(analysed, repeats, change)
    if is_calibrated(scans) and not reliable.empty:
        reliable["measure"] = reliable["measure"].map(CALIBRATED)
    tables = {"change": change, "reliability": reliable}
    return Findings({key: table for key, table in tables.items() if not table.empty})


def _reliability_table(
    scans: pd.DataFrame, repeats: Repeats | None, change: pd.DataFrame
) -> pd.DataFrame:
    if repeats is None:
        return pd.DataFrame()
    by_scan = scans.drop_duplicates("scan").set_index("scan")
    rows = []
    for measure in ("predicted_age", "gap"):
        row = _reliability_row(repeats.matrix(by_scan[measure]))
        if row is not None:
            rows.append({"measure": measure, **row, **_change_row(change, f"{measure}_per_year")})
    return pd.DataFrame(rows)


def _change_row(change: pd.DataFrame, column: str) -> dict[str, float]:
    years = change["age_last"] - change["age_first"]
    rate = mean_with_interval(change[column])
    enough = rate.n >= MIN_FOR_INTERVAL
    return {
        "years_between_mean": years.mean(),
        "change_per_year": rate.mean if enough else np.nan,
        "change_per_year_ci95_lower": rate.lower,
        "change_per_year_ci95_upper": rate.upper,
        "change_per_year_sd": rate.sd if enough else np.nan,
    }


def change_table(scans: pd.DataFrame) -> pd.DataFrame:
    """First and last scan of each participant with several, and the change between them."""
    ordered = scans.sort_values(["participant_id", "chronological_age", "scan"])
    rows = [
        _person_change(str(person), part)
        for person, part in ordered.groupby("participant_id", sort=True)
        if len(part) > 1
    ]
    return pd.DataFrame(rows)


def _person_change(person: str, scans: pd.DataFrame) -> dict[str, object]:
    first, last = scans.iloc[0], scans.iloc[-1]
    known = scans.dropna(subset=["chronological_age", "predicted_age"])
    long_enough = len(known) > 1 and np.ptp(known["chronological_age"]) >= MIN_YEARS
    per_year = {
        name: float(np.polyfit(known["chronological_age"], known[name], 1)[0])
        if long_enough
        else np.nan
        for name in ("predicted_age", "gap")
    }
    return {
        "participant_id": person,
        "n_scans": len(scans),
        "first_scan": first["scan"],
        "last_scan": last["scan"],
        "age_first": first["chronological_age"],
        "age_last": last["chronological_age"],
        "predicted_age_change": last["predicted_age"] - first["predicted_age"],
        "gap_change": last["gap"] - first["gap"],
        "predicted_age_per_year": per_year["predicted_age"],
        "gap_per_year": per_year["gap"],
    }


def pace(scans: pd.DataFrame, reference: str) -> Findings:
    """Change of the predicted age per year by a mixed model, and what such noise allows to find.

    `reference` is the group that others are compared with, empty for the most frequent one.
    """
    fitted = ageing.fit(calibrated(scans), reference=reference)
    if fitted is None:
        return Findings({})
    unknown = (
        "Most people have two scans, which do not tell paces from noise: the numbers of people in "
        "pacepower are the least."
    )
    return Findings(
        {"pace": fitted.table, "pacepower": ageing.power(fitted.residual_sd, fitted.spread)},
        [Note("pace", unknown)] if np.isnan(fitted.spread) else [],
    )


def contribution_reliability(levels: Sequence[Level], repeats: Repeats | None) -> Findings:
    """Reliability of the contribution of each region and group."""
    if repeats is None:
        return Findings({})
    rows = []
    for level in levels:
        by_scan = level.by_scan
        for place, column in enumerate(level.matrix):
            row = _reliability_row(repeats.matrix(by_scan[column]))
            if row is not None:
                labels = {str(key): value for key, value in level.labels.iloc[place].items()}
                rows.append({"level": level.name, "index": None, **labels, **row})
    return findings("occlusionreliability", pd.DataFrame(rows))
