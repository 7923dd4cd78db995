"""Augmented copies of all scans, made once: the dearest part of training on a CPU is shared.

Every copy belongs to one scan; a fold draws copies of its own training people only. Volumes are
stored as int8 (steps of 1/25 of the SD inside the brain; one value stands for the background),
one file per scan, so that processes share them through the page cache and an interrupted run
keeps what it has made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bidsapp_brainage.io import atomic_path
from bidsapp_brainage.model.intensity import background_value, outside_value, scale_intensity
from bidsapp_brainage.model.specs import InputSpec, Intensity
from bidsapp_brainage.training.data.augment import atrophy, augment
from bidsapp_brainage.training.data.cohort import Cohort, load_volume
from bidsapp_brainage.training.recipe import Recipe

STEPS_PER_SD = 25.0
OUTSIDE = -128  # the int8 that stands for the background
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """Original and augmented volumes; one array per scan, whose first entry is the scan itself.

    ``volumes`` are int8 (1 + copies, D, H, W). ``levels`` are float32 (1 + copies, 4): mean and SD
    inside the brain and the value outside, in the card's scaling, and the years by which the age
    of a copy is raised.
    """

    volumes: Sequence[np.ndarray]
    levels: Sequence[np.ndarray]

    @property
    def copies(self) -> int:
        """Augmented copies per scan."""
        return len(self.volumes[0]) - 1

    def batch(self, scans: np.ndarray, copies: np.ndarray) -> torch.Tensor:
        """Volumes (N, 1, D, H, W), float32, for pairs of scan and copy."""
        pairs = list(zip(scans, copies, strict=True))
        stored = torch.from_numpy(np.stack([self.volumes[scan][copy] for scan, copy in pairs]))
        level = torch.from_numpy(np.stack([self.levels[scan][copy] for scan, copy in pairs]))
        mean, sd, background = (level[:, column, None, None, None] for column in range(3))
        values = stored.float() * (sd / STEPS_PER_SD) + mean
        return torch.where(stored == OUTSIDE, background, values)[:, None]

    def years(self, scans: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """Years to add to the ages of pairs of scan and copy, shape (N,)."""
        pairs = zip(scans, copies, strict=True)
        return np.array([self.levels[scan][copy][3] for scan, copy in pairs], dtype=float)


def make_pool(cohort: Cohort, recipe: Recipe, folder: Path, jobs: int = 1) -> Pool:
    """Make the copies that ``folder`` does not hold yet in its ``pool/``, and map all of them.

    ``jobs`` scans are made at a time, each in its own process.
    """
    paths = [
        Path(folder) / "pool" / f"{_fingerprint(source, recipe, cohort)}.npy"
        for source in cohort.paths
    ]
    wanted = [
        (source, path, recipe, cohort.prepared)
        for source, path in zip(cohort.paths, paths, strict=True)
        if not (path.is_file() and _beside(path).is_file())
    ]
    if jobs > 1 and len(wanted) > 1:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(jobs, context) as processes:
            _counted(processes.map(_make_copies, *zip(*wanted, strict=True)), len(wanted))
    else:
        _counted((_make_copies(*task) for task in wanted), len(wanted))
    return Pool(
        [np.load(path, mmap_mode="r") for path in paths], [np.load(_beside(path)) for path in paths]
    )


def _beside(path: Path) -> Path:
    return path.with_suffix(".levels.npy")


def _counted(made: Iterable[Path], total: int) -> None:
    for index, _ in enumerate(made, start=1):
        if index % 20 == 0 or index == total:
            LOGGER.info("copies of scan %d of %d made", index, total)


def _make_copies(source: Path, path: Path, recipe: Recipe, prepared: bool) -> Path:
    torch.set_num_threads(1)
    for final, content in zip(
        (_beside(path), path), _copies(source, recipe, prepared=prepared), strict=True
    ):
        with atomic_path(final) as temporary:
            np.save(temporary, content)
    return path


def _copies(source: Path, recipe: Recipe, *, prepared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Levels and int8 volumes of a scan and its copies."""
    seed = int(hashlib.sha256(f"{recipe.seed} {source.name}".encode()).hexdigest()[:12], 16)
    generator = torch.Generator().manual_seed(seed)
    spec = recipe.card["input"]
    volume = load_volume(source, spec, prepared=prepared)
    stripped = spec.get("skull_stripped", True)
    inside = volume != background_value(spec, volume) if stripped else np.ones(volume.shape, bool)
    bounds = recipe.augmentation
    if not stripped:
        bounds = dataclasses.replace(bounds, edge=0.0)  # a whole head has no mask to move
    stored = np.empty((1 + recipe.copies, *volume.shape), dtype=np.int8)
    levels = np.zeros((1 + recipe.copies, 4), dtype=np.float32)
    stored[0], levels[0, :2] = _quantised(volume, inside)
    levels[0, 2] = background_value(spec, volume)
    mean, sd = (float(level) for level in levels[0, :2])
    mask = torch.from_numpy(inside).float()[None, None]
    original = torch.from_numpy((volume - mean) / sd)[None, None] * mask
    for copy in range(1, 1 + recipe.copies):
        brain = original
        if bounds.atrophy:
            amount = float(2 * torch.rand(1, generator=generator) - 1)
            brain = atrophy(original, mask, bounds.atrophy * amount) * mask
            levels[copy, 3] = bounds.atrophy_years * amount
        changed = augment(brain, bounds, generator, mask=mask)[0, 0].numpy()
        inside = changed != 0
        # back to intensities as before z-scoring, then scaled as every input of this network is
        scaled = _scaled(changed * sd + mean, inside if stripped else None, spec)
        stored[copy], levels[copy, :2] = _quantised(scaled, inside)
        levels[copy, 2] = background_value(spec, scaled)
    return levels, stored


def _quantised(volume: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    values = volume[inside]
    mean, sd = float(values.mean()), max(float(values.std()), 1e-6)
    steps = np.clip(np.rint((volume - mean) * (STEPS_PER_SD / sd)), -127, 127).astype(np.int8)
    return np.where(inside, steps, np.int8(OUTSIDE)), (mean, sd)


def _scaled(volume: np.ndarray, inside: np.ndarray | None, spec: InputSpec) -> np.ndarray:
    intensity, background = spec["intensity"], outside_value(spec)
    if intensity.get("at") == "source":
        return volume  # its scaling looks at the image before cropping, which is not here
    if intensity["scaling"] == "tissue":
        # levels can be read wrongly in an image, so the copies' errors in them are left in
        kept: Intensity = {"scaling": "none", "clip": intensity.get("clip", [-np.inf, np.inf])}
        return scale_intensity(volume, inside, kept, background=background)
    return scale_intensity(volume, inside, intensity, background=background)


def _fingerprint(source: Path, recipe: Recipe, cohort: Cohort) -> str:
    """Of everything that the copies depend on."""
    choices = [recipe.choices()["augmentation"], recipe.copies, recipe.seed, source.name]
    choices += [recipe.card["input"], cohort.prepared]
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([choices, content]).encode()).hexdigest()[:16]
