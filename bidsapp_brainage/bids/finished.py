"""Scans with a prediction: what is known of them, and the files that explain them again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import io
from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.collect import Companion, Scan
from bidsapp_brainage.bids.derivatives import Derivatives, Entities, scan_name
from bidsapp_brainage.bids.names import (
    image_key,
    input_key,
    output_path,
    resolution_label,
    sidecar_path,
)
from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.model.inputs.channels import T1W, modalities
from bidsapp_brainage.model.provenance import weights_sha256
from bidsapp_brainage.model.specs import needs_segmentation

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.settings import Selection

_AGAIN = (
    "run the participant level for this participant again with this version of the app (with the "
    "same work folder, what is there is not computed again)"
)


@dataclass(frozen=True)
class FinishedScan:
    """A scan with a prediction.

    Attributes
    ----------
    scan : Scan
        Whose path is that of the bias-corrected T1w.
    predicted : float
        What is explained, as it stands in the table: an age in years, or another quantity.
    ood_flag : str
        Out-of-distribution flag of the prediction.
    bias_correction : str
        What its sidecar says of the correction.
    t1w, volume, mask, affine, inverse : Path
        The T1w, what the network saw, the brain (or its regions) in it, the affine from there to
        the T1w, and the transform from the template to the T1w.
    """

    scan: Scan
    predicted: float
    ood_flag: str
    bias_correction: str
    t1w: Path
    volume: Path
    mask: Path
    affine: Path
    inverse: Path

    @property
    def reused_t1w(self) -> bool:
        """Whether the T1w came from other derivatives."""
        return _is_reused(self.t1w)

    @property
    def reused_warp(self) -> bool:
        """Whether the nonlinear transform came from other derivatives."""
        return _is_reused(self.inverse)


def _is_reused(path: Path) -> bool:
    """Whether the sidecar of a file names one of other derivatives."""
    sources = io.read_json(sidecar_path(path)).get("Sources")
    named = sources if isinstance(sources, list) else []
    return any(not str(source).startswith(("bids:raw:", "bids::")) for source in named)


@dataclass(frozen=True)
class Finished:
    """Scans to explain, in the order of their files; and why others cannot be, by their labels."""

    scans: tuple[FinishedScan, ...]
    refused: Mapping[str, str]


def find_finished(output_dir: Path, selection: Selection, card: ModelCard) -> Finished:
    """Find the scans that a model predicted the age of.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives.
    selection : Selection
        Participants, sessions and runs.
    card : ModelCard
        Of the model here: a prediction of other weights is refused.

    Raises
    ------
    NoInputError
        The model predicted for none of the wanted scans.
    """
    derivatives = Derivatives(
        output_dir,
        participants=selection.participant_label,
        sessions=selection.session_label,
        runs=selection.run_label,
    )
    tables = derivatives.select("brainage", model=card.name)
    if not tables:
        others = sorted({file.model for file in derivatives.select("brainage")})
        hint = f" There are predictions of {', '.join(others)}: give `model`." if others else ""
        raise NoInputError(
            f"{output_dir} has no prediction of model {card.name} for the wanted scans.{hint} "
            "The participant level makes them."
        )
    scans, refused = [], {}
    for table in tables:
        try:
            scans.append(_finished(output_dir, table.path, table.scan, card))
        except DataError as error:
            refused[scan_name(table.scan)] = str(error)
    found = {dict(table.scan)["sub"] for table in tables}
    for label in selection.participant_label:
        if label not in found:
            refused[f"sub-{label}"] = (
                f"There is no prediction of model {card.name}: run the participant level first."
            )
    return Finished(tuple(scans), refused)


def _finished(output_dir: Path, table: Path, entities: Entities, card: ModelCard) -> FinishedScan:
    """One scan.

    Raises
    ------
    DataError
        A file is missing, or the prediction is not of these weights.
    """
    row, facts = io.read_tsv(table).iloc[0], io.read_json(sidecar_path(table))
    _check_weights(facts.get("Model"), table, card)
    age = float(row["chronological_age"])
    predicted = _explained(row, output_dir, entities, card)
    if not math.isfinite(predicted):
        raise DataError(f"{table.name} has no predicted {card.main_head.name}: {_AGAIN}.")
    seen = _inputs(output_dir, entities, card)
    own, *others = seen or {T1W: Path()}
    files = _files(output_dir, entities, card, own)
    for path in files.values():
        if not path.is_file():
            raise DataError(f"{path.name} is missing: {_AGAIN}.")
    known = Age(age if math.isfinite(age) else None, str(row["age_source"]))
    relative = files["t1w"].relative_to(output_dir).as_posix()
    return FinishedScan(
        scan=Scan(
            files["t1w"],
            entities,
            known,
            relative_path=relative,
            modality=own,
            others=tuple(Companion(name, seen[name], seen[name].name) for name in others),
        ),
        predicted=predicted,
        ood_flag=str(row["ood_flag"]),
        bias_correction=str(facts.get("BiasCorrection") or "n/a"),
        **files,
    )


def _explained(row: pd.Series, output_dir: Path, entities: Entities, card: ModelCard) -> float:
    """The number that is explained, on the scale of the explanation; NaN where there is none."""
    if card.main_head.quantity.is_age:
        return float(row["predicted_age"])
    path = output_path(output_dir, "predictions", entities, model=card.name)
    rows = io.read_tsv(path) if path.is_file() else None
    if rows is None or not {"explained", "value"} <= set(rows):
        return math.nan
    known = rows.loc[rows["explained"].astype(str).str.lower() == "true", "value"]
    return card.main_head.explained_scale * float(known.iloc[0]) if len(known) == 1 else math.nan


def _space(card: ModelCard) -> dict[str, str]:
    """Entities of what the network saw."""
    resolution = resolution_label(float(card.input["resolution_mm"]))
    return {"space": card.input["template"], "res": resolution}


def _inputs(output_dir: Path, entities: Entities, card: ModelCard) -> dict[str, Path]:
    """What the network saw, by modality, as far as it is there."""
    space = _space(card)
    paths = {
        name: output_path(output_dir, input_key(name), entities, model=card.name, **space)
        for name in modalities(card.input)
    }
    return {name: path for name, path in paths.items() if path.is_file()}


def _files(output_dir: Path, entities: Entities, card: ModelCard, modality: str) -> dict[str, Path]:
    """What explaining a scan reads."""
    template, asks = card.input["template"], needs_segmentation(card.input)
    space = _space(card)
    to_template = {"from_": "T1w", "to": template, "mode": "image"}
    to_t1w = {"from_": template, "to": "T1w", "mode": "image"}

    def path(key: str, **labels: str) -> Path:
        return output_path(output_dir, key, entities, model=card.name, **labels)

    return {
        "t1w": path(image_key(modality)),
        "volume": path(input_key(modality), **space),
        "mask": path("input_regions" if asks else "input_mask", **space),
        "affine": path("input_affine" if asks else "affine", **to_template),
        "inverse": path("transform", **to_t1w),
    }


def _check_weights(model: object, table: Path, card: ModelCard) -> None:
    facts = model if isinstance(model, dict) else {}
    made, here = facts.get("WeightsSHA256"), weights_sha256(card)
    if made == here:
        return
    version = facts.get("Version", "unknown")
    raise DataError(
        f"{table.name} was predicted by {card.name} {version} with other weights (SHA-256 "
        f"{_shortened(made)}) than those of {card.name} {card.version} here "
        f"({_shortened(here)}): give the folder of that version with `models_dir`, or predict "
        "again."
    )


def _shortened(digests: object) -> str:
    known = [str(digest)[:8] for digest in digests] if isinstance(digests, list) else []
    return ", ".join(known) or "not recorded"
