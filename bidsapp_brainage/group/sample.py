"""The people of a sample: one row per scan or participant, who is left out, who is unusual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue import flags
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.group.calibration import calibrated, gap_name
from bidsapp_brainage.group.collect import AtlasResult
from bidsapp_brainage.group.people import ParticipantColumns
from bidsapp_brainage.stats.verdicts import scan_verdict

SUBSETS = ("sex", "site", "group", "session_id")
BRAIN_VOLUME = "brain_volume_ml"
QUALITY = "cnr"  # contrast-to-noise ratio: falls with motion, and every scan has it
MIN_SCANS = 8  # fewer do not tell what is usual
THRESHOLD = 3.5  # Iglewicz & Hoaglin 1993
UNFLAGGED = frozenset({"none", "pass", "ok", "accept"})
QC_METRICS = (
    "cnr",
    "snr",
    "efc",
    "fber",
    "wm2max",
    "inhomogeneity",
    "brain_volume_ml",
    "mask_overlap_dice",
    "template_correlation",
    "registration_mi",
    "fov_clipped_fraction",
)


def scan_table(
    brainage: pd.DataFrame, participants: pd.DataFrame, columns: ParticipantColumns
) -> pd.DataFrame:
    """One row per scan: numbers as floats, what is known of the person, ``flagged``.

    `participants` is that of :func:`bidsapp_brainage.group.analyses.summarise`.
    """
    scans = with_numbers(brainage)
    labels = ["sex", "site", *(["group"] if columns.group else [])]
    for name in [*labels, *(name for name in columns.covariates if name in participants)]:
        known: dict[str, object] = {}
        if name in participants:
            known = dict(participants.set_index("participant_id")[name])
        values = scans["participant_id"].map(known)
        scans[name] = values.astype(object) if name in labels else values
    return scans


def with_numbers(brainage: pd.DataFrame) -> pd.DataFrame:
    """Predictions with all numbers as floats, their flags, and whether one is set.

    ``flagged`` disregards flags that need the true age: without those whose prediction is wrong
    every model would look better than it is.
    """
    scans = brainage.copy()
    numbers = ["chronological_age", "predicted_age", "gap", "gap_corrected"]
    for name in [*numbers, "ci95_lower", "ci95_upper"]:
        values = scans[name] if name in scans else pd.Series(np.nan, index=scans.index)
        scans[name] = pd.to_numeric(values, errors="coerce").astype(float)
    for name in ("qc_flag", "ood_flag"):
        scans[name] = scans[name].fillna("none") if name in scans else "none"
    scans["flags"] = scans["flags"].fillna("none") if "flags" in scans else scans["ood_flag"]
    scans["flagged"] = ~(scans["qc_flag"].isin(UNFLAGGED) & scans["ood_flag"].isin(UNFLAGGED))
    return scans


def doubted(scans: pd.DataFrame) -> pd.Series:
    """Whether a scan has any flag at all, also one that needs the true age."""
    return scans["flagged"] | scans["flags"].map(lambda text: bool(flags.split(text)))


def verdicts(
    scans: pd.DataFrame,
    qc: pd.DataFrame,
    ratings: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
) -> pd.DataFrame:
    """Columns ``verdict`` and ``verdict_reasons``, on the index of the scans.

    Parameters
    ----------
    scans : DataFrame
        One row per scan; calibrated values count where there are any.
    qc : DataFrame
        Their tables of quality, by ``scan``; scans may be missing.
    ratings : mapping of str to sequence of mappings
        By scan, what every rater said; see
        :func:`bidsapp_brainage.stats.verdicts.scan_verdict`.
    """
    checks = {str(row["scan"]): row for row in _records(qc)}
    told = ratings or {}
    found = [
        scan_verdict(row, checks.get(name := str(row["scan"])), told.get(name, ()))
        for row in _records(calibrated(scans))
    ]
    return pd.DataFrame(
        {
            "verdict": [verdict.level for verdict in found],
            "verdict_reasons": [verdict.summary or None for verdict in found],
        },
        index=scans.index,
        dtype=object,
    )


def _records(rows: pd.DataFrame) -> list[dict[str, object]]:
    names = [str(name) for name in rows.columns]
    return [dict(zip(names, row, strict=True)) for row in rows.itertuples(index=False, name=None)]


def in_reference_group(scans: pd.DataFrame, columns: ParticipantColumns) -> pd.Series:
    """Scans that a correction may be fitted on: the reference group, or everybody."""
    if not columns.group or scans["group"].dropna().empty:
        return pd.Series(True, index=scans.index)
    wanted = columns.reference or scans["group"].value_counts().sort_index().idxmax()
    return scans["group"] == wanted


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


def _sample_row(subset: str, scans: pd.DataFrame) -> dict[str, object]:
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

    Covariates are columns of the scans or of image quality (by ``scan``; may be empty). The table
    is indexed by ``participant_id``: ``age``, ``gap``, ``sex``, ``site``, ``group``,
    ``brain_volume``, ``quality`` and covariates, as far as they are known. A person scanned at
    several sites counts for the first.
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


def outlier_table(scans: pd.DataFrame, qc: pd.DataFrame) -> pd.DataFrame:
    """Scans with an unusual gap or quality metric, and the reason of their quality decision."""
    tables = [robust_outliers(scans, [gap_name(scans)])]
    if not qc.empty:
        tables.append(robust_outliers(qc, QC_METRICS))
    table = pd.concat(tables, ignore_index=True)
    reasons: dict[str, str] = {}
    if "decision_reason" in qc:
        reasons = dict(zip(qc["scan"], qc["decision_reason"], strict=True))
    return table.assign(reason=table["scan"].map(reasons))


def robust_outliers(
    table: pd.DataFrame, metrics: Sequence[str], *, threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Scans whose metric differs from the median by more than ``threshold`` robust SDs.

    A robust SD is the median absolute deviation scaled to the SD of a normal distribution. Columns
    that are absent are passed over, as is a metric with fewer than eight values or one that does
    not vary. Strongest first: ``scan``, ``metric``, ``value``, ``median``, ``robust_z``.
    """
    rows = []
    for name in metrics:
        absent = pd.Series(dtype=float)
        values = pd.to_numeric(table.get(name, absent), errors="coerce").astype(float)
        known = values[np.isfinite(values)]
        scale = stats.median_abs_deviation(known, scale="normal") if len(known) else 0.0
        if len(known) < MIN_SCANS or scale == 0:
            continue
        score = (known - known.median()) / scale
        far = score[score.abs() > threshold]
        told = zip(table.loc[far.index, "scan"], known[far.index], far, strict=True)
        rows += [(scan, name, value, known.median(), z) for scan, value, z in told]
    outliers = pd.DataFrame(rows, columns=["scan", "metric", "value", "median", "robust_z"])
    order = outliers["robust_z"].abs().sort_values(ascending=False, kind="stable").index
    return outliers.loc[order].reset_index(drop=True)


def exclusion_table(
    scans: pd.DataFrame,
    missing: Sequence[str],
    atlases: Sequence[AtlasResult],
    refused: Mapping[str, str] | None = None,
    rated_low: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """``scan``, ``left_out_of``, ``reason``: participants or scans that something lacks.

    `refused` says of scans why they have no calibrated values, `rated_low` why they were left out
    for their rating.
    """
    rows = [
        (name, "everything", "no prediction; see the participant's report and log")
        for name in missing
    ]
    rows += [(scan, "everything", why) for scan, why in (rated_low or {}).items()]
    no_age = scans.loc[scans["chronological_age"].isna(), "scan"]
    rows += [(scan, "accuracy and gap", "chronological age unknown") for scan in no_age]
    rows += [(scan, "calibrated results", why) for scan, why in (refused or {}).items()]
    for atlas in atlases:
        without = sorted(set(scans["scan"]) - set(atlas.table["scan"].unique()))
        place = f"contributions ({atlas.title})"
        rows += [(scan, place, "no region table of this atlas") for scan in without]
    return pd.DataFrame(rows, columns=columns_of("exclusions"))
