"""Inputs of the interfaces that run a network."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp_brainage import io
from bidsapp_brainage.model.cards import ModelCard


def network(card: ModelCard, folder: Path) -> dict:
    volume = np.random.default_rng(0).normal(size=card.shape).astype(np.float32)
    path = folder / "volume.nii.gz"
    io.save_nifti(nib.Nifti1Image(volume, np.array(card.input["affine"])), path)
    return {
        "card": str(card.folder / f"{card.name}.json"),
        "weights": [str(weight.path) for weight in card.weights],
        "volume": str(path),
        "age": 40.0,
    }
