"""What the verdict on a sample is made from: the tables of the group."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.group.sample import verdicts
from bidsapp_brainage.reports.group.accuracy_tables import NEEDED, main_prediction, part_of
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import as_float, is_missing
from bidsapp_brainage.stats.sample_verdicts import Estimate, SampleFacts, sample_verdict
from bidsapp_brainage.stats.verdicts import Verdict

#: Corrections of the gap, the one that a study would use first.
_CORRECTIONS = ("site", "applied", "file", "kfold")


def verdict_of(results: StoredResults) -> Verdict:
    """What is to be thought of the results of a model for a sample."""
    return sample_verdict(sample_facts(results))


def sample_facts(results: StoredResults) -> SampleFacts:
    """Facts about a sample as its tables tell them; what they do not tell is None."""
    scans = results.scans()
    judged = scans if "verdict" in scans else verdicts(scans, results.rows("group_qc"))
    levels = judged["verdict"].value_counts()
    metrics = results.rows("metrics", needs=NEEDED)
    overall = part_of(metrics, main_prediction(metrics), "all")
    slopes = _slopes(results.rows("gaps", needs=("correction", "subset", "age_slope")))
    notes = results.rows("notes", needs=("topic", "severity", "sentence"))
    warnings = notes[notes["severity"] == "warning"] if len(notes) else notes
    leaks = warnings["topic"] == "leakage" if len(warnings) else pd.Series(dtype=bool)
    ages = scans["chronological_age"].dropna()
    corrected = next((slopes[name] for name in _CORRECTIONS if name in slopes), None)
    return SampleFacts(
        n_scans=len(scans),
        n_people=scans["participant_id"].nunique(),
        n_unusable=int(levels.get("do not use", 0)),
        n_doubtful=int(levels.get("look closer", 0)),
        n_missing=_n_missing(results.rows("sample", needs=("subset", "n_excluded"))),
        mae=_value(overall, "mae"),
        mean_age_mae=_value(overall, "mae_mean_age"),
        gain=_estimate(overall, "mae_gain"),
        coverage=_estimate(overall, "coverage95"),
        slope=slopes.get("raw"),
        corrected_slope=corrected,
        age_range=(float(ages.min()), float(ages.max())) if len(ages) else None,
        of_ages=results.quantity.is_age,
        leakage=tuple(warnings["sentence"][leaks]) if len(warnings) else (),
        collection=tuple(warnings["sentence"][~leaks]) if len(warnings) else (),
    )


def _n_missing(sample: pd.DataFrame) -> int:
    """People of the folder without a prediction; those left out for a rating are none of them."""
    whole = sample[sample["subset"] == "all"] if len(sample) else sample
    return int(whole["n_excluded"].iloc[0]) if len(whole) else 0


def _value(metrics: pd.DataFrame, name: str) -> float | None:
    return as_float(metrics["value"][name]) if name in metrics.index else None


def _estimate(metrics: pd.DataFrame, name: str) -> Estimate | None:
    if name not in metrics.index:
        return None
    lower, upper = (_known(metrics[end][name]) for end in ("ci95_lower", "ci95_upper"))
    return Estimate(as_float(metrics["value"][name]), lower, upper)


def _slopes(gaps: pd.DataFrame) -> dict[str, Estimate]:
    """Slope of every gap on age by its correction, in the whole sample."""
    if gaps.empty:
        return {}
    rows = gaps[(gaps["subset"] == "all") & gaps["age_slope"].notna()]
    return {
        str(row["correction"]): Estimate(
            float(row["age_slope"]),
            _known(row.get("age_slope_ci95_lower")),
            _known(row.get("age_slope_ci95_upper")),
        )
        for _, row in rows.iterrows()
    }


def _known(value: object) -> float | None:
    return None if is_missing(value) else as_float(value)
