"""Seconds per augmented volume: ours, and torchio's nearest transforms where it is installed.

Run ``python benchmarks/augmentation.py``.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import torch

from bidsapp_brainage.training.data.augment import augment
from bidsapp_brainage.training.recipe import Augmentation

SHAPE = (80, 96, 80)
REPEATS = 8


def seconds(change: Callable[[], object]) -> float:
    change()
    started = time.perf_counter()
    for _ in range(REPEATS):
        change()
    return (time.perf_counter() - started) / REPEATS


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    volume = torch.zeros(1, 1, *SHAPE)
    volume[:, :, 10:70, 10:86, 10:70] = torch.randn(1, 1, 60, 76, 60, generator=generator)
    own = seconds(lambda: augment(volume, Augmentation(), generator))
    print(f"bidsapp_brainage  {own:.2f} s per volume of {SHAPE}, one thread")
    if importlib.util.find_spec("torchio") is None:
        print("torchio           not installed")
        return
    import torchio as tio

    subject = tio.ExplanationInput(image=tio.ScalarImage(tensor=volume[0]))
    change = tio.Compose(
        [
            tio.RandomAffine(scales=0.03, degrees=5, translation=1.5),
            tio.RandomElasticDeformation(num_control_points=6, max_displacement=2),
            tio.RandomBlur(),
            tio.RandomBiasField(),
            tio.RandomGamma(),
            tio.RandomNoise(),
            tio.RandomFlip(0),
        ]
    )
    print(f"torchio           {seconds(lambda: change(subject)):.2f} s")


if __name__ == "__main__":
    main()
