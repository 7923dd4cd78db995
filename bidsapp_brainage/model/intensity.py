"""Intensity scaling as a model card asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from bidsapp_brainage.errors import DataError, ResourceError
from bidsapp_brainage.model.specs import InputSpec, Intensity
from bidsapp_brainage.model.tissue import tissue_units

if TYPE_CHECKING:
    from torch import Tensor

_BRIGHT_PERCENT = 50.0  # cortex and fluid are darker than half of the brain, white matter is not
_HISTOGRAM_BINS = 96
_HEAD_PERCENT = 90.0


def scale_intensity(
    volume: np.ndarray, mask: np.ndarray | None, spec: Intensity, *, background: float = 0.0
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
        ``divide_by_max``, ``min_max`` (0 to 1), ``white_matter`` (its peak at 1), ``tissue``
        (fluid 0, grey matter 1, white matter 2, with levels read in ``ellipsoid``; see
        :func:`bidsapp_brainage.model.tissue.tissue_units`), ``segmentation`` (the volume is in
        these units already, by a segmentation) or ``none``;
        optional, in this order: ``multiply``, ``round`` to whole numbers, ``clip`` to bounds.
        With ``over: volume`` the statistics are those of the whole volume, in which everything
        outside the mask is 0, and the outside is scaled like the rest.
    background : float
        Value outside the mask; not used with ``over: volume``.

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
    if not inside.any():
        raise DataError("The brain mask is empty on the model's grid: registration has failed.")
    if spec.get("over") == "volume":
        volume, inside = np.where(inside, volume, 0.0), np.ones(volume.shape, bool)
    scaled = _scaled(volume, inside, spec)
    if "multiply" in spec:
        scaled = scaled * spec["multiply"]
    if spec.get("round"):
        scaled = np.round(scaled)
    if "clip" in spec:
        scaled = np.clip(scaled, spec["clip"][0], spec["clip"][1])
    result = np.full(volume.shape, background, dtype=np.float32)
    result[inside] = scaled
    return result


def background_value(input_spec: InputSpec, volume: np.ndarray | Tensor) -> float:
    """What the network sees where there is no brain; `volume` is the network's input.

    The card's ``background`` is a number, or ``minimum`` where the scaling moves the outside with
    the brain, as it does ``over: volume``: then it is the smallest value of the volume.
    """
    stated = input_spec.get("background", 0.0)
    if stated == "minimum" or input_spec.get("intensity", {}).get("over") == "volume":
        return float(volume.min())
    return float(stated)


def outside_value(input_spec: InputSpec) -> float:
    """What is put outside the brain; 0 where the scaling moves the outside with the brain."""
    stated = input_spec.get("background", 0.0)
    return 0.0 if stated == "minimum" else float(stated)


def _scaled(volume: np.ndarray, inside: np.ndarray, spec: Intensity) -> np.ndarray:
    """Scaled values inside the mask."""
    if spec["scaling"] == "tissue":
        return tissue_units(volume, inside, spec["ellipsoid"])[inside]
    values = np.asarray(volume, dtype=np.float64)[inside]
    if spec["scaling"] not in SCALINGS:
        raise ResourceError(
            f"Model card, input.intensity.scaling: {spec['scaling']!r} is unknown. "
            f"Known: {', '.join(sorted(SCALINGS))}."
        )
    shift, scale = SCALINGS[spec["scaling"]](values)
    if not np.isfinite(scale) or scale <= 0:
        raise DataError("The brain has the same intensity everywhere: it cannot be scaled.")
    return (values - shift) / scale


def _zscore(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def _robust(values: np.ndarray) -> tuple[float, float]:
    quartile1, median, quartile3 = np.percentile(values, [25, 50, 75])
    return float(median), float(quartile3 - quartile1) / 1.349


def _min_max(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(np.ptp(values))


def _white_matter(values: np.ndarray) -> tuple[float, float]:
    """Peak of white matter in a T1w histogram: the mode of the brighter part of the brain."""
    brain = values[values > 0]
    if brain.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(brain, [_BRIGHT_PERCENT, 99.5])
    if high <= low:
        return 0.0, float(high)
    counts, edges = np.histogram(brain, bins=_HISTOGRAM_BINS, range=(low, high))
    smooth = np.convolve(counts, np.hanning(_HISTOGRAM_BINS // 8 + 2), mode="same")
    peak = int(np.argmax(smooth))
    return 0.0, float((edges[peak] + edges[peak + 1]) / 2)


def _head(values: np.ndarray) -> tuple[float, float]:
    """Air at 0 and bright tissue at 1 in a whole box, whether it shows a head or a brain."""
    bright = values[values > values.mean()]
    return 0.0, float(np.percentile(bright, _HEAD_PERCENT)) if bright.size else 0.0


SCALINGS: Mapping[str, Callable[[np.ndarray], tuple[float, float]]] = MappingProxyType(
    {
        "brain_zscore": _zscore,
        "brain_robust": _robust,
        "divide_by_mean": lambda values: (0.0, float(values.mean())),
        "divide_by_max": lambda values: (0.0, float(values.max())),
        "min_max": _min_max,
        "white_matter": _white_matter,
        "head": _head,
        "segmentation": lambda _: (0.0, 1.0),
        "none": lambda _: (0.0, 1.0),
    }
)
