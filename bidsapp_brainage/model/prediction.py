"""From a volume to a distribution of ages, and from there to table rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import nn

from bidsapp_brainage.errors import DataError, ResourceError
from bidsapp_brainage.model import outputs, uncertainty
from bidsapp_brainage.model.bias_correction import BiasCorrection, correct_gap
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.device import cpu_threads

_NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
EDGE_MASS = 0.2  # more than this in the first or last bin: the true age may lie outside the bins


@dataclass(frozen=True)
class Prediction:
    """A predicted age (years) with its distribution over bins, if the network gives one.

    Attributes
    ----------
    mean : float
        The predicted age.
    median, mode, sd : float or None
        Of the distribution; None without one.
    sd_calibrated : float or None
        ``sd`` times the card's factor, so that it has the size of the errors made in
        cross-validation (softmax widths alone are not error bars). Without distribution the
        card's ``residual_sd``; None if the card has none.
    entropy : float or None
        Of the distribution, in nats.
    ci95_lower, ci95_upper : float or None
        Prediction interval, as the card's calibration makes it. Without distribution: the card's
        ``half_width95`` or 1.96 ``residual_sd`` about the age.
    bin_lower : ndarray, shape (n_bins,)
        Lower edges of the bins; empty without distribution.
    bin_width : float
        Years.
    probabilities : ndarray, shape (n_bins,)
        Sum to 1; empty without distribution.
    member_ages : tuple of float
        Age that each ensemble member gives.
    in_age_range : bool
        Whether the predicted age lies in the range of ages that the model was trained on.
    ood_flag : str
        ``none``, or the first that applies of ``stripped_source`` (the image was skull-stripped
        before, and the model learned from whole heads only), ``out_of_range`` (predicted outside
        the training range), ``edge_mass`` (more than 20 % in the first or last bin) and
        ``member_disagreement`` (members differ more than the card allows).
    n_tta : int
        Views of the volume that were averaged; 1: only the volume itself.
    """

    mean: float
    sd_calibrated: float | None
    ci95_lower: float | None
    ci95_upper: float | None
    member_ages: tuple[float, ...]
    in_age_range: bool
    ood_flag: str
    n_tta: int = 1
    median: float | None = None
    mode: float | None = None
    sd: float | None = None
    entropy: float | None = None
    bin_lower: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bin_width: float = 0.0
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))


def predict(
    members: Sequence[nn.Module],
    volume: np.ndarray,
    card: ModelCard,
    *,
    stripped_source: bool = False,
    device: str = "cpu",
    n_threads: int | None = None,
) -> Prediction:
    """Predict the age of one brain.

    Where the card asks for test-time augmentation, every member sees all views of the brain, and
    the distributions are averaged: views that disagree widen the result.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        From :func:`bidsapp_brainage.model.weights.loading.load_members`, on ``device``.
    volume : ndarray, shape (D, H, W)
        On the card's grid, scaled as the card says.
    card : ModelCard
    stripped_source : bool
        The image was skull-stripped before it was processed.
    device : str
        A torch device.
    n_threads : int or None
        CPU threads for this call; None leaves torch's setting alone.

    Raises
    ------
    DataError
        The volume has another shape than the card's grid, or is not finite.
    """
    volume = np.asarray(volume, dtype=np.float32)
    if volume.shape != card.shape:
        raise DataError(
            f"Model {card.name} needs an input of shape {card.shape}, not {volume.shape}: "
            "resample the image to the grid on the model card."
        )
    if not np.isfinite(volume).all():
        raise DataError(f"The input of model {card.name} has values that are not finite.")
    batch = torch.from_numpy(np.ascontiguousarray(volume))[None, None].to(device)
    decode = decoder(card)
    with cpu_threads(n_threads), torch.inference_mode():
        decoded = [
            [decode(member(view)) for member in members]
            for view in uncertainty.views(batch, card.prediction, card.input)
        ]
    # of probabilities or of ages: the mean over the views, for every member
    which = 0 if card.age_head.has_distribution else 1
    views = torch.stack([torch.stack([pair[which][0] for pair in view]) for view in decoded])
    summary = (summarise, summarise_values)[which]
    return summary(views.mean(dim=0).cpu().numpy(), card, stripped_source=stripped_source)


def decoder(card: ModelCard) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Give the function that turns outputs (N, n_outputs) into (probabilities, ages).

    Both results are float64 on the outputs' device; probabilities are of shape (N, 0) where the
    network gives no distribution. It knows the card's head for age and nothing else, so that
    code working on many volumes (occlusion) needs no card.

    Raises
    ------
    ResourceError
        The network predicts no age; or, when decoding, its output has another length than the
        card's heads.
    """
    parts, head, name = card.heads, card.age_head, card.name

    def decode(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            own = outputs.split(parts, raw)[head.name]
        except ValueError as error:
            raise ResourceError(f"Model card {name}, output: {error}.") from error
        probabilities, ages = head.decode(own)
        if probabilities is None:
            probabilities = ages.new_zeros((len(ages), 0))
        return probabilities, ages

    return decode


def summarise(
    member_probabilities: np.ndarray, card: ModelCard, *, stripped_source: bool = False
) -> Prediction:
    """Describe the mean of the members' distributions (n_members, n_bins); each row sums to 1."""
    head = card.age_head
    lower, centers, width = head.bin_lower, head.bin_centers, float(head.width)
    member_probabilities = np.asarray(member_probabilities, dtype=np.float64)
    probabilities = member_probabilities.mean(axis=0)
    probabilities = probabilities / probabilities.sum()
    mean = float(np.clip(probabilities @ centers, centers[0], centers[-1]))
    spread = float(np.sqrt(probabilities @ (centers - mean) ** 2))
    low, median, high = quantiles(probabilities, lower, width, (0.025, 0.5, 0.975))
    positive = probabilities[probabilities > 0]
    ci95 = uncertainty.interval(mean, spread, (low, high), card.calibration)
    member_ages = tuple(float(age) for age in member_probabilities @ centers)
    return Prediction(
        mean=mean,
        median=median,
        mode=float(centers[int(np.argmax(probabilities))]),
        sd=spread,
        sd_calibrated=uncertainty.calibrated_sd(spread, card.calibration),
        entropy=float(-(positive * np.log(positive)).sum()),
        ci95_lower=ci95[0],
        ci95_upper=ci95[1],
        bin_lower=lower,
        bin_width=width,
        probabilities=probabilities,
        member_ages=member_ages,
        in_age_range=bool(card.age_range[0] <= mean <= card.age_range[1]),
        ood_flag=_flag(probabilities, member_ages, mean, card, stripped_source=stripped_source),
        n_tta=uncertainty.n_views(card.prediction),
    )


def summarise_values(
    member_ages: Sequence[float] | np.ndarray, card: ModelCard, *, stripped_source: bool = False
) -> Prediction:
    """Describe the mean of the members' ages (years), which have no distribution.

    Nothing is made up: interval and SD come from the card's calibration, or are missing.
    """
    mean = float(np.mean(member_ages))
    spread = card.calibration.get("residual_sd")
    half = card.calibration.get("half_width95", None if spread is None else _NORMAL_95 * spread)
    return Prediction(
        mean=mean,
        sd_calibrated=spread,
        ci95_lower=None if half is None else mean - half,
        ci95_upper=None if half is None else mean + half,
        member_ages=tuple(float(age) for age in member_ages),
        in_age_range=bool(card.age_range[0] <= mean <= card.age_range[1]),
        ood_flag=_flag(
            np.zeros(0), tuple(member_ages), mean, card, stripped_source=stripped_source
        ),
        n_tta=uncertainty.n_views(card.prediction),
    )


def quantiles(
    probabilities: np.ndarray, lower: np.ndarray, width: float, levels: Sequence[float]
) -> list[float]:
    """Quantiles at `levels` (0 to 1) of a distribution that is flat within each bin.

    `probabilities` (n_bins,) sum to 1; `lower` are the edges, increasing by `width`.
    """
    edges = np.append(lower, lower[-1] + width)
    cumulative = np.concatenate([[0.0], np.cumsum(probabilities)])
    # empty bins make the cumulative sum flat; interpolation needs it to rise
    rising = np.concatenate([[True], np.diff(cumulative) > 0])
    first = max(int(np.argmax(probabilities > 0)), 0)
    rising[:first] = False
    rising[first] = True
    return [float(q) for q in np.interp(levels, cumulative[rising], edges[rising])]


def prediction_row(
    prediction: Prediction,
    card: ModelCard,
    *,
    identity: Mapping[str, str | None],
    chronological_age: float | None,
    age_source: str,
    bias_correction: BiasCorrection | None,
    qc_flag: str,
) -> dict[str, object]:
    """One row of ``*_brainage.tsv``; None where something is unknown.

    `identity` holds ``participant_id`` and, where the scan has them, ``session_id`` and ``run_id``;
    `age_source` is the file that the age (years) was read from, `qc_flag` the decision of the image
    quality control.
    """
    known = chronological_age is not None and math.isfinite(chronological_age)
    gap = corrected = z_score = None
    if known and chronological_age is not None:
        gap = prediction.mean - chronological_age
        corrected = correct_gap(prediction.mean, chronological_age, bias_correction)
        if bias_correction and corrected is not None and bias_correction.residual_sd:
            z_score = corrected / bias_correction.residual_sd
    return {
        "participant_id": identity["participant_id"],
        "session_id": identity.get("session_id"),
        "run_id": identity.get("run_id"),
        "model": card.name,
        "chronological_age": chronological_age if known else None,
        "age_source": age_source,
        "predicted_age": prediction.mean,
        "predicted_age_median": prediction.median,
        "predicted_age_mode": prediction.mode,
        "predicted_age_sd": prediction.sd_calibrated,
        "entropy": prediction.entropy,
        "ci95_lower": prediction.ci95_lower,
        "ci95_upper": prediction.ci95_upper,
        "gap": gap,
        "gap_corrected": corrected,
        "gap_z": z_score,
        "bias_model": bias_correction.source if bias_correction else "none",
        "in_age_range": prediction.in_age_range,
        "ood_flag": prediction.ood_flag,
        "qc_flag": qc_flag,
        "n_tta": prediction.n_tta,
    }


def distribution_table(prediction: Prediction) -> pd.DataFrame:
    """Rows of ``*_agedist.tsv``: one per age bin, in years; none without distribution."""
    lower = prediction.bin_lower
    return pd.DataFrame(
        {
            "age_lower": lower,
            "age_upper": lower + prediction.bin_width,
            "age_center": lower + prediction.bin_width / 2,
            "probability": prediction.probabilities,
        }
    )


def _flag(
    probabilities: np.ndarray,
    member_ages: tuple[float, ...],
    mean: float,
    card: ModelCard,
    *,
    stripped_source: bool,
) -> str:
    """First out-of-distribution flag that applies; see :class:`Prediction`."""
    if stripped_source and not card.input.get("stripped_sources", True):
        return "stripped_source"
    if not card.age_range[0] <= mean <= card.age_range[1]:
        return "out_of_range"
    if probabilities.size and max(probabilities[0], probabilities[-1]) > EDGE_MASS:
        return "edge_mass"
    limit = card.calibration.get("member_sd_limit")
    if limit is not None and len(member_ages) > 1 and np.std(member_ages, ddof=1) > limit:
        return "member_disagreement"
    return "none"
