"""How sure a prediction is: slightly different views of a brain, and calibrated intervals."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bidsapp_brainage.model.intensity import background_value
from bidsapp_brainage.model.specs import Calibration, InputSpec, PredictionSpec


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
    mean: float, sd: float, quantiles: tuple[float, float], calibration: Calibration
) -> tuple[float, float]:
    """95 % prediction interval in years.

    Parameters
    ----------
    mean, sd : float
        Of the distribution of ages.
    quantiles : tuple of float
        Its 2.5 % and 97.5 % quantiles.
    calibration : mapping
        The card's: with ``ci95_half_width_sd`` the interval is so many SDs, with
        ``half_width95`` so many years to either side; without, the quantiles are stretched
        about the mean by ``sd_scale``.
    """
    if "ci95_half_width_sd" in calibration:
        half = float(calibration["ci95_half_width_sd"]) * sd
    elif "half_width95" in calibration:
        half = float(calibration["half_width95"])
    else:
        stretch = float(calibration.get("sd_scale", 1.0))
        low, high = (mean + stretch * (quantile - mean) for quantile in quantiles)
        return min(mean, low), max(mean, high)
    return mean - half, mean + half


def calibrated_sd(sd: float, calibration: Calibration) -> float:
    """SD of the size of the errors made on people not trained on, in years.

    With an interval of the same width for everybody it is the SD of those errors.
    """
    if "sd_scale" not in calibration and "residual_sd" in calibration:
        return float(calibration["residual_sd"])
    return sd * float(calibration.get("sd_scale", 1.0))


def _shifted(volume: torch.Tensor, axis: int, step: int, background: float) -> torch.Tensor:
    moved = volume.roll(step, dims=axis)
    gap = moved.narrow(axis, 0 if step > 0 else moved.shape[axis] + step, abs(step))
    gap.fill_(background)
    return moved
