"""From people left out to a card with weights, intervals and what was measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.io import atomic_path, file_sha256, write_json
from bidsapp_brainage.morphometry.card import load_card
from bidsapp_brainage.morphometry.features import KINDS
from bidsapp_brainage.stats.intervals import conformal_quantile
from bidsapp_brainage.training import calibration
from bidsapp_brainage.training.calibration import DISTANCE
from bidsapp_brainage.training.crossval import SCANNER

from .fitting import BINS
from .left_out import Architecture, fit
from .people import SIZE, People, parts_of

BEYOND = 0.025  # of left-out people lie beyond the limit of the distance
PARTS = 10  # of datasets, of the calibration
_LONG_NAMES = {
    "linear": "a ridge regression on regional morphometry",
    "covariance": "a coVariance neural network on regional morphometry",
}


@dataclass(frozen=True)
class About:
    """What a card says that nobody can compute.

    Raises
    ------
    UsageError
        The name is no label.
    """

    name: str
    licence: str
    cohort: str
    parcellation: str = "desikan"
    version: str = "1.0.0"
    citation: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-zA-Z0-9]+", self.name):
            raise UsageError(f"`name` {self.name}: use letters and digits only.")


def publish(
    people: People,
    architecture: Architecture,
    predictions: pd.DataFrame,
    about: About,
    folder: Path,
    *,
    balanced: bool = True,
) -> Path:
    """Fit the model to everybody, and write weights and card; gives the card's path.

    `predictions` are those of :func:`.left_out.left_out`.
    """
    from safetensors.torch import save_file

    tensors = fit(people, architecture, balanced=balanced)
    weights = folder / f"{about.name}.safetensors"
    with atomic_path(weights) as temporary:
        save_file(tensors, temporary)
    limit = conformal_quantile(predictions[DISTANCE].to_numpy(dtype=float), BEYOND)
    card = _card(people, architecture, predictions, about, _short(limit))
    card["weights"] = [
        {"file": weights.name, "sha256": file_sha256(weights), "size": weights.stat().st_size}
    ]
    path = folder / f"{about.name}.json"
    write_json(path, card)
    load_card(path)  # what is written can be read
    return path


def _card(
    people: People,
    architecture: Architecture,
    predictions: pd.DataFrame,
    about: About,
    limit: float,
) -> dict[str, Any]:
    ages = people.ages
    source = f"people of {about.cohort} whose dataset was left out"
    table = in_parts(predictions, limit)
    age, predicted = (table[name].to_numpy(dtype=float) for name in ("age", "predicted_age"))
    kind = str(architecture["id"])
    names = {k: [f.name for f in people.features if f.kind == k] for k in KINDS}
    return {
        "schema_version": 1,
        "name": about.name,
        "version": about.version,
        "description": f"Brain age by {_LONG_NAMES[kind]} ({len(people.features)} measures of "
        f"FreeSurfer), trained on {about.cohort}.",
        "architecture": {**architecture, "text": _LONG_NAMES[kind]},
        "input": {"size": SIZE, "parcellation": about.parcellation, "features": names},
        "age_range": [_short(ages.min()), _short(ages.max())],
        "reference": {
            "threshold": limit,
            "age_limits": [_short(ages.min()), _short(ages.max())],
        },
        "calibration": calibration.calibrate(table, source),
        "bias_correction": calibration.bias_line(age, predicted, source),
        "licence": about.licence,
        "citation": list(about.citation),
        "training": {
            "cohort": about.cohort,
            "n_people": len(ages),
            "n_scanners": int(people.table[SCANNER].nunique()),
            "scanner_names": sorted(people.table[SCANNER].unique().tolist()),
            "age_mean": _short(ages.mean()),
            "age_sd": _short(ages.std(ddof=1)),
        },
        "metrics": {"leave_one_scanner_out": accuracy(table)},
    }


def in_parts(predictions: pd.DataFrame, limit: float = 1.0) -> pd.DataFrame:
    """Predictions for a calibration: distances over their limit, datasets in parts.

    Few of many small datasets would decide about the width of all if every one of them had to be
    covered; so parts of several datasets take the place of scanners.
    """
    scanners = predictions[SCANNER].astype(str)
    names = scanners + "/" + predictions["participant_id"].astype(str)
    part = [f"part {number + 1}" for number in parts_of(scanners.tolist(), PARTS)]
    table = predictions.assign(participant_id=names)
    table[SCANNER], table[DISTANCE] = part, predictions[DISTANCE] / limit
    return table


def accuracy(predictions: pd.DataFrame) -> dict[str, float]:
    """Error of raw predictions (``age predicted_age``): plain, balanced over age, bias and r."""
    age, predicted = (predictions[n].to_numpy(dtype=float) for n in ("age", "predicted_age"))
    error = np.abs(predicted - age)
    return {
        "n": len(age),
        "mae": _short(error.mean()),
        "balanced_mae": _short(over_bins(error, age).mean()),
        "bias": _short((predicted - age).mean()),
        "r": _short(np.corrcoef(age, predicted)[0, 1]) if len(age) > 2 else float("nan"),
    }


def over_bins(values: np.ndarray, ages: np.ndarray, how: str = "mean") -> pd.Series:
    """Mean (or `how`) of values over people of every occupied bin of age, by its lower end."""
    lower = np.array(BINS)[np.digitize(ages, BINS) - 1]
    return pd.Series(values).groupby(lower).agg(how)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
