"""Ages from regional measures, how far they can be trusted, and what every region adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError, ResourceError
from bidsapp_brainage.model import uncertainty
from bidsapp_brainage.model.plausibility.flags import Findings
from bidsapp_brainage.model.plausibility.reference import distance, standardised
from bidsapp_brainage.model.prediction import Prediction
from bidsapp_brainage.model.specs import Reference

from .card import MorphometryCard, load_tensors
from .features import design, standardise
from .models import AgeModel, build

Floats = NDArray[np.float64]

LEAST_KNOWN = 0.6  # of the features; with fewer nobody knows how large errors are
_ARRAYS = ("center", "scale", "by_age", "spread", "covariance_at_age")
_NAMED = 5  # missing regions named in the reason of a flag


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to predict.

    Attributes
    ----------
    card : MorphometryCard
    model : AgeModel
    center, scale : ndarray, shape (m,)
        Mean and SD of the features of the training people.
    reference : Reference
        What the training people of an age are like.
    residual_center, residual_scale : ndarray, shape (m,), or None
        Mean and SD (years) of their regional residuals.
    """

    card: MorphometryCard
    model: AgeModel
    center: Floats
    scale: Floats
    reference: Reference
    residual_center: Floats | None = None
    residual_scale: Floats | None = None


@dataclass(frozen=True)
class Answer:
    """What a model says of one person: the age, and a row per feature.

    `regions` has the columns ``name kind hemisphere value known z contribution residual
    residual_z``.
    """

    prediction: Prediction
    regions: pd.DataFrame


def load_predictor(card: MorphometryCard) -> Predictor:
    """A card's model with its weights.

    Raises
    ------
    ResourceError
        The weights do not fit the card.
    """
    tensors = load_tensors(card)
    try:
        model = build(card.architecture, tensors)
        arrays = {name: tensors[name].double().numpy() for name in _ARRAYS}
    except (KeyError, RuntimeError) as error:
        raise ResourceError(
            f"Weights {card.weights[0].path} do not fit the architecture on card {card.name} "
            f"({error}). Reinstall bidsapp-brainage, or train the model again."
        ) from error
    optional = [tensors.get(name) for name in ("residual_center", "residual_scale")]
    return Predictor(
        card,
        model,
        arrays["center"],
        arrays["scale"],
        reference_of(card, arrays),
        *(None if tensor is None else tensor.double().numpy() for tensor in optional),
    )


def reference_of(card: MorphometryCard, arrays: Mapping[str, Floats]) -> Reference:
    """What the training people of an age are like, from the arrays of the weights."""
    limits = card.raw["reference"]
    return {
        "features": [
            {"name": feature.name, "by_age": list(course), "sd": float(sd)}
            for feature, course, sd in zip(
                card.features, arrays["by_age"], arrays["spread"], strict=True
            )
        ],
        "covariance": arrays["covariance_at_age"].tolist(),
        "age_limits": limits["age_limits"],
        "threshold": limits["threshold"],
    }


def predict(predictor: Predictor, given: pd.Series) -> Answer:
    """Answer for one person.

    Parameters
    ----------
    predictor : Predictor
    given : Series
        Measures by their names (mm, mm2, mm3), NaN where the person lacks one.

    Raises
    ------
    DataError
        There are less than ``LEAST_KNOWN`` of the measures that the model sees.
    """
    card = predictor.card
    (x,) = design(given.to_frame().T, card.features, card.size)
    _check_known(card, x)
    z = standardise(x, predictor.center, predictor.scale)[None]
    members = predictor.model.ages(z)[:, 0]
    mean = float(members.mean())
    names = [feature.name for feature in card.features]
    features = {name: float(value) for name, value in zip(names, x, strict=True)}
    far = distance(features, np.zeros(0), mean, predictor.reference)
    value = None if far is None else far.value
    bounds = uncertainty.interval(mean, None, None, card.calibration, value)
    prediction = Prediction(
        mean=mean,
        findings=Findings(
            card=card,
            predicted=mean,
            disagreement=float(members.std(ddof=1)) if len(members) > 1 else None,
            distance=far,
            interval=bounds,
            missing=_missing(card, x),
        ),
        sd_calibrated=uncertainty.calibrated_sd(None, card.calibration, value),
        ci95_lower=None if bounds is None else bounds[0],
        ci95_upper=None if bounds is None else bounds[1],
        member_ages=tuple(float(age) for age in members),
    )
    at_age = standardised(features, mean, predictor.reference)
    regions = pd.DataFrame(
        {
            "name": names,
            "kind": [feature.kind for feature in card.features],
            "hemisphere": [feature.hemisphere for feature in card.features],
            "value": [float(given.get(name, np.nan)) for name in names],
            "known": np.isfinite(x),
            "z": [at_age.get(name, np.nan) for name in names],
            "contribution": predictor.model.contributions(z)[0],
            **_residuals(predictor, z),
        }
    )
    return Answer(prediction, regions)


def _residuals(predictor: Predictor, z: Floats) -> dict[str, Floats]:
    found = predictor.model.residuals(z)
    absent = np.full(z.shape[1], np.nan)
    if found is None or predictor.residual_center is None or predictor.residual_scale is None:
        return {"residual": absent, "residual_z": absent}
    usual = (found[0] - predictor.residual_center) / predictor.residual_scale
    return {"residual": found[0], "residual_z": usual}


def _check_known(card: MorphometryCard, x: Floats) -> None:
    share = float(np.isfinite(x).mean())
    if share < LEAST_KNOWN:
        raise DataError(
            f"{100 * share:.0f} % of the {len(x)} measures of model {card.name} are there, "
            f"{100 * LEAST_KNOWN:.0f} % are needed; missing are {_missing(card, x)}. The model "
            f"learned from the parcellation {card.input['parcellation']} and from aseg.stats; "
            "train one on yours with `brainage-model train-table`."
        )


def _missing(card: MorphometryCard, x: Floats) -> str:
    """Names of the measures that are not there; empty if all are."""
    names = [f.name for f, value in zip(card.features, x, strict=True) if not np.isfinite(value)]
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
