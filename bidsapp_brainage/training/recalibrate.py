"""A card with a new calibration and bias line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.io import atomic_path, write_json, write_tsv
from bidsapp_brainage.model.card_checks import check_card
from bidsapp_brainage.model.cards import ModelCard, bundled_folder
from bidsapp_brainage.model.weights.files import verify_weights
from bidsapp_brainage.training import calibration
from bidsapp_brainage.training.crossval import SCANNER
from bidsapp_brainage.training.reference import fit_reference

#: Of a calibration: what tables without their column leave as it is.
_KEPT = ("member_sd_limit", "fast_age_limit", "targets")
_GAPS = ("gap", "gap_corrected")


def recalibrate(
    card: ModelCard,
    table: pd.DataFrame,
    source: str,
    *,
    method: str,
    out: Path | None,
    features: pd.DataFrame | None = None,
) -> tuple[Path, str]:
    """Write the card with intervals and bias line fitted on ``table``.

    The table is that of :func:`bidsapp_brainage.training.calibration.calibrate`: people (named by
    ``source``) that the networks did not learn from; so is ``method``. ``features`` of the same
    people, from :func:`bidsapp_brainage.training.reference.feature_table`, become the card's
    ``reference``, and their distances go into the calibration. ``out`` is a folder for a copy of
    the card with its weights; None changes the card where it is.

    Returns
    -------
    Path
        The card; beside it ``<name>_calibration.tsv`` with raw and corrected gap and interval of
        every person, from fits without them.
    str
        What was found, for the terminal.

    Raises
    ------
    UsageError
        The card comes with the package and ``out`` is not given.
    DataError
        There are too few people, or features of some of them are missing.
    """
    if out is None and card.folder.resolve() == bundled_folder().resolve():
        raise UsageError(f"{card.name} comes with the package: give `out` for a copy of it.")
    people = calibration.check(table)
    raw = json.loads(json.dumps(card.raw))
    if features is not None:
        described = _joined(people, features)
        raw["reference"], far = fit_reference(described, source)
        people[calibration.DISTANCE] = far
    facts = calibration.calibrate(people, source, method)
    age, predicted = (people[name].to_numpy(dtype=float) for name in ("age", "predicted_age"))
    kept = {k: v for k, v in card.calibration.items() if k in _KEPT}
    raw["calibration"] = {**kept, **facts}
    raw["bias_correction"] = calibration.bias_line(age, predicted, source)
    folder = Path(out) if out else card.folder
    path = folder / f"{card.name}.json"
    check_card(raw, path)
    bounds = calibration.nested(people, str(facts["method"]).removeprefix("conformal_"))
    side_by_side = calibration.corrected(people, bounds)
    if out:
        _copy_weights(card, folder)
    write_tsv(folder / f"{card.name}_calibration.tsv", side_by_side)
    write_json(path, raw)
    return path, _text(people, bounds, side_by_side, raw)


def _joined(people: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Features of everybody, in the order of the people, with what was predicted for them."""
    keys = ["participant_id", *([SCANNER] if SCANNER in features else [])]
    first = features.drop_duplicates(keys).drop(columns="predicted_age", errors="ignore").copy()
    asked = people[["participant_id", SCANNER, "predicted_age"]]
    described = asked.merge(first, on=keys, how="left", indicator=True)
    lacking = described.loc[described["_merge"] != "both", "participant_id"]
    if len(lacking):
        raise DataError(
            f"The table of features lacks {len(lacking)} of {len(people)} people of the "
            f"predictions, first {lacking.iloc[0]}: make it of the same people and scanners with "
            "`brainage-model features`."
        )
    return described.drop(columns="_merge")


def _copy_weights(card: ModelCard, folder: Path) -> None:
    verify_weights(card)
    for weight in card.weights:
        final = folder / weight.path.name
        if final.resolve() != weight.path.resolve():
            with atomic_path(final) as temporary:
                shutil.copyfile(weight.path, temporary)


def _text(
    people: pd.DataFrame, bounds: pd.DataFrame, gaps: pd.DataFrame, raw: dict[str, Any]
) -> str:
    facts, correction = raw["calibration"], raw["bias_correction"]
    row = calibration.interval_coverage(bounds, people).table.iloc[0]
    slopes = [float(gaps[name].cov(gaps["age"]) / gaps["age"].var()) for name in _GAPS]
    scanners = facts.get("coverage_by_scanner", {})
    without = "them" if not scanners else "their scanner"
    return "\n".join(
        [
            f"{facts['method']}: half width {facts['mean_half_width']:.1f} years on average",
            f"coverage of the 95 % interval, {len(people)} people, each from a calibration "
            f"without {without}: {100 * facts['coverage95']:.1f} % "
            f"(first repeat {100 * row['ci95_lower']:.1f} to {100 * row['ci95_upper']:.1f} %)",
            *_scanner_lines(scanners),
            f"bias line: predicted = {correction['slope']:.3f} * age + "
            f"{correction['intercept']:.2f}, "
            f"residual SD {correction['residual_sd']:.2f} years",
            "mean gap, SD and slope on age, each person from a line without them:",
            *(
                f"  {name:<14}{gaps[name].mean():+.2f}  {gaps[name].std():.2f}  {slope:+.3f}"
                for name, slope in zip(_GAPS, slopes, strict=True)
            ),
        ]
    )


def _scanner_lines(scanners: dict[str, dict[str, float]]) -> list[str]:
    if not scanners:
        return []
    lines = [f"  {'scanner':<20}{'n':>5}  coverage  half width"]
    for name, own in scanners.items():
        covered, half = 100 * own["coverage95"], own["mean_half_width"]
        lines.append(f"  {name:<20}{own['n']:>5}  {covered:>6.1f} %  {half:.1f} years")
    return lines
