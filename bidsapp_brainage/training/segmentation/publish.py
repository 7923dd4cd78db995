"""From a trained segmentation network to its card and weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from bidsapp_brainage.io import atomic_path, file_sha256, write_json
from bidsapp_brainage.segmentation.labels import muse_labels
from bidsapp_brainage.segmentation.network import SegmentationNet

from .evaluation import dice_table
from .fitting import Recipe
from .subjects import load_subject
from .synthesis import example, real_example


def fixed_facts() -> dict[str, Any]:
    """What a card says before any training."""
    text = files("bidsapp_brainage.training").joinpath("recipes/segmentation.json").read_text()
    return dict(json.loads(text))


def with_training(
    facts: Mapping[str, Any], recipe: Recipe, *, n: int, n_left_out: int
) -> dict[str, Any]:
    """The fixed facts, and on how many people and images it was trained."""
    training = facts["training"]
    text = training["text"].format(n=n, n_left_out=n_left_out, steps=recipe.steps)
    numbers = {"n_people": n, "n_left_out": n_left_out, "recipe": asdict(recipe)}
    return {**facts, "training": {**training, "text": text, **numbers}}


def trained_network(state: Path) -> SegmentationNet:
    """The network of a training, with the running mean of its weights, rounded as it is shipped."""
    network = SegmentationNet(muse_labels().n_classes)
    weights = torch.load(state, weights_only=True)["mean"]
    network.load_state_dict({name: value.half().float() for name, value in weights.items()})
    return network.eval()


def measured(network: SegmentationNet, people: list[Path], seed: int) -> pd.DataFrame:
    """Dice of people not learned from: their own images, and images of random contrast.

    Returns
    -------
    DataFrame
        Of :func:`.evaluation.dice_table`, with ``dice_contrasts`` (median over one random image
        of each person).
    """
    labels, rng = muse_labels(), np.random.default_rng(seed)
    subjects = [load_subject(path) for path in people]
    table = dice_table(network, (real_example(one, labels) for one in subjects), labels)
    random = dice_table(network, (example(one, labels, rng) for one in subjects), labels)
    table["dice_contrasts"] = random["dice"]
    return table


def mean_tissue(people: Iterable[Path]) -> np.ndarray:
    """Mean tissue units of the label maps of people, and of their mirror images.

    Returns
    -------
    ndarray of float32, shape (D, H, W)
        Fluid and what is outside count as 0.
    """
    labels = muse_labels()
    units = [
        np.maximum(labels.tissues, 0)[real_example(load_subject(path), labels).classes]
        for path in people
    ]
    mean = np.asarray(np.mean(units, axis=0, dtype=np.float32))
    return np.asarray((mean + mean[::-1]) / 2)


def publish(
    network: SegmentationNet,
    table: pd.DataFrame,
    mean: np.ndarray,
    facts: Mapping[str, Any],
    folder: Path,
) -> Path:
    """Write weights (float16), mean tissue and card.

    Parameters
    ----------
    network : SegmentationNet
        Trained.
    table : DataFrame
        Its accuracy, from :func:`measured`.
    mean : ndarray, shape (D, H, W)
        From :func:`mean_tissue`.
    facts : mapping
        Fixed parts of the card.
    folder : Path
        Where to.

    Returns
    -------
    Path
        Of the card, ``<name>.json``.
    """
    name = str(facts["name"])
    weights = folder / f"{name}.safetensors"
    tensors = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    with atomic_path(weights) as temporary:
        temporary.write_bytes(save(tensors))
    tissue = folder / f"{name}_tissue.nii.gz"
    _save_mean(mean, np.array(facts["input"]["affine"], dtype=float), tissue)
    card = {
        **facts,
        **{key: _file(path) for key, path in (("weights", weights), ("mean_tissue", tissue))},
        **_accuracy(table),
    }
    path = folder / f"{name}.json"
    write_json(path, card)
    return path


def _save_mean(mean: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """As one byte per voxel."""
    step = float(mean.max()) / 255
    image = nib.Nifti1Image(np.round(mean / step).astype(np.uint8), affine)
    image.header.set_slope_inter(step, 0)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": file_sha256(path), "size": path.stat().st_size}


def _accuracy(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Dice by the name of the region or tissue, where any of the people has it."""
    known = table[table["dice"].notna()]
    return {
        column: {
            str(name): round(float(value), 3)
            for name, value in zip(known["name"], known[column], strict=True)
        }
        for column in ("dice", "dice_contrasts")
    }
