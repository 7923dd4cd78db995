"""A tiny segmentation network with random weights, and one that knows the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from bidsapp_brainage import io
from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.segmentation.card import SegmentationCard, load_segmentation_card
from bidsapp_brainage.segmentation.network import SegmentationNet

#: A cube of 192 mm about the origin, in voxels of 8 mm.
SHAPE, SIZE = (24, 24, 24), 8.0
AFFINE = [[8.0, 0, 0, -92.0], [0, 8.0, 0, -92.0], [0, 0, 8.0, -92.0], [0, 0, 0, 1.0]]
ARCHITECTURE = {"n_classes": 6, "channels": [2, 3], "hidden": 4}
REGIONS = pd.DataFrame(
    [
        (4, "3rdVentricle", None, "CSF", 4),
        (47, "Hippocampus_R", "R", "GM", 48),
        (48, "Hippocampus_L", "L", "GM", 47),
        (81, "Frontal_WM_R", "R", "WM", 82),
        (82, "Frontal_WM_L", "L", "WM", 81),
    ],
    columns=["index", "name", "hemisphere", "tissue", "mirror"],
)


def ball() -> np.ndarray:
    """Classes (D, H, W) of a ball in the middle: fluid within white within grey matter."""
    places = nib.affines.apply_affine(np.array(AFFINE), np.indices(SHAPE).reshape(3, -1).T)
    radius = np.linalg.norm(places, axis=1).reshape(SHAPE)
    right = places[:, 0].reshape(SHAPE) > 0
    return np.select(
        [radius < 16, radius < 44, radius < 64], [1, np.where(right, 4, 5), np.where(right, 2, 3)]
    )


def stated(path: Path) -> dict[str, Any]:
    """What a card says of a file."""
    return {"file": path.name, "sha256": file_sha256(path), "size": path.stat().st_size}


def make_segmentation(folder: Path, **changes: Any) -> SegmentationCard:
    """Write ``tiny`` with random weights into a folder; `changes` replace fields of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    io.write_tsv(folder / "regions.tsv", REGIONS)
    torch.manual_seed(0)
    network = SegmentationNet(**ARCHITECTURE)
    weights = folder / "tiny.safetensors"
    save_file({name: value.half() for name, value in network.state_dict().items()}, weights)
    tissue = folder / "tiny_tissue.nii.gz"
    units = np.array([0, 0, 1, 1, 2, 2], dtype=np.uint8)[ball()]
    nib.save(nib.Nifti1Image(units, np.array(AFFINE)), tissue)
    raw = {
        "schema_version": 1,
        "name": "tiny",
        "version": "0.0.1",
        "description": "Untrained; for tests.",
        "architecture": ARCHITECTURE,
        "classes": "regions.tsv",
        "weights": stated(weights),
        "mean_tissue": stated(tissue),
        "input": {
            "template": "MNI152NLin2009aSym",
            "resolution_mm": SIZE,
            "shape": list(SHAPE),
            "affine": AFFINE,
        },
        "licence": "CC0",
        "citation_keys": ["synthseg"],
        "training": {"text": "It was not trained."},
        "dice": {"Hippocampus_R": 0.5},
    }
    path = folder / "tiny.json"
    path.write_text(json.dumps({**raw, **changes}))
    return load_segmentation_card(path)


class Oracle(SegmentationNet):
    """A network that is told the class of every voxel (D, H, W), and is sure of it."""

    def __init__(self, classes: np.ndarray, n_classes: int = 6, sure: float = 20.0) -> None:
        super().__init__(n_classes, hidden=n_classes)
        self.answer = torch.from_numpy(classes).long()
        self.classes.weight.data = sure * torch.eye(n_classes)
        self.classes.bias.data.zero_()

    def hidden(self, x: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
        here = self.answer[tuple(voxels.T)]
        return nn.functional.one_hot(here, self.classes.out_features).float()
