"""A tiny model with untrained weights, for tests of anything that needs a model card.

Other test modules use it so: ``from tests.model.tiny import make_card``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.cards import ModelCard, load_card
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.training.setup import read_recipe

SHAPE = (20, 24, 20)
RESOLUTION = 8.0


def card_dict(*, shape: tuple[int, int, int] = SHAPE, resolution: float = RESOLUTION) -> dict:
    """A valid card without weights, on a grid centred in MNI space."""
    origin = [-(n - 1) * resolution / 2 + c for n, c in zip(shape, (0, -18, 10), strict=True)]
    affine: list[list[float]] = [[0.0] * 4 for _ in range(4)]
    for axis in range(3):
        affine[axis][axis] = resolution
        affine[axis][3] = origin[axis]
    affine[3][3] = 1.0
    return {
        "schema_version": 1,
        "name": "tiny",
        "version": "0.0.1",
        "description": "Untrained; for tests.",
        "architecture": {
            "id": "sfcn",
            "parameters": {"channels": [4, 4, 4], "n_bins": 37, "dropout": 0.0},
        },
        "weights": [],
        "input": {
            "template": "MNI152NLin2009aSym",
            "registration": "affine",
            "skull_stripped": True,
            "orientation": "RAS",
            "resolution_mm": resolution,
            "shape": list(shape),
            "affine": affine,
            "intensity": {"scaling": "brain_zscore", "clip": [-5, 5]},
            "background": 0.0,
        },
        "output": {"coding": "bins", "lower": 14.0, "width": 2.0, "n_bins": 37, "unit": "year"},
        "age_range": [20.0, 82.0],
        "training": {},
        "metrics": {},
        "bias_correction": {
            "slope": 0.8,
            "intercept": 10.0,
            "residual_sd": 5.0,
            "source": "test",
            "n": 10,
        },
        "calibration": {"sd_scale": 0.5},
        "licence": "CC0",
        "citation": [],
    }


def make_card(
    folder: Path,
    *,
    members: int = 2,
    seed: int = 0,
    shape: tuple[int, int, int] = SHAPE,
    resolution: float = RESOLUTION,
    **changes: Any,
) -> ModelCard:
    """Write ``tiny.json`` with random weights into ``folder``; ``changes`` replace fields."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = card_dict(shape=shape, resolution=resolution)
    raw.update(changes)
    for index in range(members):
        torch.manual_seed(seed + index)
        network = build_network(raw["architecture"]).eval()
        path = folder / f"{raw['name']}_fold-{index + 1}.safetensors"
        save_file(network.state_dict(), path)
        raw["weights"].append(
            {
                "file": path.name,
                "sha256": file_sha256(path),
                "size": path.stat().st_size,
                "url": None,
            }
        )
    path = folder / f"{raw['name']}.json"
    path.write_text(json.dumps(raw))
    return load_card(path)


SEX = {"coding": "classes", "classes": ["F", "M"]}
BMI = {"coding": "scalar", "scale": 4.0, "offset": 25.0, "unit": "kg/m2"}


def make_targets_card(folder: Path) -> ModelCard:
    """A card that predicts an age over bins, the sex and a calibrated BMI."""
    bmi = {"method": "conformal_constant", "half_width95": 9.5, "n": 30}
    return make_card(
        folder,
        name="tinytargets",
        output={"heads": {"age": card_dict()["output"], "sex": SEX, "bmi": BMI}},
        architecture={"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 40}},
        calibration={"sd_scale": 0.5, "targets": {"bmi": bmi}},
    )


def make_class_card(folder: Path, **changes: Any) -> ModelCard:
    """A card that predicts a diagnosis and nothing else."""
    classes = ["AD", "CN", "MCI"]
    head = {"coding": "classes", "classes": classes, "explained": "AD"}
    parts = {
        "name": "tinyclass",
        "output": {"heads": {"diagnosis": head}},
        "architecture": {"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 3}},
        "bias_correction": None,
        "calibration": {},
    }
    return make_card(folder, **(parts | changes))


#: Grid and regions of a model of raw images.
HEAD_SHAPE, HEAD_REGIONS = (
    (24, 32, 24),
    {"fluid": [1, 51, 52], "grey": [182, 183], "white": [81, 82]},
)


def make_raw_card(folder: Path, **changes: Any) -> ModelCard:
    """A card of a model that sees raw images."""
    bins = {name: card_dict()["output"][name] for name in ("lower", "width", "n_bins")}
    affine = card_dict(shape=HEAD_SHAPE)["input"]["affine"]
    parts = {
        "name": "tinyraw",
        "architecture": {
            "id": "headvolumes",
            "parameters": {"regions": HEAD_REGIONS, **bins, "channels": [2, 4, 4], "hidden": 4},
        },
        "input": {
            "template": "T1w",
            "registration": "none",
            "skull_stripped": False,
            "orientation": "RAS",
            "resolution_mm": RESOLUTION,
            "shape": list(HEAD_SHAPE),
            "affine": affine,
            "intensity": {"scaling": "head", "clip": [0.0, 1.6]},
            "background": 0.0,
        },
    }
    return make_card(folder, **(parts | changes))


def make_quick_card(folder: Path, **changes: Any) -> ModelCard:
    """A card of a model that sees raw images through a coarse affine and a segmentation."""
    recipe = read_recipe("fast2mm").card
    kept = {name: recipe[name] for name in ("architecture", "input", "output")}
    return make_card(folder, **({"name": "tinyquick"} | kept | changes))
