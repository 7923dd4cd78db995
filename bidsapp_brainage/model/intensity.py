"""Intensity scaling as a model card asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from bidsapp_brainage.errors import DataError, ResourceError


def scale_intensity(
    volume: np.ndarray,
    mask: np.ndarray | None,
    spec: dict[str, Any],
    *,
    background: float = 0.0,
) -> np.ndarray:
    """Scale a volume for the network.

    Parameters
    ----------
    volume : ndarray, shape (D, H, W)
        T1w intensities on the card's grid.
    mask : ndarray, shape (D, H, W), or None
        Brain mask on the same grid. Statistics are taken inside it and everything outside
        becomes ``background``. None: the whole volume, nothing is blanked (a model of whole
        heads).
    spec : dict
        ``card.input["intensity"]``: ``scaling`` is ``brain_zscore`` (mean 0, SD 1),
        ``brain_robust`` (median 0, interquartile range 1.349), ``divide_by_mean``,
        ``divide_by_max`` or ``none``; ``clip`` (optional) bounds the result.
    background : float
        ``card.input["background"]``.

    Returns
    -------
    ndarray, float32, shape (D, H, W)

    Raises
    ------
    DataError
        The mask is empty or the brain has the same value everywhere.
    ResourceError
        The card names an unknown scaling.
    """
    inside = np.ones(volume.shape, bool) if mask is None else np.asarray(mask) > 0
    values = np.asarray(volume, dtype=np.float64)[inside]
    if values.size == 0:
        raise DataError("The brain mask is empty on the model's grid: registration has failed.")
    shift, scale = _shift_and_scale(values, spec)
    if not np.isfinite(scale) or scale <= 0:
        raise DataError("The brain has the same intensity everywhere: it cannot be scaled.")
    scaled = (values - shift) / scale
    if "clip" in spec:
        scaled = np.clip(scaled, *spec["clip"])
    result = np.full(volume.shape, background, dtype=np.float32)
    result[inside] = scaled
    return result


def _zscore(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def _robust(values: np.ndarray) -> tuple[float, float]:
    quartile1, median, quartile3 = np.percentile(values, [25, 50, 75])
    return float(median), float(quartile3 - quartile1) / 1.349


SCALINGS: Mapping[str, Callable[[np.ndarray], tuple[float, float]]] = MappingProxyType(
    {
        "brain_zscore": _zscore,
        "brain_robust": _robust,
        "divide_by_mean": lambda values: (0.0, float(values.mean())),
        "divide_by_max": lambda values: (0.0, float(values.max())),
        "none": lambda _: (0.0, 1.0),
    }
)


def _shift_and_scale(values: np.ndarray, spec: dict[str, Any]) -> tuple[float, float]:
    try:
        return SCALINGS[spec["scaling"]](values)
    except KeyError as error:
        raise ResourceError(
            f"Model card, input.intensity.scaling: {error} is unknown. "
            f"Known: {', '.join(sorted(SCALINGS))}."
        ) from error
