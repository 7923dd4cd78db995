"""People with an age predicted by a tiny network: what the participant level leaves of them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage import io
from bidsapp_brainage.bids.dataset import Origin, write_dataset_files
from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.imaging.transforms import write_affine, write_xfm
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.model.provenance import model_facts
from bidsapp_brainage.model.weights.loading import load_members
from tests.derivatives import prediction, write_table

TEMPLATE = "MNI152NLin2009aSym"
FORWARD = {"from_": "T1w", "to": TEMPLATE, "mode": "image"}
INVERSE = {"from_": TEMPLATE, "to": "T1w", "mode": "image"}
Entities = tuple[tuple[str, str], ...]


def path_of(root: Path, key: str, entities: Entities, **labels: str) -> Path:
    space = {"space": TEMPLATE, "res": "8"} if key in ("input", "input_mask") else {}
    return output_path(root, key, entities, model="tiny", **space, **labels)


def write_finished(root: Path, card: ModelCard, *scans: Entities) -> None:
    """Write what explaining needs: one ball of a brain for everybody, with noise of their own."""
    write_dataset_files(Origin(root.parent / "raw", root, "0123abcd"), model=card.name)
    for number, entities in enumerate(scans):
        _write_scan(root, card, entities, np.random.default_rng(number))


def _write_scan(root: Path, card: ModelCard, entities: Entities, rng: np.random.Generator) -> None:
    affine, inside = np.array(card.input["affine"]), ball(card.shape)
    volume = np.where(inside, rng.normal(size=card.shape), 0).astype(np.float32)
    head = np.where(inside, 100 + 10 * volume, 5).astype(np.float32)
    images = {"t1w_preproc": head, "input": volume, "input_mask": inside.astype(np.uint8)}
    for key, values in images.items():
        io.save_nifti(nib.Nifti1Image(values, affine), path_of(root, key, entities))
    write_affine(path_of(root, "affine", entities, **FORWARD), np.eye(4))
    write_xfm(path_of(root, "transform", entities, **INVERSE), affine=np.eye(4), inverse=True)
    predicted = predict(load_members(card), volume, card)
    own = {"model": card.name, "ood_flag": predicted.ood_flag}
    row = prediction(entities, 40.0, predicted.mean, 0.0, **own)
    facts = {"Model": model_facts(card), "BiasCorrection": "model"}
    write_table(root, "brainage", row, entities, model=card.name, facts=facts)


def ball(shape: tuple[int, ...]) -> np.ndarray:
    """A brain in the middle of a grid."""
    where = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    return np.asarray((where**2).sum(axis=0) < 36)


def write_atlas(folder: Path, card: ModelCard) -> Path:
    """Four quarters of the ball, on both sides; path of the image."""
    quarters = 1 + np.arange(card.shape[0])[:, None, None] // (card.shape[0] // 2)
    quarters = quarters + 2 * (np.arange(card.shape[1]) // (card.shape[1] // 2))[:, None]
    labels = np.where(ball(card.shape), quarters, 0).astype(np.int16)
    path = folder / f"tpl-{TEMPLATE}_atlas-Quarters_dseg.nii.gz"
    io.save_nifti(nib.Nifti1Image(labels, np.array(card.input["affine"])), path)
    regions = pd.DataFrame({
        "index": [1, 2, 3, 4],
        "name": ["back left", "back right", "front left", "front right"],
        "hemisphere": ["L", "R", "L", "R"],
    })  # fmt: skip
    io.write_tsv(folder / f"tpl-{TEMPLATE}_atlas-Quarters_dseg.tsv", regions)
    return path
