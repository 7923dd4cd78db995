"""Tables about the people and their gaps: sample, gaps, model of the gap, repeated scans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.group.notes import Note, notes_of
from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.stats import linear
from bidsapp_brainage.stats.bias import KFoldCorrection
from bidsapp_brainage.stats.reliability import MIN_PEOPLE, reliability

SUBSETS = ("sex", "site", "group", "session_id")
BRAIN_VOLUME = "brain_volume_ml"
QUALITY = "cnr"  # contrast-to-noise ratio: falls with motion, and every scan has it
MIN_YEARS = 0.5  # between scans; less makes a change per year of noise
MIN_FOR_LINE = 5


def subsets(scans: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """All scans, then those of each sex, site, group and session, if there are several."""
    yield "all", scans
    for column in (name for name in SUBSETS if name in scans):
        if scans[column].nunique() < 2:
            continue
        prefix = column.removesuffix("_id")
        for label, part in scans.groupby(column, sort=True):
            yield f"{prefix}={str(label).removeprefix('ses-')}", part


def sample_table(scans: pd.DataFrame, n_excluded: int) -> pd.DataFrame:
    """Number, sex, ages, sites and flags of the sample and its parts (T1)."""
    table = pd.DataFrame([_sample_row(name, part) for name, part in subsets(scans)])
    table["n_excluded"] = pd.array([n_excluded, *[pd.NA] * (len(table) - 1)], dtype="Int64")
    return table


def _sample_row(subset: str, scans: pd.DataFrame) -> dict[str, Any]:
    people = scans.groupby("participant_id").agg({"chronological_age": "mean", "sex": "first"})
    age = people["chronological_age"].dropna()
    n_female, n_male = (int((people["sex"] == label).sum()) for label in ("F", "M"))
    return {
        "subset": subset,
        "n_participants": len(people),
        "n_scans": len(scans),
        "n_known_age": len(age),
        "n_female": n_female,
        "n_male": n_male,
        "n_other_sex": len(people) - n_female - n_male,
        "age_mean": age.mean(),
        "age_sd": age.std(ddof=1) if len(age) > 1 else np.nan,
        "age_min": age.min(),
        "age_max": age.max(),
        "n_sites": scans["site"].nunique() or np.nan,
        "n_sessions": scans["session_id"].nunique() or np.nan,
        "n_flagged_scans": int(scans["flagged"].sum()),
    }


def person_table(
    scans: pd.DataFrame, qc: pd.DataFrame, covariates: Sequence[str] = ()
) -> pd.DataFrame:
    """One row per participant for the linear models: means over scans.

    Parameters
    ----------
    scans : DataFrame
        Scans with ``sex``, ``site``, ``group`` and covariates of participants.tsv.
    qc : DataFrame
        Image quality by ``scan``; may be empty.
    covariates : sequence of str
        Columns of either table.

    Returns
    -------
    DataFrame
        Indexed by ``participant_id``: ``age``, ``gap``, ``sex``, ``site``, ``group``,
        ``brain_volume``, ``quality`` and covariates, as far as they are known. A person scanned
        at several sites counts for the first.
    """
    quality = qc.set_index("scan") if "scan" in qc else pd.DataFrame(index=scans["scan"])
    of_scan = {"brain_volume": BRAIN_VOLUME, "quality": QUALITY}
    of_scan |= {name: name for name in covariates if name in quality and name not in scans}
    numbers = scans[["participant_id"]].assign(age=scans["chronological_age"], gap=scans["gap"])
    for name, source in of_scan.items():
        if source in quality:
            values = pd.to_numeric(quality[source], errors="coerce")
            numbers[name] = scans["scan"].map(values[~values.index.duplicated()])
    people = numbers.groupby("participant_id").mean()
    labels = [name for name in ("sex", "site", "group", *covariates) if name in scans]
    return people.join(scans.groupby("participant_id")[labels].first())


def gaps_table(
    scans: pd.DataFrame,
    kfold: KFoldCorrection | str,
    group_column: str,
    line: BiasCorrection | None = None,
) -> tuple[pd.DataFrame, list[Note]]:
    """Mean gap and its slope on age, raw and corrected, all and by group (T3).

    Parameters
    ----------
    scans : DataFrame
        One row per scan.
    kfold : KFoldCorrection or str
        Correction fitted within the dataset, or why there is none.
    group_column : str
        Where groups come from, for the text; empty for none.
    line : BiasCorrection, optional
        A further line, given by the user.
    """
    notes = []
    corrections: list[tuple[pd.Series, dict[str, Any]]] = [
        (scans["gap"], {"correction": "raw", "source": "as predicted"})
    ]
    if scans["gap_corrected"].notna().any():
        corrections.append((scans["gap_corrected"], _applied(scans)))
    if line is not None:
        expected = line.slope * scans["chronological_age"] + line.intercept
        corrections.append((scans["predicted_age"] - expected, _of_file(line)))
    if isinstance(kfold, str):
        notes.append(Note("gaps", kfold))
    else:
        corrections.append((kfold.gap, _within(kfold, group_column)))
        notes += notes_of("gaps", (f"Correction within the dataset: {w}." for w in kfold.warnings))
    rows = []
    for gap, facts in corrections:
        values = scans.assign(value=gap)
        for name, part in subsets(values):
            if name == "all" or name.startswith(("group=", "sex=")):
                rows.append({**facts, "subset": name, **_gap_row(part)})
    return pd.DataFrame(rows).reindex(columns=_GAP_COLUMNS), notes


_GAP_COLUMNS = [
    "correction",
    "source",
    "subset",
    "n_participants",
    "mean_gap",
    "ci95_lower",
    "ci95_upper",
    "sd_gap",
    "age_slope",
    "age_slope_ci95_lower",
    "age_slope_ci95_upper",
    "line_slope",
    "line_intercept",
    "n_reference",
    "reference_age_min",
    "reference_age_max",
    "warning",
]


def _applied(scans: pd.DataFrame) -> dict[str, Any]:
    """The line that the participant level subtracted, read back from what it left."""
    expected = scans["predicted_age"] - scans["gap_corrected"]
    known = expected.notna() & scans["chronological_age"].notna()
    age, line = scans.loc[known, "chronological_age"], expected[known]
    sources = scans.get("bias_model", pd.Series(dtype=object)).dropna().unique()
    facts: dict[str, Any] = {
        "correction": "applied",
        "source": "; ".join(sorted(map(str, sources))) or "n/a",
    }
    if age.nunique() < 2:
        return facts
    slope, intercept = np.polyfit(age, line, 1)
    if np.abs(slope * age + intercept - line).max() > 0.01:
        return facts | {"warning": "not the same line for all scans"}
    return facts | {"line_slope": slope, "line_intercept": intercept}


def _of_file(line: BiasCorrection) -> dict[str, Any]:
    return {
        "correction": "file",
        "source": line.source,
        "line_slope": line.slope,
        "line_intercept": line.intercept,
    }


def _within(kfold: KFoldCorrection, group_column: str) -> dict[str, Any]:
    who = f"reference group of column {group_column}" if group_column else "all participants"
    return {
        "correction": "kfold",
        "source": f"cross-validation within this dataset, {who}",
        "line_slope": kfold.slope,
        "line_intercept": kfold.intercept,
        "n_reference": kfold.n_reference,
        "reference_age_min": kfold.age_range[0],
        "reference_age_max": kfold.age_range[1],
        "warning": "; ".join(kfold.warnings) or None,
    }


def _gap_row(scans: pd.DataFrame) -> dict[str, Any]:
    people = scans.groupby("participant_id")[["value", "chronological_age"]].mean().dropna()
    gap, age = people["value"], people["chronological_age"]
    row: dict[str, Any] = {"n_participants": len(gap), "mean_gap": gap.mean()}
    if len(gap) < 3:
        return row
    bounds = stats.t.interval(0.95, len(gap) - 1, gap.mean(), stats.sem(gap))
    row |= {"sd_gap": gap.std(ddof=1), "ci95_lower": bounds[0], "ci95_upper": bounds[1]}
    if len(gap) < MIN_FOR_LINE or age.nunique() < MIN_FOR_LINE:
        return row
    import statsmodels.api as sm

    line = sm.OLS(gap.to_numpy(), sm.add_constant(age.to_numpy())).fit(cov_type="HC3", use_t=True)
    low, high = np.asarray(line.conf_int())[1]
    return row | {
        "age_slope": line.params[1],
        "age_slope_ci95_lower": low,
        "age_slope_ci95_upper": high,
    }


def gap_model(people: pd.DataFrame, design: linear.Design | None) -> pd.DataFrame | None:
    """The raw gap explained by what is known of the people; None if that is impossible."""
    if design is None or people["gap"].notna().sum() == 0:
        return None
    table = linear.fit(people["gap"], design)
    if table.empty:
        return None
    table.insert(0, "outcome", "gap")
    return table


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


def repeats(scans: pd.DataFrame) -> Repeats | str:
    """Choose the scans of people who have several.

    The number of scans per person is the one that uses most scans. A sentence says why there are
    none.
    """
    ordered = scans.sort_values(["participant_id", "chronological_age", "scan"])
    number = ordered.groupby("participant_id").cumcount()
    counts = scans["participant_id"].value_counts()
    if counts.max() < 2:
        return "Everybody has one scan: no reliability."
    used = max(range(2, int(counts.max()) + 1), key=lambda k: k * int((counts >= k).sum()))
    n_people = int((counts >= used).sum())
    if n_people < MIN_PEOPLE:
        return (
            f"{n_people} participants have several scans: too few for reliability "
            f"(at least {MIN_PEOPLE} are needed)."
        )
    wide = ordered.assign(number=number).pivot(
        index="participant_id", columns="number", values="scan"
    )
    return Repeats(wide.iloc[:, :used].dropna())


def reliability_row(values: np.ndarray) -> dict[str, Any] | None:
    """Columns of a reliability table; None for too few people."""
    if len(values) < MIN_PEOPLE:
        return None
    found = reliability(values)
    return {
        "n_participants": found.n_people,
        "n_sessions": found.n_sessions,
        "within_sd": found.within_sd,
        "icc21": found.icc21[0],
        "icc21_ci95_lower": found.icc21[1],
        "icc21_ci95_upper": found.icc21[2],
        "icc31": found.icc31[0],
        "icc31_ci95_lower": found.icc31[1],
        "icc31_ci95_upper": found.icc31[2],
        "smallest_detectable_change": found.smallest_detectable_change,
    }


def reliability_table(scans: pd.DataFrame, chosen: Repeats, change: pd.DataFrame) -> pd.DataFrame:
    """Reliability of predicted age and gap, and their change per year (T4)."""
    by_scan = scans.drop_duplicates("scan").set_index("scan")
    rows = []
    for measure in ("predicted_age", "gap"):
        row = reliability_row(chosen.matrix(by_scan[measure]))
        if row is not None:
            rows.append({"measure": measure, **row, **_change_row(change, f"{measure}_per_year")})
    return pd.DataFrame(rows)


def _change_row(change: pd.DataFrame, column: str) -> dict[str, float]:
    years = change["age_last"] - change["age_first"]
    rates = change[column].dropna()
    names = (
        "change_per_year",
        "change_per_year_ci95_lower",
        "change_per_year_ci95_upper",
        "change_per_year_sd",
    )
    row = {"years_between_mean": years.mean(), **dict.fromkeys(names, np.nan)}
    if len(rates) < 3:
        return row
    bounds = stats.t.interval(0.95, len(rates) - 1, rates.mean(), stats.sem(rates))
    found = (rates.mean(), bounds[0], bounds[1], rates.std(ddof=1))
    return row | {name: float(value) for name, value in zip(names, found, strict=True)}


def change_table(scans: pd.DataFrame) -> pd.DataFrame:
    """First and last scan of each participant with several, and the change between them."""
    ordered = scans.sort_values(["participant_id", "chronological_age", "scan"])
    rows = [
        _person_change(str(person), part)
        for person, part in ordered.groupby("participant_id", sort=True)
        if len(part) > 1
    ]
    return pd.DataFrame(rows)


def _person_change(person: str, scans: pd.DataFrame) -> dict[str, Any]:
    first, last = scans.iloc[0], scans.iloc[-1]
    known = scans.dropna(subset=["chronological_age", "predicted_age"])
    long_enough = len(known) > 1 and np.ptp(known["chronological_age"]) >= MIN_YEARS
    slope = (
        float(np.polyfit(known["chronological_age"], known["predicted_age"], 1)[0])
        if long_enough
        else np.nan
    )
    return {
        "participant_id": person,
        "n_scans": len(scans),
        "first_scan": first["scan"],
        "last_scan": last["scan"],
        "age_first": first["chronological_age"],
        "age_last": last["chronological_age"],
        "predicted_age_change": last["predicted_age"] - first["predicted_age"],
        "gap_change": last["gap"] - first["gap"],
        "predicted_age_per_year": slope,
        "gap_per_year": slope - 1,
    }
