"""How unlike the training people an image is: a distance with a limit set on data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bidsapp_brainage.model.plausibility.features import ENCODER, INPUT, TISSUE
from bidsapp_brainage.model.specs import EncoderAxes, Reference

REST = f"{ENCODER}rest"
_WORDS = {
    f"{TISSUE}csf": "amount of fluid",
    f"{TISSUE}gm": "amount of grey matter",
    f"{TISSUE}wm": "amount of white matter",
    f"{TISSUE}ventricles": "size of the ventricles",
    f"{INPUT}filled": "size of the brain",
    f"{INPUT}edges": "sharpness or noise",
}
_KINDS = {INPUT: "intensities", ENCODER: "features of the network", TISSUE: "amounts of tissue"}
_DECADE = 10.0


@dataclass(frozen=True)
class Distance:
    """Distance from the training people.

    Attributes
    ----------
    value : float
        In units of the card's limit: above 1 the image is unlike those of the training people.
    unusual : tuple of str
        What differs most, in words, the most unusual first.
    """

    value: float
    unusual: tuple[str, ...] = ()


def distance(
    features: Mapping[str, float], encoder: np.ndarray, age: float, reference: Reference
) -> Distance | None:
    """Mahalanobis distance of one image from the training people of its (predicted) age.

    Features change with age, so what is expected at this age is subtracted first; an old brain
    is no novelty, one that does not fit the age it is given is. Of features that are not known
    the distance disregards the dimension.

    Parameters
    ----------
    features : mapping
        Of :mod:`bidsapp_brainage.model.plausibility.features`, without those of the encoder.
    encoder : ndarray, shape (n,)
        Features of the encoder, as they are; may be empty.
    age : float
        Predicted age (years).
    reference : mapping
        The card's ``reference``.

    Returns
    -------
    Distance or None
        None where none of the reference's features is known.
    """
    known = {**features, **encoder_axes(encoder, reference.get("encoder"))}
    residuals = standardised(known, age, reference)
    names = [feature["name"] for feature in reference["features"]]
    places = [place for place, name in enumerate(names) if name in residuals]
    if not places:
        return None
    values = np.array([residuals[names[place]] for place in places])
    covariance = np.asarray(reference["covariance"], dtype=np.float64)[np.ix_(places, places)]
    size = root_mean_mahalanobis(values[None], covariance)[0]
    order = np.argsort(-np.abs(values))[:3]
    words = [word_for(names[places[place]]) for place in order]
    return Distance(float(size / reference["threshold"]), tuple(dict.fromkeys(words)))


def root_mean_mahalanobis(residuals: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Mahalanobis distance over the root of the number of features, (n,) of residuals (n, k)."""
    solved = np.linalg.solve(covariance, residuals.T).T
    squared = (residuals * solved).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0) / residuals.shape[1]))


def standardised(
    features: Mapping[str, float], age: float, reference: Reference
) -> dict[str, float]:
    """Difference of each feature from what is expected at this age, in its SD."""
    low, high = reference["age_limits"]
    powers = age_powers(np.clip(age, low, high))
    found = {}
    for feature in reference["features"]:
        value = features.get(feature["name"], np.nan)
        if np.isfinite(value):
            expected = float(powers @ np.asarray(feature["by_age"]))
            found[feature["name"]] = (value - expected) / feature["sd"]
    return found


def age_powers(age: np.ndarray | float) -> np.ndarray:
    """1, t and t^2 of the age in decades after 50, on the last axis."""
    decades = (np.asarray(age, dtype=np.float64) - 50.0) / _DECADE
    return np.stack([np.ones_like(decades), decades, decades**2], axis=-1)


def encoder_axes(values: np.ndarray, axes: EncoderAxes | None) -> dict[str, float]:
    """Features of the encoder along the card's axes, and the size of what they leave over.

    Parameters
    ----------
    values : ndarray, shape (n,)
    axes : mapping or None
        The card's ``reference.encoder``.

    Returns
    -------
    dict
        ``encoder_1`` ... and ``encoder_rest`` (logarithm); empty where the card has no axes or
        the features are of another network.
    """
    if axes is None or len(values) != len(axes["center"]):
        return {}
    scaled = (values - np.asarray(axes["center"])) / np.asarray(axes["sd"])
    components = np.asarray(axes["components"])
    along = components @ scaled
    rest = np.sqrt(np.mean((scaled - along @ components) ** 2))
    found = {f"{ENCODER}{place}": float(x) for place, x in enumerate(along, start=1)}
    return {**found, REST: float(np.log(rest + 1e-6))}


def word_for(name: str) -> str:
    """Words for a feature."""
    kind = next((words for start, words in _KINDS.items() if name.startswith(start)), name)
    return _WORDS.get(name, kind)
