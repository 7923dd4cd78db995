"""What the derivatives of a group add up to: figures of the sample, no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bidsapp_brainage.group.collect import AtlasResult, ModelResult
from bidsapp_brainage.stats import accuracy, outliers, regions
from bidsapp_brainage.stats.accuracy import Accuracy

N_BOOT = 2000
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


@dataclass(frozen=True)
class AtlasSummary:
    """Mean contributions with one atlas and what to know about them."""

    result: AtlasResult
    table: pd.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """One model's results for a sample.

    Attributes
    ----------
    model : ModelResult
    scans : DataFrame
        One row per scan: the predictions with ``sex``, ``site`` and ``flagged``.
    accuracy : Accuracy
        Long table of metrics; subsets ``all``, ``unflagged``, by sex, site and decade.
    atlases : tuple of AtlasSummary
    outliers : DataFrame
        Scans with an unusual quality metric or gap.
    exclusions : DataFrame
        ``scan``, ``left_out_of``, ``reason``.
    """

    model: ModelResult
    scans: pd.DataFrame
    accuracy: Accuracy
    atlases: tuple[AtlasSummary, ...]
    outliers: pd.DataFrame
    exclusions: pd.DataFrame


def summarise(model: ModelResult, participants: pd.DataFrame, *, seed: int) -> Summary:
    """Summarise one model's results.

    Parameters
    ----------
    model : ModelResult
    participants : DataFrame
        ``participant_id`` and, where known, ``sex`` and ``site``; may be empty.
    seed : int
        Seed of the bootstrap.
    """
    scans = _scans(model.brainage, participants)
    return Summary(
        model=model,
        scans=scans,
        accuracy=_accuracy(scans, seed),
        atlases=tuple(_atlas(result) for result in model.atlases),
        outliers=_outliers(scans, model.qc),
        exclusions=_exclusions(scans, model),
    )


def _scans(brainage: pd.DataFrame, participants: pd.DataFrame) -> pd.DataFrame:
    scans = brainage.copy()
    numbers = ["chronological_age", "predicted_age", "gap", "gap_corrected"]
    for name in [*numbers, "ci95_lower", "ci95_upper"]:
        values = scans[name] if name in scans else pd.Series(np.nan, index=scans.index)
        scans[name] = pd.to_numeric(values, errors="coerce").astype(float)
    for name in ("qc_flag", "ood_flag"):
        scans[name] = scans[name].fillna("none") if name in scans else "none"
    for name in ("sex", "site"):
        known = participants.set_index("participant_id")[name] if name in participants else {}
        scans[name] = scans["participant_id"].map(dict(known)).astype(object)
    scans["flagged"] = ~(scans["qc_flag"].isin(UNFLAGGED) & scans["ood_flag"].isin(UNFLAGGED))
    return scans


def _accuracy(scans: pd.DataFrame, seed: int) -> Accuracy:
    parts = [_metrics(scans, seed, "all"), _coverage(scans, "all")]
    if scans["flagged"].any() and not scans["flagged"].all():
        rest = scans[~scans["flagged"]]
        parts += [_metrics(rest, seed, "unflagged"), _coverage(rest, "unflagged")]
    decade = (scans["chronological_age"] // 10 * 10).map(_decade_name, na_action="ignore")
    for prefix, labels in (("sex", scans["sex"]), ("site", scans["site"]), ("age", decade)):
        parts.append(accuracy.by_subset(scans, labels, prefix=prefix, n_boot=N_BOOT, seed=seed))
    corrected = scans["gap_corrected"]
    if corrected.notna().any():
        parts.append(
            accuracy.corrected_gap(
                scans["chronological_age"].to_numpy(),
                corrected.to_numpy(),
                scans["participant_id"].to_numpy(),
                n_boot=N_BOOT,
                seed=seed,
            )
        )
    return accuracy.join(parts)


def _decade_name(start: float) -> str:
    return f"{start:.0f}-{start + 9:.0f}"


def _metrics(scans: pd.DataFrame, seed: int, subset: str) -> Accuracy:
    return accuracy.metrics(
        scans["chronological_age"].to_numpy(),
        scans["predicted_age"].to_numpy(),
        scans["participant_id"].to_numpy(),
        n_boot=N_BOOT,
        seed=seed,
        subset=subset,
    )


def _coverage(scans: pd.DataFrame, subset: str) -> Accuracy:
    return accuracy.coverage(
        scans["chronological_age"].to_numpy(),
        scans["ci95_lower"].to_numpy(),
        scans["ci95_upper"].to_numpy(),
        scans["participant_id"].to_numpy(),
        subset=subset,
    )


def _atlas(result: AtlasResult) -> AtlasSummary:
    table = regions.contribution_table(result.table)
    return AtlasSummary(result, table, tuple(regions.notes(table)))


def _outliers(scans: pd.DataFrame, qc: pd.DataFrame) -> pd.DataFrame:
    found = [outliers.robust_outliers(scans, ["gap"])]
    if not qc.empty:
        found.append(outliers.robust_outliers(qc, QC_METRICS))
    return pd.concat(found, ignore_index=True)


def _exclusions(scans: pd.DataFrame, model: ModelResult) -> pd.DataFrame:
    rows = [
        (name, "everything", "no prediction; see the participant's report and log")
        for name in model.missing
    ]
    no_age = scans.loc[scans["chronological_age"].isna(), "scan"]
    rows += [(scan, "accuracy and gap", "chronological age unknown") for scan in no_age]
    for atlas in model.atlases:
        without = sorted(set(scans["scan"]) - set(atlas.table["scan"]))
        place = f"contributions ({atlas.title})"
        rows += [(scan, place, "no region table of this atlas") for scan in without]
    return pd.DataFrame(rows, columns=["scan", "left_out_of", "reason"])
