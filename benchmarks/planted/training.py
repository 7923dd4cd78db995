"""Networks of one cell of the benchmark (anatomy, plant, seed), trained once and kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bidsapp_brainage import io

from .anatomies import SHAPE, Anatomy
from .networks import CHANNELS, LABEL_SD, LOWER, N_BINS, NETWORKS, WIDTH, Cohort, cohort, predicted
from .plants import Plant

N_TRAIN, N_TEST = 240, 40


@dataclass(frozen=True)
class Cell:
    """One thing to learn: a plant in an anatomy, with a seed of people and weights."""

    anatomy: Anatomy
    plant: Plant
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        words = "".join(c if c.isalnum() else " " for c in self.plant.name).split()
        return f"{self.anatomy.name}_{'-'.join(words)}_seed-{self.seed}"

    def learners(self) -> Cohort:
        """People to learn from."""
        return cohort(
            self.anatomy, self.plant, range(N_TRAIN), self.seed, progress(f"{self.name}: brains")
        )

    def held_out(self) -> Cohort:
        """People that no network has seen."""
        people = range(N_TRAIN, N_TRAIN + N_TEST)
        return cohort(self.anatomy, self.plant, people, self.seed, progress(f"{self.name}: people"))


def train(cell: Cell, folder: Path) -> None:
    """Train what is not there yet; weights and accuracy on held-out people are kept in `folder`."""
    todo = [name for name in NETWORKS if not _record(folder, name).is_file()]
    if not todo:
        return
    folder.mkdir(parents=True, exist_ok=True)
    learners, people = cell.learners(), cell.held_out()
    for name in todo:
        start = time.process_time()
        network = NETWORKS[name](learners, cell.seed, progress(f"{cell.name}: {name}"))
        ages = predicted(network, people)
        with io.atomic_path(_weights(folder, name)) as temporary:
            torch.save(network.state_dict(), temporary)
        io.write_json(_record(folder, name), {
            "r": float(np.corrcoef(ages, people.ages)[0, 1]),
            "mae": float(np.abs(ages - people.ages).mean()),
            "cpu_s": time.process_time() - start,
        })  # fmt: skip


def load(folder: Path, name: str) -> nn.Module:
    """A network that was trained."""
    from bidsapp_brainage.model.networks.linear import TissueLinear
    from bidsapp_brainage.model.networks.sfcn import SFCN

    network = (
        SFCN(CHANNELS, N_BINS, 0.2, stem_stride=2)
        if name == "convolutional"
        else TissueLinear(SHAPE, LOWER, WIDTH, N_BINS, label_sd=LABEL_SD)
    )
    network.load_state_dict(torch.load(_weights(folder, name), weights_only=True))
    return network.eval()


def accuracy(folder: Path, name: str) -> dict[str, float]:
    """On held-out people."""
    return dict(io.read_json(_record(folder, name)))


def progress(what: str) -> Callable[[int, int], None]:
    """A line on the terminal that counts."""

    def step(done: int, total: int) -> None:
        print(
            f"\r{what} {done}/{total}   ",
            end="" if done < total else "\n",
            file=sys.stderr,
            flush=True,
        )

    return step


def _weights(folder: Path, name: str) -> Path:
    return folder / f"{name}.pt"


def _record(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
