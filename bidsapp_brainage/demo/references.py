"""Reference images for the self-test, made at run time from what the app brings along.

Coarse on purpose: they show whether an installation computes what it should, in little time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bidsapp_brainage import io
from bidsapp_brainage.demo.known_answers import N_SEARCHED, Answer
from bidsapp_brainage.demo.sample import Person, Scan, write_sample
from bidsapp_brainage.errors import DataError, ResourceError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bidsapp_brainage.model.cards import ModelCard

_VOXEL = (2.0, 2.0, 2.0)  # mm
_YOUNGER, _OLDER = 30.0, 70.0  # years
IMAGES = {"template": "90", "younger": "91", "older": "92"}
"""Participant label of each reference image: nilearn's template, and two synthetic heads."""

_PEOPLE = (
    Person(IMAGES["younger"], "F", (Scan(_YOUNGER, _YOUNGER, _VOXEL, "LAS", tilt=(4, -3, 5)),)),
    Person(IMAGES["older"], "M", (Scan(_OLDER, _OLDER, _VOXEL, "PSR", tilt=(-6, 3, 4)),)),
)
OPTIONS = ("--null-parcels", "0", "--occlusion-baseline", "background", "--skip-bids-validation")
"""Of the participant level on the reference images: what the self-test does not look at, is not
computed."""


def write_references(folder: Path) -> Path:
    """Write the reference images as a BIDS dataset (a few seconds); the same bytes each time."""
    from nilearn import datasets

    template = Person(IMAGES["template"], "F", (replace(_PEOPLE[0].scans[0], age=None),))
    write_sample(folder, people=_PEOPLE, others=(template,))
    image = datasets.load_mni152_template(resolution=2)
    voxels = np.rint(np.clip(image.get_fdata(), 0, None) * 400).astype(np.int16)
    stem = f"sub-{template.label}"
    io.save_nifti(type(image)(voxels, image.affine), folder / stem / "anat" / f"{stem}_T1w.nii.gz")
    return folder


def read_answers(output: Path, model: str) -> dict[str, Answer]:
    """What a run on the reference images said, by their names.

    Parameters
    ----------
    output : Path
        Derivatives of the run.
    model : str
        Name of the model.

    Raises
    ------
    DataError
        A table is missing.
    """
    from bidsapp_brainage.bids.derivatives import Derivatives

    found = Derivatives(output)
    answers = {}
    for name, label in IMAGES.items():
        scan = (("sub", label),)
        tables = [
            found.rows(file)
            for key in ("brainage", "table")
            for file in found.select(key, scan=scan, model=model)
        ]
        if len(tables) != 2 or tables[0] is None or tables[1] is None:
            raise DataError(f"{output} lacks the tables of sub-{label}: {found.problems}")
        row, regions = tables[0].iloc[0], tables[1]
        volumes = [found.rows(file) for file in found.select("volumes", scan=scan)]
        order = regions["abs_delta_age"].fillna(0).sort_values(ascending=False, kind="stable")
        answers[name] = Answer(
            float(row["predicted_age"]),
            _interval(row["ci95_lower"], row["ci95_upper"]),
            tuple(regions.loc[order.index[:N_SEARCHED], "name"]),
            _totals(volumes[0] if volumes else None),
        )
    return answers


def _totals(volumes: pd.DataFrame | None) -> dict[str, float]:
    """Volumes (ml) of the whole brain and its tissues; empty without segmentation."""
    if volumes is None:
        return {}
    totals = volumes[volumes["kind"] == "total"]
    return {str(row["name"]): float(row["volume_ml"]) for _, row in totals.iterrows()}


def prepared_answer(card: ModelCard, device: str) -> Answer:
    """What the model says of the prepared input, on a torch device."""
    from bidsapp_brainage.model.networks.regional import for_brain
    from bidsapp_brainage.model.prediction import predict
    from bidsapp_brainage.model.weights.loading import load_members

    volume, regions = prepared_input(card)
    members = for_brain(load_members(card, device), regions)
    predicted = predict(members, volume, card, device=device)
    return Answer(predicted.mean, _interval(predicted.ci95_lower, predicted.ci95_upper))


def _interval(lower: float | None, upper: float | None) -> tuple[float, float] | None:
    if lower is None or upper is None or not np.isfinite([lower, upper]).all():
        return None
    return float(lower), float(upper)


def check_without_weights(card: ModelCard) -> str:
    """What can be said of a model whose weights are not here: its card and its network.

    Raises
    ------
    ResourceError
        The network has another number of parameters than the card says.
    """
    from bidsapp_brainage.model.networks import build_network

    if card.architecture["id"] == "onnx":
        return f"{card.name}: its card is valid; nothing else can be tested without its weights."
    network = build_network(card.architecture)
    count = sum(parameter.numel() for parameter in network.parameters())
    stated = card.architecture.get("n_parameters", count)
    if count != stated:
        raise ResourceError(
            f"Model card {card.name}, architecture.n_parameters: {stated}, but the network has "
            f"{count}."
        )
    return (
        f"{card.name}: its card is valid and its network has the {count} parameters of the card; "
        "nothing else can be tested without its weights."
    )


def prepared_input(card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """The template as a network's input with its mask.

    It is made without registration and brain extraction, by the card's own scaling; where the card
    asks for tissue from a segmentation, that is run.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    volume : ndarray of float32, shape of the card's input
    mask : ndarray of int16, same shape
        Brain mask, or regions where the model sees a segmentation.
    """
    import nibabel as nib
    from nilearn import datasets

    from bidsapp_brainage.segmentation import prepare

    template = datasets.load_mni152_template(resolution=1)
    brain = np.asarray(template.dataobj, dtype=np.float32)
    affine = np.asarray(template.affine, dtype=float)
    mask = nib.Nifti1Image((brain > 0).astype(np.uint8), affine)
    volume, inside = prepare.prepared_input(
        nib.Nifti1Image(brain, affine), mask, np.eye(4), card.input, n_threads=1
    )
    return np.asarray(volume.dataobj, dtype=np.float32), np.asarray(inside.dataobj).astype(np.int16)
