"""Correction of predicted ages for regression to the mean: a line, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import io
from bidsapp_brainage.errors import UsageError

if TYPE_CHECKING:
    from bidsapp_brainage.model.cards import AgeCard

#: Of the reference people of that age; a larger corrected gap is implausible.
GAP_LIMIT_SD = 3.0


@dataclass(frozen=True)
class BiasCorrection:
    """A regression line ``predicted = slope * age + intercept`` fitted on people not trained on.

    Attributes
    ----------
    slope : float
        Years of predicted age per year of age; below 1 where the model regresses to the mean.
    intercept : float
        Years.
    source : str
        Whose predictions the line was fitted on.
    residual_sd : float or None
        SD of the predictions about the line (years); None if unknown.
    """

    slope: float
    intercept: float
    source: str
    residual_sd: float | None = None


def resolve_bias_correction(spec: str, card: AgeCard) -> BiasCorrection | None:
    """Turn ``none``, ``model`` or ``file:PATH`` into a correction, or None.

    The file is JSON with ``slope`` and ``intercept`` (years), and optionally ``residual_sd``.

    Raises
    ------
    UsageError
        The word is unknown, or the file cannot be used.
    """
    if spec == "none":
        return None
    if spec == "model":
        return card.bias_correction
    if not spec.startswith("file:"):
        raise UsageError(
            f"`bias_correction` '{spec}' is unknown. Use none, model or file:PATH (a JSON file)."
        )
    return read_bias_correction(Path(spec.removeprefix("file:")))


def read_bias_correction(path: Path) -> BiasCorrection:
    """Read a correction from JSON with ``slope`` and ``intercept`` (years).

    Raises
    ------
    UsageError
        If the file cannot be used.
    """
    try:
        return parse_bias_correction(io.parse_json(path), default_source=path.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"`bias_correction` file {path} cannot be used ({type(error).__name__}: {error}). "
            'It must be JSON such as {"slope": 0.8, "intercept": 9.1}.'
        ) from error


def parse_bias_correction(raw: Mapping[str, Any], default_source: str = "") -> BiasCorrection:
    """Make a correction of its JSON object, as in a card or a file.

    Raises
    ------
    KeyError, TypeError, ValueError
        A number is missing, or is none.
    """
    residual = raw.get("residual_sd")
    correction = BiasCorrection(
        slope=float(raw["slope"]),
        intercept=float(raw["intercept"]),
        source=str(raw.get("source", default_source)),
        residual_sd=None if residual is None else float(residual),
    )
    if not all(map(math.isfinite, (correction.slope, correction.intercept))):
        raise ValueError("slope and intercept must be finite")
    return correction


def correct_gap(
    predicted: float, chronological: float, bias_correction: BiasCorrection | None
) -> float | None:
    """Gap freed from the dependence on age: ``predicted - (slope * age + intercept)``.

    De Lange & Cole 2020 (NeuroImage: Clinical 26:102229). Coefficients come from other people
    than those corrected; accuracy must never be computed from corrected values.
    """
    if bias_correction is None:
        return None
    return predicted - (bias_correction.slope * chronological + bias_correction.intercept)
