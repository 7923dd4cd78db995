"""How sure a prediction is: slightly different views of a brain, and calibrated intervals."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bidsapp_brainage.model.intensity import background_value
from bidsapp_brainage.model.specs import Calibration, InputSpec, IntervalScale, PredictionSpec

_NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
AGES = (0.0, 120.0)  # years that people live; an interval need not reach beyond


def n_views(prediction: PredictionSpec) -> int:
    """How many views :func:`views` gives.

    Parameters
    ----------
    prediction : mapping
        The card's ``prediction``.
    """
    tta = prediction.get("tta", {})
    return 1 + bool(tta.get("flip")) + 6 * bool(tta.get("shift_voxels"))


def views(
    volume: torch.Tensor, prediction: PredictionSpec, spec: InputSpec
) -> Iterator[torch.Tensor]:
    """Give the volume itself and, as the card asks, slightly changed ones (test-time augmentation).

    Parameters
    ----------
    volume : Tensor, shape (1, 1, D, H, W)
    prediction : mapping
        The card's ``prediction``: ``{"tta": {"flip": bool, "shift_voxels": int}}``, both optional.
        ``flip`` adds the mirror image, ``shift_voxels`` six shifts by so many voxels.
    spec : mapping
        The card's ``input``: its ``orientation`` says which axis is mirrored, its ``background``
        what enters where a shift leaves a gap.

    Yields
    ------
    Tensor, shape (1, 1, D, H, W)
    """
    tta = prediction.get("tta", {})
    yield volume
    if tta.get("flip"):
        yield volume.flip(2 + left_right_axis(spec))
    step = int(tta.get("shift_voxels", 0))
    if step:
        background = background_value(spec, volume)
        for axis in range(2, 5):
            for signed in (-step, step):
                yield _shifted(volume, axis, signed, background)


def left_right_axis(spec: InputSpec) -> int:
    """Axis from left to right of a volume (D, H, W) on the grid of a card's ``input``."""
    orientation = str(spec.get("orientation", "RAS"))
    return next(axis for axis, letter in enumerate(orientation) if letter in "RL")


def interval(
    mean: float,
    sd: float | None,
    quantiles: tuple[float, float] | None,
    calibration: Calibration,
    distance: float | None = None,
) -> tuple[float, float] | None:
    """95 % prediction interval in years; None where the card has no calibration.

    Parameters
    ----------
    mean : float
        Predicted age.
    sd : float or None
        Of the distribution of ages; None for a network without one.
    quantiles : tuple of float, or None
        Its 2.5 % and 97.5 % quantiles.
    calibration : mapping
        The card's: with ``ci95_factor`` the interval is so many times the expected error
        (:func:`expected_error`), with ``ci95_half_width_sd`` so many SDs, with ``half_width95`` so
        many years to either side. With ``sd_scale`` alone the quantiles are stretched by it about
        the mean. With ``residual_sd`` alone, the SD of errors, it is 1.96 of them.
    distance : float or None
        From the training people, in units of the card's limit.
    """
    if "ci95_factor" in calibration:
        error = expected_error(sd, distance, calibration["scale"])
        if error is None:
            return None
        half = calibration["ci95_factor"] * error
        return max(AGES[0], mean - half), min(AGES[1], mean + half)
    if "ci95_half_width_sd" in calibration:
        return None if sd is None else _about(mean, float(calibration["ci95_half_width_sd"]) * sd)
    if "half_width95" in calibration:
        return _about(mean, float(calibration["half_width95"]))
    if quantiles is not None and "sd_scale" in calibration:
        stretch = float(calibration["sd_scale"])
        low, high = (mean + stretch * (quantile - mean) for quantile in quantiles)
        return min(mean, low), max(mean, high)
    if quantiles is None and "residual_sd" in calibration:
        return _about(mean, _NORMAL_95 * calibration["residual_sd"])
    return None


def expected_error(sd: float | None, distance: float | None, scale: IntervalScale) -> float | None:
    """Expected size of the error (years, up to a factor); None where a part of it is not known.

    It never falls with the SD of the distribution or with the distance from the training people.
    Hardly anybody was measured nearer than ``nearest``: there it stays as it is. The same holds
    beyond the limit: there it grows in proportion.
    """
    if scale["sd"] > 0 and sd is None:
        return None
    size = scale["constant"] + scale["sd"] * (sd or 0.0)
    if scale["distance"] == 0:
        return size
    if distance is None:
        return None
    far = max(distance, scale["nearest"])
    return (size + scale["distance"] * far) * max(1.0, far)


def calibrated_sd(
    sd: float | None, calibration: Calibration, distance: float | None = None
) -> float | None:
    """SD of the size of the errors made on people not trained on, in years.

    With an interval of the same width for everybody it is the SD of those errors; None where the
    card says nothing about errors: the width of a distribution is no error.
    """
    if "sd_scale" in calibration:
        scale = calibration.get("scale")
        size = sd if scale is None else expected_error(sd, distance, scale)
        return None if size is None else size * float(calibration["sd_scale"])
    return float(calibration["residual_sd"]) if "residual_sd" in calibration else None


def _about(mean: float, half: float) -> tuple[float, float]:
    return mean - half, mean + half


def _shifted(volume: torch.Tensor, axis: int, step: int, background: float) -> torch.Tensor:
    moved = volume.roll(step, dims=axis)
    gap = moved.narrow(axis, 0 if step > 0 else moved.shape[axis] + step, abs(step))
    gap.fill_(background)
    return moved
