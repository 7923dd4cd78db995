"""Augmented copies of all scans, made once: the dearest part of training on a CPU is shared.

Every copy belongs to one scan; a fold draws copies of its own training people only. Volumes are
stored as int8 (steps of 1/25 SD; background exactly 0), one file per scan, so that processes
share them through the page cache and an interrupted run keeps what it has made.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bidsapp_brainage.io import atomic_path
from bidsapp_brainage.training.augment import augment
from bidsapp_brainage.training.cohort import Cohort, load_volume
from bidsapp_brainage.training.recipe import Recipe

STEPS_PER_SD = 25.0
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """Original and augmented volumes.

    Attributes
    ----------
    volumes : sequence of ndarray of int8, each of shape (1 + copies, D, H, W)
        One per scan; index 0 of the first axis is the scan itself.
    """

    volumes: Sequence[np.ndarray]

    @property
    def copies(self) -> int:
        """Augmented copies per scan."""
        return len(self.volumes[0]) - 1

    def batch(self, scans: np.ndarray, copies: np.ndarray) -> torch.Tensor:
        """Volumes (N, 1, D, H, W), float32, for pairs of scan and copy."""
        chosen = [self.volumes[scan][copy] for scan, copy in zip(scans, copies, strict=True)]
        return torch.from_numpy(np.stack(chosen)).float()[:, None] / STEPS_PER_SD


def make_pool(cohort: Cohort, recipe: Recipe, folder: Path) -> Pool:
    """Make the copies that ``folder`` does not hold yet, and map all of them."""
    volumes = []
    for index, source in enumerate(cohort.paths):
        path = Path(folder) / "pool" / f"{_fingerprint(source, recipe)}.npy"
        if not path.is_file():
            with atomic_path(path) as temporary:
                np.save(temporary, _copies(source, recipe))
            LOGGER.info("copies of scan %d of %d made", index + 1, len(cohort))
        volumes.append(np.load(path, mmap_mode="r"))
    return Pool(volumes)


def _copies(source: Path, recipe: Recipe) -> np.ndarray:
    seed = int(hashlib.sha256(f"{recipe.seed} {source.name}".encode()).hexdigest()[:12], 16)
    generator = torch.Generator().manual_seed(seed)
    volume = load_volume(source, recipe.shape)
    result = np.empty((1 + recipe.copies, *volume.shape), dtype=np.int8)
    result[0] = _quantised(volume)
    original = torch.from_numpy(volume)[None, None]
    for copy in range(recipe.copies):
        changed = augment(original, recipe.augmentation, generator)
        result[1 + copy] = _quantised(changed[0, 0].numpy())
    return result


def _quantised(volume: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(volume * STEPS_PER_SD), -127, 127).astype(np.int8)


def _fingerprint(source: Path, recipe: Recipe) -> str:
    """Of everything that the copies depend on."""
    choices = [recipe.choices()["augmentation"], recipe.copies, recipe.seed, source.name]
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([choices, content]).encode()).hexdigest()[:16]
