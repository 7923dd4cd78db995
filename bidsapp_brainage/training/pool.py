"""Augmented copies of all scans, made once: the dearest part of training on a CPU is shared.

Every copy belongs to one scan; a fold draws copies of its own training people only. Volumes are
stored as int8 (steps of 1/25 SD; background exactly 0) in one file that processes map.
"""

from __future__ import annotations

import hashlib
import json
import logging
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
    volumes : ndarray of int8, shape (n_scans, 1 + copies, D, H, W)
        Index 0 of the second axis is the scan itself.
    """

    volumes: np.ndarray

    @property
    def copies(self) -> int:
        """Augmented copies per scan."""
        return int(self.volumes.shape[1]) - 1

    def batch(self, scans: np.ndarray, copies: np.ndarray) -> torch.Tensor:
        """Volumes (N, 1, D, H, W), float32, for pairs of scan and copy."""
        chosen = np.ascontiguousarray(self.volumes[scans, copies])
        return torch.from_numpy(chosen).float()[:, None] / STEPS_PER_SD


def make_pool(cohort: Cohort, recipe: Recipe, folder: Path) -> Pool:
    """Make the pool, or map the one that an earlier run left in ``folder``."""
    path = Path(folder) / f"pool-{_fingerprint(cohort, recipe)}.npy"
    if not path.is_file():
        shape = (len(cohort), 1 + recipe.copies, *recipe.shape)
        with atomic_path(path) as temporary:
            pool = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int8, shape=shape)
            for index, source in enumerate(cohort.paths):
                pool[index] = _copies(load_volume(source, recipe.shape), recipe, index)
                LOGGER.info("copies of scan %d of %d made", index + 1, len(cohort))
            pool.flush()
    return Pool(np.load(path, mmap_mode="r"))


def _copies(volume: np.ndarray, recipe: Recipe, index: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + index)
    result = np.empty((1 + recipe.copies, *volume.shape), dtype=np.int8)
    result[0] = _quantised(volume)
    source = torch.from_numpy(volume)[None, None]
    for copy in range(recipe.copies):
        changed = augment(source, recipe.augmentation, generator)
        result[1 + copy] = _quantised(changed[0, 0].numpy())
    return result


def _quantised(volume: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(volume * STEPS_PER_SD), -127, 127).astype(np.int8)


def _fingerprint(cohort: Cohort, recipe: Recipe) -> str:
    """Of everything that the pool depends on; file sizes stand for the scans' content."""
    facts = [
        recipe.choices()["augmentation"],
        recipe.copies,
        recipe.seed,
        recipe.shape,
        [
            (p, path.name, path.stat().st_size)
            for p, path in zip(cohort.people, cohort.paths, strict=True)
        ],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
