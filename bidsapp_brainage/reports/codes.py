"""Words for the codes of tables: measures, units, parts of a sample, terms, corrections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bidsapp_brainage.catalogue import participant
from bidsapp_brainage.catalogue.lookup import baseline_title
from bidsapp_brainage.catalogue.ratings import ARTEFACTS, EXCLUDE, STEPS
from bidsapp_brainage.reports.html import as_float, is_missing

#: What the group's tables measure, by its word in a column ``metric`` or ``measure``.
MEASURES = {
    "mae": "Mean absolute error",
    "mae_mean_age": "The same, answering the sample's mean age",
    "mae_gain": "Gain over the mean age",
    "weighted_mae": "Mean absolute error / age range",
    "rmse": "Root mean squared error",
    "r2": "R², 1 − SSE/SST",
    "pearson_r": "Pearson r",
    "mean_gap": "Mean gap",
    "bias_slope": "Slope of the gap on age",
    "sd_gap": "SD of the gap",
    "coverage95": "Coverage of the 95 % intervals",
    "mean_error": "Mean error",
    "mae_over_range": "Mean absolute error / range",
    "correlation": "Correlation",
    "error_slope": "Slope of the error on the true value",
    "mae_gain_value": "Gain over the mean",
    "mae_mean_value": "The same, answering the sample's mean",
    "balanced_accuracy": "Balanced accuracy",
    "recall": "Recall",
    "auc": "Area under the ROC curve",
    "brier": "Brier score",
    "brier_of_shares": "The same, answering the shares of the classes",
    "probability_error": "Mean probability minus share",
    "predicted_age": "Predicted age",
    "gap": "Gap",
    "spearman": "Rank correlation",
    "spearman_abs": "Rank correlation of sizes",
    "spearman_abs_per_ml": "Rank correlation of sizes per mL",
    "group_spearman_abs": "Rank correlation of the sizes of means",
    "top10_overlap": "Share of the ten strongest in common",
    "relative_sd_of_members": "SD over members / mean size",
    "split_half_spearman": "Rank correlation of two halves of the people",
    "split_half_spearman_abs": "The same of sizes",
    "individual_spearman": "Rank correlation of one person with the others",
}
_CALIBRATED = "_site"
_UNITS = {
    "1": "",
    "year": "years",
    "year/year": "years per year",
    "year/decade": "years per decade",
}
_PARTS = {
    "all": "everybody",
    "unflagged": "without flagged scans",
    "ensemble_members": "members of the ensemble",
}
_OF_PART = {"age": "age {} years", "session": "session {}", "group": "group {}"}
_TERMS = {
    "age": "age (per decade)",
    "age_squared": "age squared (decades²)",
    "brain_volume": "brain volume (per SD)",
    "quality": "image quality (per SD)",
}
_CORRECTIONS = {
    "raw": "none",
    "applied": "that of the participant level",
    "file": "line of a file",
    "kfold": "line within this dataset",
    "site": "line of the site",
    "harmonised": "sites harmonised",
}


def measure_title(code: str) -> str:
    """Words for a measure or a column of image quality; the code itself where it is unknown.

    Examples
    --------
    >>> measure_title("spearman_abs"), measure_title("gap_site"), measure_title("cnr")
    ('Rank correlation of sizes', 'Gap, calibrated', 'Contrast-to-noise ratio')
    """
    if code in MEASURES:
        return MEASURES[code]
    model, of, term = code.partition("=")
    if of and model == "gapmodel":
        return f"Gap: {term_title(term)}"
    bare = code.removesuffix(_CALIBRATED)
    if bare != code and bare in MEASURES:
        return f"{MEASURES[bare]}, calibrated"
    known = (*participant.QC, *participant.PREDICTION)
    return next((column.long_name for column in known if column.name == code), code)


def unit_title(unit: str) -> str:
    """Words for a unit; nothing for a plain number.

    Examples
    --------
    >>> unit_title("year"), unit_title("1"), unit_title("mL")
    ('years', '', 'mL')
    """
    return _UNITS.get(unit, unit)


def part_title(code: str) -> str:
    """Words for a part of a sample, or for another way to analyse it.

    Examples
    --------
    >>> part_title("unflagged"), part_title("sex=F"), part_title("age=20-29")
    ('without flagged scans', 'sex F', 'age 20–29 years')
    >>> part_title("baseline=closed"), part_title("min_rating=2")
    ('regions replaced by: nearest surroundings', 'without scans rated below 2')
    """
    kind, given, label = code.partition("=")
    if not given:
        return _PARTS.get(code, code.replace("_", " "))
    if kind == "baseline":
        return f"regions replaced by: {baseline_title(label)}"
    if kind == "min_rating":
        lowest = int(label)
        return f"without scans rated below {lowest}" if lowest > EXCLUDE else "whatever the rating"
    label = label.replace("-", "\N{EN DASH}") if kind == "age" else label
    return _OF_PART.get(kind, kind + " {}").format(label)


def term_title(code: str) -> str:
    """Words for a term of a linear model.

    Examples
    --------
    >>> term_title("age_squared"), term_title("sex_F"), term_title("handedness")
    ('age squared (decades²)', 'sex F', 'handedness')
    """
    return _TERMS.get(code, code.replace("_", " "))


def judged_title(code: str) -> str:
    """Words for what raters judged.

    Examples
    --------
    >>> judged_title("exclude"), judged_title("noise"), judged_title("mask")
    ('Exclude or not', 'Noise', 'Brain mask')
    """
    artefacts = {item.key: item.title.capitalize() for item in ARTEFACTS}
    known = {"rating": "Rating", "exclude": "Exclude or not", **dict(STEPS), **artefacts}
    return known.get(code, code)


def weights_title(code: str) -> str:
    """Words for the weights of disagreements."""
    return {"none": "all alike", "linear": "distance", "quadratic": "distance²"}.get(code, code)


def correction_title(code: str) -> str:
    """Words for a correction of the gap."""
    return _CORRECTIONS.get(code, code.replace("_", " "))


def targets_text(rows: Iterable[Mapping[Any, object]], *, besides: str = "") -> str:
    """Rows of ``*_predictions.tsv`` in a line: numbers, and the likeliest of classes.

    Parameters
    ----------
    rows : iterable of mappings
    besides : str
        A target that is told elsewhere.

    Examples
    --------
    >>> number = {"target": "bmi", "value": 24.1, "predicted": None}
    >>> other = {"target": "sex", "class": "M", "value": "0.8312", "predicted": "true"}
    >>> targets_text([number, other])
    'bmi 24.1; sex M (0.83)'
    """
    told = []
    for row in rows:
        likeliest = str(row.get("predicted")).lower()
        if row.get("target") in (None, besides) or is_missing(row.get("value")):
            continue
        value = as_float(row["value"])
        if likeliest == "true":
            told.append(f"{row['target']} {row.get('class')} ({value:.2f})")
        elif likeliest != "false":
            told.append(f"{row['target']} {value:g}")
    return "; ".join(told)
