"""Predictions calibrated for their site on the reference people of the sample."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue import flags
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.model.bias_correction import GAP_LIMIT_SD, BiasCorrection
from bidsapp_brainage.stats.correction.site import (
    SURE_REFERENCE,
    SiteFit,
    fit_each_without,
    fit_site,
    refusal,
)

#: Columns as predicted, and those that take their place after a calibration.
CALIBRATED = {
    "predicted_age": "predicted_age_site",
    "gap": "gap_site",
    "ci95_lower": "ci95_lower_site",
    "ci95_upper": "ci95_upper_site",
    "flags": "flags_site",
    "flag_reasons": "flag_reasons_site",
}
Z_SCORE = "gap_z_site"
TOPIC = "sitecalibration"
WHOLE, UNKNOWN = "all", "unknown"
UNUSABLE = "fail"  # quality flag of scans that no line is fitted on


@dataclass(frozen=True)
class Calibration:
    """What calibrating the sites gave.

    Attributes
    ----------
    values : DataFrame
        The columns of ``CALIBRATED`` and ``Z_SCORE``, on the index of the scans; without numbers at
        sites that could not be calibrated.
    table : DataFrame
        One row per site.
    refused : mapping of str to str
        Name of a scan without such values -> why.
    notes : tuple of Note
    """

    values: pd.DataFrame
    table: pd.DataFrame
    refused: Mapping[str, str]
    notes: tuple[Note, ...]


def is_calibrated(scans: pd.DataFrame) -> bool:
    """Whether a table of scans has calibrated values."""
    return CALIBRATED["predicted_age"] in scans


def gap_name(scans: pd.DataFrame) -> str:
    """Name of the gap that is analysed."""
    return CALIBRATED["gap"] if is_calibrated(scans) else "gap"


def calibrated(scans: pd.DataFrame) -> pd.DataFrame:
    """Scans with calibrated values, where there are any, in the place of those as predicted."""
    if not is_calibrated(scans):
        return scans
    return scans.assign(**{name: scans[other] for name, other in CALIBRATED.items()})


def calibrate_sites(
    scans: pd.DataFrame, reference: pd.Series, home: BiasCorrection | None
) -> Calibration:
    """Calibrate every site on its reference people; without any known site all scans are one.

    Parameters
    ----------
    scans : DataFrame
        From :func:`bidsapp_brainage.group.sample.scan_table`.
    reference : Series of bool
        Scans of the reference people, same index. Those of unusable quality are not fitted on.
    home : BiasCorrection or None
        The model's own line; see :func:`bidsapp_brainage.stats.correction.site.fit_site`.

    Raises
    ------
    DataError
        No site can be calibrated.
    """
    parts: list[pd.DataFrame] = []
    rows: list[dict[str, object]] = []
    refused: dict[str, str] = {}
    for site, part in scans.groupby(_sites(scans), sort=True):
        people = _reference_people(part, reference)
        why = _why_not(str(site), people, home)
        row = _facts(str(site), part, people)
        if why:
            refused |= dict.fromkeys(part["scan"], why)
            rows.append({**row, "calibrated": "false", "remark": why})
            continue
        whole, each = _fits(people, home)
        parts.append(_applied(part, whole, each))
        rows.append({**row, **_worth(people, whole, each), "remark": _remark(part, people)})
    table = pd.DataFrame(rows).reindex(columns=columns_of(TOPIC))
    if not (table["calibrated"] == "true").any():
        raise DataError(_nothing_possible(table))
    values = pd.concat(parts).reindex(scans.index)
    return Calibration(values, table, refused, tuple(_notes(table)))


def _sites(scans: pd.DataFrame) -> pd.Series:
    if scans["site"].isna().all():
        return pd.Series(WHOLE, index=scans.index)
    return scans["site"].fillna(UNKNOWN).astype(str)


def _reference_people(part: pd.DataFrame, reference: pd.Series) -> pd.DataFrame:
    """One row per reference person of a site: means over the usable scans of known age."""
    numbers = ["chronological_age", "predicted_age", "ci95_lower", "ci95_upper"]
    known = part[numbers[:2]].notna().all(axis=1) & (part["qc_flag"] != UNUSABLE)
    usable = part[known & reference.loc[part.index].astype(bool)]
    return usable.groupby("participant_id")[numbers].mean()


def _ages(people: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return people["chronological_age"].to_numpy(float), people["predicted_age"].to_numpy(float)


def _why_not(site: str, people: pd.DataFrame, home: BiasCorrection | None) -> str:
    if site == UNKNOWN:
        return "the site of these people is not known"
    return refusal(*_ages(people), home)


def _fits(
    people: pd.DataFrame, home: BiasCorrection | None
) -> tuple[SiteFit, Mapping[object, SiteFit]]:
    """Fit on all reference people, and for each of them the fit on the others."""
    each = fit_each_without(*_ages(people), home)
    return fit_site(*_ages(people), home), dict(zip(people.index, each, strict=True))


def _applied(part: pd.DataFrame, whole: SiteFit, each: Mapping[object, SiteFit]) -> pd.DataFrame:
    """Calibrated values of the scans of a site."""
    return pd.DataFrame(
        [_values(row, each.get(row["participant_id"], whole)) for row in part.to_dict("records")],
        index=part.index,
    )


def _values(scan: Mapping[Hashable, Any], fit: SiteFit) -> Mapping[str, object]:
    """Calibrated values of one scan."""
    age = scan["chronological_age"]
    best = float(fit.line.best_age(scan["predicted_age"]))
    gap = float(fit.line.gap(scan["predicted_age"], age))
    low, high, z_score = best - fit.half_width, best + fit.half_width, gap / fit.gap_sd
    reasons = {
        "implausible_gap": f"calibrated gap {gap:.1f} years, {abs(z_score):.1f} SD of reference "
        "people of the site"
        if abs(z_score) > GAP_LIMIT_SD
        else "",
        "age_outside_interval": f"chronological age {age:.1f}, calibrated interval {low:.1f} to "
        f"{high:.1f}"
        if age < low or age > high
        else "",
    }
    names, texts = _flags(scan.get("flags"), scan.get("flag_reasons"), reasons)
    values = (best, gap, low, high, names, texts)
    return dict(zip(CALIBRATED.values(), values, strict=True)) | {Z_SCORE: z_score}


def _flags(names: object, texts: object, judged: Mapping[str, str]) -> tuple[str, str | None]:
    """Flags and reasons of a scan, those about the age judged by its calibrated values."""
    keys = flags.split(names)
    told = str(texts).split("; ") if isinstance(texts, str) else []
    if len(told) != len(keys):  # a table of an older version
        told = [""] * len(keys)
    known = dict(zip(keys, told, strict=True))
    found = {key: text for key, text in known.items() if key not in judged}
    found |= {key: text for key, text in judged.items() if text}
    order = [card.key for card in flags.FLAGS if card.key in found]
    return flags.join(order), "; ".join(found[key] for key in order if found[key]) or None


def _facts(site: str, part: pd.DataFrame, people: pd.DataFrame) -> dict[str, object]:
    """What is known of a site before anything is fitted."""
    age, predicted = _ages(people)
    row: dict[str, object] = {
        "site": site,
        "n_participants": part["participant_id"].nunique(),
        "n_reference": len(people),
    }
    if not len(people):
        return row
    known = people.dropna()
    inside = known["chronological_age"].between(known["ci95_lower"], known["ci95_upper"])
    return row | {
        "reference_age_min": age.min(),
        "reference_age_max": age.max(),
        "reference_age_sd": np.std(age, ddof=1) if len(age) > 1 else np.nan,
        "offset": np.mean(predicted - age),
        "mae_before": np.mean(np.abs(predicted - age)),
        "coverage95_before": inside.mean() if len(known) else np.nan,
    }


def _worth(
    people: pd.DataFrame, whole: SiteFit, each: Mapping[object, SiteFit]
) -> dict[str, object]:
    """The fit, and how good it is for reference people who were left out of it."""
    age, predicted = _ages(people)
    fits = list(each.values())
    pairs = zip(fits, predicted, strict=True)
    errors = np.array([float(fit.line.best_age(value)) for fit, value in pairs]) - age
    widths = np.array([fit.half_width for fit in fits])
    others = (age.sum() - age) / (len(age) - 1)
    return {
        "calibrated": "true",
        "line_intercept": whole.line.intercept,
        "line_slope": whole.line.slope,
        "line_slope_unshrunk": whole.line.own_slope,
        "residual_sd": whole.gap_sd,
        "half_width95": whole.half_width,
        "coverage95": np.mean(np.abs(errors) <= widths),
        "mae_after": np.mean(np.abs(errors)),
        "mae_mean_age": np.mean(np.abs(others - age)),
    }


def _remark(part: pd.DataFrame, people: pd.DataFrame) -> str | None:
    """Why the calibration of a site may not be trusted everywhere."""
    sentences = []
    if len(people) < SURE_REFERENCE:
        sentences.append(
            f"the line rests on few people ({len(people)}; below {SURE_REFERENCE} its slope is "
            "uncertain)"
        )
    ages, reference = part["chronological_age"].dropna(), people["chronological_age"]
    outside = int((~ages.between(reference.min(), reference.max())).sum())
    if outside:
        sentences.append(
            f"the line is extrapolated to people younger than {reference.min():.1f} or older than "
            f"{reference.max():.1f} years (scans: {outside})"
        )
    return "; ".join(sentences) or None


def _nothing_possible(table: pd.DataFrame) -> str:
    told = zip(table["site"], table["remark"], strict=True)
    reasons = "; ".join(f"site {site}: {remark}" for site, remark in told)
    return (
        f"`bias_correction` reference: no site can be calibrated ({reasons}). Name a column in "
        "which similar sites are put together (`site_column`), add controls, or run without this "
        "option, with the line of the model card."
    )


def _notes(table: pd.DataFrame) -> list[Note]:
    """How the numbers were made, then what to be wary of."""
    done = table[table["calibrated"] == "true"]
    notes = [
        Note(
            TOPIC,
            f"Predicted ages, gaps and intervals were calibrated on the reference people of "
            f"{len(done)} site(s): all tables and figures use the columns that end in _site, "
            "except rows that say raw, applied, file or kfold, and the contributions of regions. "
            "Every reference person has the values of a fit on the others.",
        )
    ]
    for row in table.to_dict("records"):
        if row["calibrated"] != "true":
            sentence = (
                f"Site {row['site']} is not calibrated: {row['remark']}. All calibrated results "
                f"leave its {row['n_participants']} people out; put similar sites together, or add "
                "controls."
            )
            notes.append(Note(TOPIC, sentence, "warning"))
        elif row["remark"]:
            notes.append(Note(TOPIC, f"Site {row['site']}: {row['remark']}."))
    return notes
