"""From a volume to a distribution of ages and to other targets, and from there to table rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from bidsapp_brainage.catalogue import flags as catalogue
from bidsapp_brainage.errors import DataError, ResourceError
from bidsapp_brainage.model import outputs, uncertainty
from bidsapp_brainage.model.bias_correction import BiasCorrection, correct_gap
from bidsapp_brainage.model.cards import AgeCard, ModelCard
from bidsapp_brainage.model.device import cpu_threads
from bidsapp_brainage.model.inputs.channels import is_plain
from bidsapp_brainage.model.intensity import background_value
from bidsapp_brainage.model.networks.branches import branches_of
from bidsapp_brainage.model.outputs import AGE, Answer
from bidsapp_brainage.model.plausibility.features import (
    encoder_features,
    input_features,
    parts_of,
    tissue_features,
)
from bidsapp_brainage.model.plausibility.flags import Findings, raised
from bidsapp_brainage.model.plausibility.reference import Distance, distance
from bidsapp_brainage.model.specs import Calibration
from bidsapp_brainage.stats.verdicts import scan_verdict

Decode = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Prediction:
    """A predicted age (years) with its distribution over bins, if the network gives one.

    Of a network that predicts no age it is the quantity that is explained, in its unit.

    Attributes
    ----------
    mean : float
        The predicted age, or what is explained instead.
    findings : Findings
        What flags are raised by.
    median, mode, sd : float or None
        Of the distribution; None without one.
    sd_calibrated : float or None
        Size of the errors made on people not trained on, as the card's calibration tells it
        (softmax widths alone are not error bars); None if the card does not.
    entropy : float or None
        Of the distribution, in nats.
    ci95_lower, ci95_upper : float or None
        Prediction interval, as the card's calibration makes it; None without calibration.
    bin_lower : ndarray, shape (n_bins,)
        Lower edges of the bins; empty without distribution.
    bin_width : float
        Years.
    probabilities : ndarray, shape (n_bins,)
        Sum to 1; empty without distribution.
    member_ages : tuple of float
        Age that each ensemble member gives.
    channel_ages : mapping
        Age, or what else is explained, from each channel that is there, by name; empty for models
        of one channel.
    n_tta : int
        Views of the volume that were averaged; 1: only the volume itself.
    answers : mapping of str to Answer
        What the members say about every head.
    """

    mean: float
    findings: Findings
    sd_calibrated: float | None
    ci95_lower: float | None
    ci95_upper: float | None
    member_ages: tuple[float, ...]
    channel_ages: Mapping[str, float] = field(default_factory=dict)
    n_tta: int = 1
    median: float | None = None
    mode: float | None = None
    sd: float | None = None
    entropy: float | None = None
    bin_lower: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bin_width: float = 0.0
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))
    answers: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def age(self) -> float | None:
        """The predicted age; None of a network that predicts none."""
        return self.findings.predicted

    @property
    def in_age_range(self) -> bool:
        """Whether the predicted age lies in the range of ages that the model was trained on."""
        return self.age is None or in_range(self.age, self.findings.card)

    @property
    def ood_flag(self) -> str:
        """``none``, or the first flag of the catalogue that the model raises without an age."""
        return next((flag.key for flag in raised(self.findings)), catalogue.NO_FLAG)

    @property
    def distance(self) -> float | None:
        """Distance from the training people; above 1 is beyond the card's limit."""
        return None if self.findings.distance is None else self.findings.distance.value


def checked_by(prediction: Prediction, fast_age: float) -> Prediction:
    """A prediction that knows what a model of raw images says (years)."""
    return replace(prediction, findings=replace(prediction.findings, fast_age=fast_age))


@dataclass(frozen=True)
class Seen:
    """What is known about an image beside the answer of the network.

    Attributes
    ----------
    stripped : bool
        It was skull-stripped before it was processed.
    features : mapping
        What it is compared by with the images of the training people.
    encoder : ndarray, shape (n,)
        The same from the network's encoder; empty where the network has none.
    part_ages : tuple of float
        Ages from the parts of mixtures; empty where there are none.
    channel_ages : mapping
        Age from each channel that is there, by name.
    """

    stripped: bool = False
    features: Mapping[str, float] = field(default_factory=dict)
    encoder: np.ndarray = field(default_factory=lambda: np.zeros(0))
    part_ages: tuple[float, ...] = ()
    channel_ages: Mapping[str, float] = field(default_factory=dict)


def predict(
    members: Sequence[nn.Module],
    volume: np.ndarray | Mapping[str, np.ndarray],
    card: ModelCard,
    *,
    stripped_source: bool = False,
    tissue: Mapping[str, float] | None = None,
    device: str = "cpu",
    n_threads: int | None = None,
) -> Prediction:
    """Predict the age of one brain, and whatever else the network predicts.

    Where the card asks for test-time augmentation, every member sees all views of the brain, and
    the distributions are averaged: views that disagree widen the result.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        From :func:`bidsapp_brainage.model.weights.loading.load_members`, on ``device``.
    volume : ndarray, shape (D, H, W), or mapping
        On the card's grid, scaled as the card says; of a model with several channels those that are
        there, by name (:func:`bidsapp_brainage.model.inputs.channels.channel_volumes`).
    card : ModelCard
    stripped_source : bool
        The image was skull-stripped before it was processed.
    tissue : mapping or None
        Parts of the intracranial volume, from
        :func:`bidsapp_brainage.model.plausibility.features.tissue_fractions`; None without a
        segmentation.
    device : str
        A torch device.
    n_threads : int or None
        CPU threads for this call; None leaves torch's setting alone.

    Raises
    ------
    DataError
        The volume has another shape than the card's grid, or is not finite.
    ResourceError
        The network gives an output of another length than the card's heads.
    """
    volumes = volume if isinstance(volume, Mapping) else {"": volume}
    batches = {name: _batch(part, card).to(device) for name, part in volumes.items()}
    decode = decoder(card)
    with cpu_threads(n_threads), torch.inference_mode():
        raw = torch.stack(
            [
                torch.cat([member(view) for member in branches_of(members, name)])
                for name, batch in batches.items()
                for view in uncertainty.views(batch, card.prediction, card.input)
            ]
        )
        name, batch = next(iter(batches.items()))
        seen = replace(
            look(branches_of(members, name), batch, card, decode), stripped=stripped_source
        )
        if not is_plain(card.input) and isinstance(volume, Mapping):
            seen = replace(seen, channel_ages=_channel_ages(list(batches), raw, decode))
    if tissue is not None:
        seen = replace(seen, features={**seen.features, **tissue_features(tissue)})
    try:
        answers = outputs.answers(card.heads, raw)  # the mean over channels and views
    except ValueError as error:
        raise _other_output(card, error) from error
    own = answers[card.main_head.name]
    if own.head.coding == "bins":
        found = summarise(own.probabilities, card, seen)
    else:
        found = summarise_values(own.head.explained_scale * own.values, card, seen)
    return replace(found, answers=answers)


def _channel_ages(channels: Sequence[str], raw: torch.Tensor, decode: Decode) -> dict[str, float]:
    """What every channel alone says, from outputs (channels x views, members, n_outputs)."""
    values = decode(raw.flatten(0, 1))[1].reshape(len(channels), -1).mean(dim=1)
    return {name: float(value) for name, value in zip(channels, values, strict=True)}


def look(
    members: Sequence[nn.Module], batch: torch.Tensor, card: ModelCard, decode: Decode
) -> Seen:
    """What an image is compared by, and what parts of mixtures say about it.

    `batch` is the one volume (1, 1, D, H, W), `decode` that of :func:`decoder`. Features of the
    encoder are computed only where the card's ``reference`` has them.
    """
    volume = batch[0, 0].cpu().numpy()
    parts = [part for member in members for part in parts_of(member)]
    ages: tuple[float, ...] = ()
    if len(parts) > len(members):
        ages = tuple(float(decode(part(batch))[1][0]) for part in parts)
    wanted = card.reference is not None and "encoder" in card.reference
    return Seen(
        features=input_features(volume, background_value(card.input, volume)),
        encoder=encoder_features(members, batch) if wanted else np.zeros(0),
        part_ages=ages,
    )


def _batch(volume: np.ndarray, card: ModelCard) -> torch.Tensor:
    """One checked volume as a batch (1, 1, D, H, W)."""
    volume = np.asarray(volume, dtype=np.float32)
    if volume.shape != card.shape:
        raise DataError(
            f"Model {card.name} needs an input of shape {card.shape}, not {volume.shape}: "
            "resample the image to the grid on the model card."
        )
    if not np.isfinite(volume).all():
        raise DataError(f"The input of model {card.name} has values that are not finite.")
    return torch.from_numpy(np.ascontiguousarray(volume))[None, None]


def decoder(card: ModelCard) -> Decode:
    """Give the function that turns outputs (N, n_outputs) into (probabilities, ages).

    Both results are float64 on the outputs' device; probabilities are of shape (N, 0) where the
    network gives no distribution. It knows the head that is explained and nothing else, so that
    code working on many volumes (occlusion) needs no card. Of a network that predicts no age it
    gives that head's :attr:`~.outputs.Head.quantity`, probabilities of classes in percent.

    Raises
    ------
    ResourceError
        When decoding: the output has another length than the card's heads.
    """
    parts, head = card.heads, card.main_head

    def decode(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            own = outputs.split(parts, raw)[head.name]
        except ValueError as error:
            raise _other_output(card, error) from error
        probabilities, values = head.decode(own)
        if probabilities is None:
            probabilities = values.new_zeros((len(values), 0))
        return probabilities, head.explained_scale * values

    return decode


def _other_output(card: ModelCard, error: ValueError) -> ResourceError:
    return ResourceError(f"Model card {card.name}, output: {error}.")


def summarise(
    member_probabilities: np.ndarray, card: ModelCard, seen: Seen | None = None
) -> Prediction:
    """Describe the mean of the members' distributions (n_members, n_bins); each row sums to 1."""
    head = card.main_head
    lower, centers, width = head.bin_lower, head.bin_centers, float(head.width)
    member_probabilities = np.asarray(member_probabilities, dtype=np.float64)
    probabilities = member_probabilities.mean(axis=0)
    probabilities = probabilities / probabilities.sum()
    mean = float(np.clip(probabilities @ centers, centers[0], centers[-1]))
    spread = float(np.sqrt(probabilities @ (centers - mean) ** 2))
    low, median, high = quantiles(probabilities, lower, width, (0.025, 0.5, 0.975))
    positive = probabilities[probabilities > 0]
    answered = _answered(
        mean,
        tuple(float(age) for age in member_probabilities @ centers),
        card,
        seen or Seen(),
        spread=(spread, (low, high)),
        edge_mass=float(max(probabilities[0], probabilities[-1])),
    )
    return replace(
        answered,
        median=median,
        mode=float(centers[int(np.argmax(probabilities))]),
        sd=spread,
        entropy=float(-(positive * np.log(positive)).sum()),
        bin_lower=lower,
        bin_width=width,
        probabilities=probabilities,
    )


def summarise_values(
    member_ages: Sequence[float] | np.ndarray, card: ModelCard, seen: Seen | None = None
) -> Prediction:
    """Describe the mean of the members' ages (years), which have no distribution.

    The same for whatever else the network predicts.

    Nothing is made up: interval and SD come from the card's calibration, or are missing.
    """
    ages = tuple(float(age) for age in member_ages)
    return _answered(float(np.mean(ages)), ages, card, seen or Seen(), spread=(None, None))


def _answered(
    mean: float,
    member_ages: tuple[float, ...],
    card: ModelCard,
    seen: Seen,
    *,
    spread: tuple[float | None, tuple[float, float] | None],
    edge_mass: float = 0.0,
) -> Prediction:
    """A prediction without its distribution; `spread` are SD and 95 % quantiles of it."""
    if card.main_head.name != AGE:
        return _of_no_age(mean, member_ages, card, seen)
    far: Distance | None = None
    if card.reference is not None:
        far = distance(seen.features, seen.encoder, mean, card.reference)
    value = None if far is None else far.value
    bounds = uncertainty.interval(mean, *spread, card.calibration, value)
    channels = tuple(seen.channel_ages.values())
    voices = (channels if len(channels) > 1 else ()) or seen.part_ages or member_ages
    return Prediction(
        mean=mean,
        findings=Findings(
            card=card,
            predicted=mean,
            edge_mass=edge_mass,
            disagreement=_spread(np.array(voices)),
            distance=far,
            stripped_source=seen.stripped,
            interval=bounds,
        ),
        sd_calibrated=uncertainty.calibrated_sd(spread[0], card.calibration, value),
        ci95_lower=None if bounds is None else bounds[0],
        ci95_upper=None if bounds is None else bounds[1],
        member_ages=member_ages,
        channel_ages=seen.channel_ages,
        n_tta=uncertainty.n_views(card.prediction),
    )


def _of_no_age(mean: float, members: tuple[float, ...], card: ModelCard, seen: Seen) -> Prediction:
    """A prediction of another quantity: what is checked about ages is not known of it."""
    bounds = uncertainty.interval(mean, None, None, _calibration(card, card.main_head.name))
    return Prediction(
        mean=mean,
        findings=Findings(card=card, predicted=None, stripped_source=seen.stripped),
        sd_calibrated=None,
        ci95_lower=None if bounds is None else bounds[0],
        ci95_upper=None if bounds is None else bounds[1],
        member_ages=members,
        channel_ages=seen.channel_ages,
        n_tta=uncertainty.n_views(card.prediction),
    )


def _calibration(card: ModelCard, target: str) -> Calibration:
    """How large errors of a head are that predicts another number than an age."""
    return card.calibration.get("targets", {}).get(target, Calibration())


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
    card: AgeCard,
    *,
    identity: Mapping[str, str | None],
    chronological_age: float | None,
    age_source: str,
    bias_correction: BiasCorrection | None,
    qc_flag: str,
    mask_doubt: str = "",
) -> dict[str, object]:
    """One row of ``*_brainage.tsv``; None where something is unknown.

    `identity` holds ``participant_id`` and, where the scan has them, ``session_id`` and ``run_id``;
    `age_source` is the file that the age (years) was read from, `qc_flag` the decision of the image
    quality control, `mask_doubt` says how brain mask and segmentation disagree.
    """
    age = chronological_age
    if age is not None and not math.isfinite(age):
        age = None
    if prediction.age is None:
        bias_correction = None
    # a correction without a spread, or none, says nothing about what is usual; the card may
    usual = bias_correction if bias_correction and bias_correction.residual_sd else None
    findings = replace(
        prediction.findings,
        age=age,
        correction=usual or card.bias_correction,
        mask_doubt=mask_doubt,
    )
    flags = raised(findings)
    row = {
        **_labels(identity),
        "model": card.name,
        "target": card.main_head.name,
        "chronological_age": age,
        "age_source": age_source,
        **_predicted(prediction),
        **_gaps(prediction.age, age, bias_correction),
        "bias_model": bias_correction.source if bias_correction else "none",
        "in_age_range": prediction.in_age_range and (age is None or in_range(age, card)),
        "training_distance": prediction.distance,
        "member_sd": findings.disagreement,
        "fast_age": findings.fast_age,
        "flags": catalogue.join([flag.key for flag in flags]),
        "flag_reasons": "; ".join(flag.reason for flag in flags) or None,
        "ood_flag": prediction.ood_flag,
        "qc_flag": qc_flag,
    }
    verdict = scan_verdict(row)
    return {
        **row,
        "verdict": verdict.level,
        "verdict_reasons": verdict.summary or None,
        "n_tta": prediction.n_tta,
    }


def _labels(identity: Mapping[str, str | None]) -> dict[str, str | None]:
    """Columns that name the scan."""
    return {
        "participant_id": identity["participant_id"],
        "session_id": identity.get("session_id"),
        "run_id": identity.get("run_id"),
    }


def _predicted(prediction: Prediction) -> dict[str, float | None]:
    """Columns of the predicted age; all None of a network that predicts none."""
    known = {
        "predicted_age": prediction.mean,
        "predicted_age_median": prediction.median,
        "predicted_age_mode": prediction.mode,
        "predicted_age_sd": prediction.sd_calibrated,
        "entropy": prediction.entropy,
        "ci95_lower": prediction.ci95_lower,
        "ci95_upper": prediction.ci95_upper,
    }
    return known if prediction.age is not None else dict.fromkeys(known)


def _gaps(
    predicted: float | None, age: float | None, correction: BiasCorrection | None
) -> dict[str, float | None]:
    if age is None or predicted is None:
        return {"gap": None, "gap_corrected": None, "gap_z": None}
    corrected = correct_gap(predicted, age, correction)
    known = correction is not None and corrected is not None and correction.residual_sd
    return {
        "gap": predicted - age,
        "gap_corrected": corrected,
        "gap_z": corrected / known if corrected is not None and known else None,
    }


def in_range(age: float, card: AgeCard) -> bool:
    """Whether an age (years) lies in the ages that the model was trained on."""
    return bool(card.age_range[0] <= age <= card.age_range[1])


def channel_table(prediction: Prediction, names: Sequence[str]) -> pd.DataFrame:
    """Rows of ``*_modalities.tsv``: one per channel of the model.

    The model's answer is the mean of those of the channels that are there, so that leaving one out
    gives the mean of the others exactly.
    """
    ages = prediction.channel_ages
    rows = []
    for name in names:
        others = [age for other, age in ages.items() if other != name]
        without = float(np.mean(others)) if name in ages and others else None
        rows.append(
            {
                "modality": name,
                "present": name in ages,
                "predicted_age": ages.get(name),
                "predicted_age_without": without,
                "delta_age": None if without is None else without - prediction.mean,
            }
        )
    return pd.DataFrame(rows)


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


def target_table(
    prediction: Prediction,
    card: ModelCard,
    *,
    identity: Mapping[str, str | None],
    truths: Mapping[str, str],
) -> pd.DataFrame:
    """Rows of ``*_predictions.tsv``: one for every number, and one for every class.

    Parameters
    ----------
    prediction : Prediction
        Of :func:`predict`.
    card : ModelCard
    identity : mapping
        As in :func:`prediction_row`.
    truths : mapping of str to str
        What is known of the person, by the names of heads.
    """
    rows = []
    for head in card.heads:
        answer, truth = prediction.answers[head.name], truths.get(head.name)
        classes = head.coding == "classes"
        for row in _class_rows(answer) if classes else [_number_row(prediction, answer, card)]:
            explained = head == card.main_head and row["class"] in (None, head.explained_class)
            known = {"true_value": truth, "explained": explained}
            rows.append({**_labels(identity), "model": card.name, **row, **known})
    return pd.DataFrame(rows)


def _class_rows(answer: Answer) -> list[dict[str, object]]:
    """Probabilities of the classes, in the order of the card."""
    mean = answer.probabilities.mean(axis=0)
    return [
        {
            "target": answer.head.name,
            "class": label,
            "value": float(mean[place]),
            "unit": "1",
            "member_sd": _spread(answer.probabilities[:, place]),
            "ci95_lower": None,
            "ci95_upper": None,
            "predicted": bool(place == mean.argmax()),
        }
        for place, label in enumerate(answer.head.classes)
    ]


def _number_row(prediction: Prediction, answer: Answer, card: ModelCard) -> dict[str, object]:
    """A number with its interval, where the card knows one."""
    head = answer.head
    value = float(answer.values.mean())
    bounds: tuple[float | None, float | None] = (prediction.ci95_lower, prediction.ci95_upper)
    if head.name == AGE:
        value = prediction.mean
    else:
        fitted = uncertainty.interval(value, None, None, _calibration(card, head.name))
        bounds = (None, None) if fitted is None else fitted
    return {
        "target": head.name,
        "class": None,
        "value": value,
        "unit": head.unit,
        "member_sd": _spread(answer.values),
        "ci95_lower": bounds[0],
        "ci95_upper": bounds[1],
        "predicted": None,
    }


def _spread(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
