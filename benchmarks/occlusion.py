"""Time atlas occlusion on this machine: processor seconds, medians over repetitions.

Usage: python benchmarks/occlusion.py [--model NAME] [--regions 100] [--repeats 5]

The volume is synthetic (a smooth ball of noise) and the regions are compact and of about equal
size; both make no difference to the time of full passes. The ratio to one forward pass is what
carries over to other machines.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np


def ball(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Return noise inside the largest ellipsoid of a grid and 0 around it, float32."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    noise = np.random.default_rng(seed).standard_normal(shape)
    return np.where(inside, noise, 0).astype(np.float32)


def compact_regions(volume: np.ndarray, n_regions: int, seed: int = 0) -> np.ndarray:
    """Label every voxel of the ball with the nearest of ``n_regions`` random centres."""
    from scipy.spatial import cKDTree

    voxels = np.argwhere(volume != 0)
    centres = np.random.default_rng(seed).choice(voxels, n_regions, replace=False)
    labels = np.zeros(volume.shape, dtype=np.int32)
    labels[tuple(voxels.T)] = cKDTree(centres).query(voxels)[1] + 1
    return labels


def median_cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median processor seconds of ``work``, after one run that warms up."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    """Print the table."""
    import torch

    from bidsapp_brainage.explain.occlusion import occlude
    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.model.loading import load_members
    from bidsapp_brainage.model.prediction import decoder, predict

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sfcn2mm")
    parser.add_argument("--regions", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()

    torch.set_num_threads(1)
    card = find_card(chosen.model)
    members = load_members(card)
    volume = ball(card.shape)
    labels = compact_regions(volume, chosen.regions)
    regions = range(1, chosen.regions + 1)

    def all_regions() -> object:
        return occlude(members, volume, labels, regions, decode=decoder(card))

    forward = median_cpu_seconds(lambda: predict(members, volume, card), chosen.repeats)
    occlusion = median_cpu_seconds(all_regions, chosen.repeats)
    print(f"model {card.name}, {len(members)} members, grid {card.shape}, one thread")
    print(f"forward pass        {forward:8.3f} CPU s")
    print(f"{chosen.regions:4d} regions        {occlusion:8.3f} CPU s")
    print(f"ratio               {occlusion / forward:8.1f} forward passes")


if __name__ == "__main__":
    main()
