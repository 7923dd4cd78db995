"""What images of the training people are like, fitted; and how far left-out people are from it.

The use of it is in :mod:`bidsapp_brainage.model.plausibility.reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.intensity import background_value
from bidsapp_brainage.model.plausibility.features import (
    ENCODER,
    INPUT,
    TISSUE,
    encoder_columns,
    encoder_features,
    input_features,
    tissue_features,
    tissue_fractions,
)
from bidsapp_brainage.model.plausibility.reference import (
    REST,
    age_powers,
    distance,
    encoder_axes,
)
from bidsapp_brainage.model.specs import EncoderAxes, Reference, ReferenceFeature
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.stats.folds import assign_folds
from bidsapp_brainage.stats.intervals import conformal_quantile
from bidsapp_brainage.training.crossval import SCANNER
from bidsapp_brainage.training.data.cohort import SIMULATED, Cohort, load_volume

Floats = NDArray[np.float64]
Parts = Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]

MIN_PEOPLE = 20  # fewer do not show how features vary
BEYOND = 0.025  # of left-out people lie beyond the limit
_AXES = 6  # of the encoder's features
_PEOPLE_PER_AXIS = 10
_TENTHS = 10


def feature_table(
    card: ModelCard, cohort: Cohort, scanner: str, *, device: str = "cpu"
) -> pd.DataFrame:
    """What the images of a cohort are compared by: one row per scan that is not simulated.

    Amounts of tissue come from the ``*_volumes.tsv`` beside an image, where there is one.

    Returns
    -------
    DataFrame
        ``participant_id scanner image``, then ``input_...``, ``tissue_...`` and ``encoder_...``.
    """
    import torch

    members = load_members(card, device)
    rows = []
    for person, path in zip(cohort.people, cohort.paths, strict=True):
        if SIMULATED in path.name:
            continue
        volume = load_volume(path, card.input, prepared=cohort.prepared)
        batch = torch.from_numpy(np.ascontiguousarray(volume))[None, None].to(device)
        rows.append(
            {
                "participant_id": person,
                SCANNER: scanner,
                "image": path.name,
                **input_features(volume, background_value(card.input, volume)),
                **tissue_features(tissue_beside(path) or {}),
                **encoder_columns(encoder_features(members, batch)),
            }
        )
    return pd.DataFrame(rows)


def tissue_beside(image: Path) -> dict[str, float] | None:
    """Fractions of tissue from the table of volumes of the same scan; None without one."""
    scan = "_".join(part for part in image.name.split("_") if part[:4] in ("sub-", "ses-", "run-"))
    tables = sorted(image.parent.glob(f"{scan}_*volumes.tsv"))
    return tissue_fractions(read_tsv(tables[0])) if tables else None


def fit_reference(people: pd.DataFrame, source: str) -> tuple[Reference, Floats]:
    """``reference`` of a card, and the distance of everybody from the others.

    Parameters
    ----------
    people : DataFrame
        A row per person: ``participant_id scanner predicted_age`` (from networks that had not
        seen them) and the columns of :func:`feature_table`.
    source : str
        Who they are.

    Returns
    -------
    dict
        Its limit leaves ``BEYOND`` of left-out people outside.
    ndarray, shape (n,)
        Distance of each person from people of other scanners (a scanner with most of the people
        is left out by tenths), over that limit.

    Raises
    ------
    DataError
        There are too few people, or no features.
    """
    if len(people) < MIN_PEOPLE:
        raise DataError(f"{len(people)} people with features; a reference needs {MIN_PEOPLE}.")
    whole = _fitted(people)
    if not whole["features"]:
        raise DataError(f"The features lack columns {INPUT}..., {TISSUE}... and {ENCODER}...")
    left_out = np.zeros(len(people))
    for fitted, tested in left_out_parts(people, (len(people) + 1) // 2):
        part = _fitted(people.iloc[fitted])
        left_out[tested] = distances(people.iloc[tested], part)
    limit = min(conformal_quantile(left_out, BEYOND), float(left_out.max()))
    reference: Reference = {**whole, "threshold": _short(limit)}
    return {**reference, "n": len(people), "source": source}, left_out / limit


def distances(people: pd.DataFrame, reference: Reference) -> Floats:
    """Distance of every row (as in :func:`fit_reference`) from a reference, over its limit."""
    raw = _encoder_names(people)
    found = np.full(len(people), np.nan)
    for place, row in enumerate(people.to_dict("records")):
        features = {str(name): float(row[name]) for name in _plain_names(people)}
        encoder = np.array([float(row[name]) for name in raw])
        far = distance(features, encoder, float(row["predicted_age"]), reference)
        found[place] = np.nan if far is None else far.value
    return found


def left_out_parts(people: pd.DataFrame, least: int) -> Parts:
    """People to fit on and people to try: without the scanner of those that are tried.

    Where fewer than `least` people would remain (with one scanner only, always) the scanner is
    left out by tenths of its people instead.
    """
    scanners = people[SCANNER].to_numpy()
    names, ages = people["participant_id"].tolist(), people["predicted_age"].to_numpy(dtype=float)
    for scanner in pd.unique(people[SCANNER]):
        own = scanners == scanner
        if (~own).sum() >= least:
            yield np.flatnonzero(~own), np.flatnonzero(own)
            continue
        chosen = np.flatnonzero(own)
        part = assign_folds([names[i] for i in chosen], ages[chosen], min(_TENTHS, len(chosen)), 0)
        for index in np.unique(part):
            tested = chosen[part == index]
            yield np.setdiff1d(np.arange(len(people)), tested), tested


def ledoit_wolf(values: Floats) -> Floats:
    """Covariance (k, k) of centred values (n, k), shrunk towards a multiple of the identity.

    The amount of shrinkage is that of Ledoit and Wolf 2004 (Journal of Multivariate Analysis
    88:365): as much as the sample covariance is uncertain.
    """
    n, k = values.shape
    sample = values.T @ values / n
    mean = np.trace(sample) / k
    away = float(((sample - mean * np.eye(k)) ** 2).sum())
    squares = values**2
    noise = float(((squares.T @ squares) / n - sample**2).sum()) / n
    share = 1.0 if away == 0 else min(1.0, noise / away)
    return np.asarray((1 - share) * sample + share * mean * np.eye(k))


def _fitted(people: pd.DataFrame) -> Reference:
    """A reference whose limit is 1."""
    ages = people["predicted_age"].to_numpy(dtype=float)
    limits = [_short(ages.min()), _short(ages.max())]
    columns = {name: people[name].to_numpy(dtype=float) for name in _plain_names(people)}
    axes = _axes(people[_encoder_names(people)].to_numpy(dtype=float))
    if axes is not None:
        raw = people[_encoder_names(people)].to_numpy(dtype=float)
        along = pd.DataFrame([encoder_axes(row, axes) for row in raw])
        columns |= {str(name): along[name].to_numpy() for name in along}
    features: list[ReferenceFeature] = []
    residuals = []
    powers = age_powers(ages)
    for name, values in columns.items():
        if not np.isfinite(values).all() or values.std() < 1e-9:
            continue
        course = np.linalg.lstsq(powers, values, rcond=None)[0]
        left = values - powers @ course
        sd = max(float(left.std(ddof=3)), 1e-9)
        features.append({"name": name, "by_age": [_short(x) for x in course], "sd": _short(sd)})
        residuals.append(left / sd)
    covariance = ledoit_wolf(np.array(residuals).T) if residuals else np.zeros((0, 0))
    reference: Reference = {
        "features": features,
        "covariance": [[_short(x) for x in row] for row in covariance],
        "age_limits": limits,
        "threshold": 1.0,
    }
    return reference if axes is None else {**reference, "encoder": axes}


def _axes(values: Floats) -> EncoderAxes | None:
    """Principal axes of features (n, k) that vary; None without features."""
    n, k = values.shape
    if k == 0 or not np.isfinite(values).all():
        return None
    spread = values.std(axis=0)
    sd = np.where(spread > 1e-9, spread, 1.0)
    center = values.mean(axis=0)
    _, _, directions = np.linalg.svd((values - center) / sd, full_matrices=False)
    kept = directions[: max(1, min(_AXES, n // _PEOPLE_PER_AXIS, k - 1))]
    return {
        "center": [_short(x) for x in center],
        "sd": [_short(x) for x in sd],
        "components": [[_short(x) for x in row] for row in kept],
    }


def _plain_names(people: pd.DataFrame) -> list[str]:
    return [str(name) for name in people.columns if str(name).startswith((INPUT, TISSUE))]


def _encoder_names(people: pd.DataFrame) -> list[str]:
    names = [str(name) for name in people.columns if str(name).startswith(ENCODER)]
    return [name for name in names if name != REST]


def _short(value: float) -> float:
    """Six digits: a card is read by people, too."""
    return float(f"{value:.6g}")
