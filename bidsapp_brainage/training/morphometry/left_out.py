"""Fit a model of morphometry, and predict everybody by a model that left their dataset out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from bidsapp_brainage.model.plausibility.reference import (
    age_powers,
    root_mean_mahalanobis,
)
from bidsapp_brainage.morphometry.features import Floats, standardise
from bidsapp_brainage.morphometry.models import AgeModel, CovarianceModel, build
from bidsapp_brainage.training.calibration import DISTANCE
from bidsapp_brainage.training.crossval import SCANNER
from bidsapp_brainage.training.reference import ledoit_wolf

from . import fitting
from .people import People, parts_of

Tensors = dict[str, torch.Tensor]
Architecture = Mapping[str, object]

LINEAR: Architecture = {"id": "linear", "parameters": {}}
SD = "predicted_age_sd"


def covariance_architecture(members: int) -> Architecture:
    """Architecture of so many coVariance networks as a card has it."""
    widths, taps = list(fitting.WIDTHS), fitting.TAPS
    return {"id": "covariance", "parameters": {"widths": widths, "taps": taps, "members": members}}


def fit(people: People, architecture: Architecture, *, balanced: bool = True) -> Tensors:
    """Weights of a model that learned from these people.

    With `balanced` every occupied bin of age counts alike, up to a limit.
    """
    ages = people.ages
    weights = fitting.balancing_weights(ages) if balanced else np.ones(len(ages))
    center, scale = people.x.mean(axis=0), people.x.std(axis=0)
    z = standardise(people.x, center, scale)
    arrays = {"center": center, "scale": scale, "covariance": np.cov(z, rowvar=False)}
    arrays |= _reference(people.x, ages)
    if architecture["id"] == "linear":
        coefficients, intercept = fitting.fit_ridge(z, ages, weights)
        return _tensors({**arrays, "coefficients": coefficients, "intercept": np.array(intercept)})
    parameters = dict(architecture["parameters"])  # type: ignore[call-overload]
    networks = fitting.fit_networks(z, ages, weights, **parameters)
    model = CovarianceModel(networks, arrays["covariance"], np.zeros(len(center)))
    residuals = model.residuals(z)
    arrays |= {
        "said_center": model.contributions(z).mean(axis=0) * len(center),
        "residual_center": residuals.mean(axis=0),
        "residual_scale": residuals.std(axis=0),
    }
    members = {
        f"members.{member}.{name}": value.contiguous()
        for member, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
    return {**_tensors(arrays), **members}


def _reference(x: Floats, ages: Floats) -> dict[str, Floats]:
    """Course of the features over age, their SD about it, and what remains together."""
    powers = age_powers(ages)
    courses = np.linalg.lstsq(powers, x, rcond=None)[0]
    left = x - powers @ courses
    spread = left.std(axis=0, ddof=3)
    return {
        "by_age": courses.T,
        "spread": spread,
        "covariance_at_age": ledoit_wolf(left / spread),
    }


def _tensors(arrays: Mapping[str, Floats]) -> Tensors:
    return {
        name: torch.from_numpy(np.array(x, dtype=np.float32, order="C"))
        for name, x in arrays.items()
    }


def answer(tensors: Tensors, architecture: Architecture, x: Floats) -> Floats:
    """Ages (years) of features (n, m), NaN where one is missing; shape (n,)."""
    model: AgeModel = build(architecture, tensors)
    center, scale = (tensors[name].double().numpy() for name in ("center", "scale"))
    return model.ages(standardise(x, center, scale)).mean(axis=0)


def left_out(
    people: People,
    architecture: Architecture,
    *,
    parts: int = 0,
    balanced: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Raw predictions of everybody by a model that left out the person's dataset.

    Parameters
    ----------
    people : People
    architecture : mapping
        As on a card.
    parts : int
        Leave datasets out in so many parts instead of one at a time.
    balanced : bool
        See :func:`fit`.
    say : callable
        Takes a line after each part.

    Returns
    -------
    DataFrame
        ``participant_id age scanner predicted_age predicted_age_sd training_distance``, the SD 0
        (the model gives none) and the distance not yet over its limit.
    """
    part = parts_of(people.table[SCANNER].tolist(), parts)
    predicted, far = np.zeros(len(part)), np.full(len(part), np.nan)
    for number in np.unique(part):
        asked = part == number
        tensors = fit(people.part(~asked), architecture, balanced=balanced)
        x = people.x[asked]
        predicted[asked] = answer(tensors, architecture, x)
        far[asked] = distances(tensors, x, predicted[asked], people.ages[~asked])
        say(f"{architecture['id']}: part {number + 1} of {part.max() + 1}")
    table = people.table.assign(predicted_age=predicted)
    table[SD], table[DISTANCE] = 0.0, far
    return table


def distances(tensors: Tensors, x: Floats, ages: Floats, learnt: Floats) -> Floats:
    """Mahalanobis distance of people from the training people of their predicted ages."""
    powers = age_powers(np.clip(ages, learnt.min(), learnt.max()))
    by_age, spread, covariance = (
        tensors[name].double().numpy() for name in ("by_age", "spread", "covariance_at_age")
    )
    return root_mean_mahalanobis((x - powers @ by_age.T) / spread, covariance)
