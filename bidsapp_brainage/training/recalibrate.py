"""A card with a new calibration and bias line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.io import atomic_path, write_json, write_tsv
from bidsapp_brainage.model.card_checks import check_card
from bidsapp_brainage.model.cards import ModelCard, bundled_folder
from bidsapp_brainage.model.weights.files import verify_weights
from bidsapp_brainage.training import calibration

_GAPS = ("gap", "gap_corrected")


def recalibrate(
    card: ModelCard, table: pd.DataFrame, source: str, *, method: str, out: Path | None
) -> tuple[Path, str]:
    """Write the card with intervals and bias line fitted on ``table``.

    The table holds ``participant_id age predicted_age predicted_age_sd`` of people (named by
    ``source``) that the networks did not learn from; ``method`` is that of
    :func:`bidsapp_brainage.training.calibration.calibrate`. ``out`` is a folder for a copy of the
    card with its weights; None changes the card where it is.

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
    """
    if out is None and card.folder.resolve() == bundled_folder().resolve():
        raise UsageError(f"{card.name} comes with the package: give `out` for a copy of it.")
    people = calibration.check(table)
    facts = calibration.calibrate(table, source, method)
    age, predicted = (people[name].to_numpy(dtype=float) for name in ("age", "predicted_age"))
    raw = json.loads(json.dumps(card.raw))
    kept = {k: v for k, v in card.calibration.items() if k == "member_sd_limit"}
    raw["calibration"] = {**facts, **kept}
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
    return "\n".join(
        [
            f"{facts['method']}: half width {facts['mean_half_width']:.1f} years on average",
            f"coverage of the 95 % interval, {len(people)} people, each from a calibration "
            f"without them: {100 * facts['coverage95']:.1f} % "
            f"(first repeat {100 * row['ci95_lower']:.1f} to {100 * row['ci95_upper']:.1f} %)",
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
