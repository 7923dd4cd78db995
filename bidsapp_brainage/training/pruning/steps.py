"""From a trained ensemble to ever narrower ones, each measured on people left out."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.mixture import TINY, Mixture
from bidsapp_brainage.model.networks.regional import for_brain
from bidsapp_brainage.model.networks.sfcn import SFCN
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.model.specs import Architecture
from bidsapp_brainage.model.weights.files import save_weights
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.stats.accuracy import mae
from bidsapp_brainage.stats.intervals import Paired
from bidsapp_brainage.training.crossval import CrossValidation, gathered
from bidsapp_brainage.training.data.cohort import load_regions, load_volume
from bidsapp_brainage.training.data.pool import Pool
from bidsapp_brainage.training.decode import decode_table
from bidsapp_brainage.training.fitting.loop import Split, Start, Task, train_network
from bidsapp_brainage.training.fitting.losses import Objective, encode
from bidsapp_brainage.training.setup import FINE_TUNING

from .channels import (
    Batches,
    convolutional,
    measure_anew,
    most_important,
    narrowed,
    norms,
    taylor,
    widths,
    with_channels,
)

LOGGER = logging.getLogger(__name__)
BATCH = 8
N_BOOT = 2000
PASSES = 5  # of which the median time counts
SAME_YEARS = 0.1  # an error is that on the card if it differs by no more


@dataclass(frozen=True)
class Plan:
    """How far to prune, and how.

    Attributes
    ----------
    keep : float
        Part of the channels that is left after the last step, 0 to 1.
    steps : int
        The importance is computed anew in each.
    people : int
        At most so many of those that a network learned from tell what its channels matter.
    epochs : int
        Of learning after every step; 0: none.
    """

    keep: float
    steps: int
    people: int
    epochs: int

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if not 0 < self.keep < 1:
            raise ValueError(f"keep is between 0 and 1, not {self.keep}")
        if min(self.steps, self.people) < 1 or self.epochs < 0:
            raise ValueError("steps and people are 1 or more, epochs 0 or more")

    @property
    def parts(self) -> list[float]:
        """Part of the channels after every step; the first is the network as it was."""
        return [1 - (1 - self.keep) * step / self.steps for step in range(self.steps + 1)]


@dataclass(frozen=True)
class Pruning:
    """A trained ensemble, the people of its folds, and where results of steps are kept.

    ``run`` is the cross-validation that made the ensemble, with its recipe and in any folder.
    """

    card: ModelCard
    run: CrossValidation
    plan: Plan

    @cached_property
    def folder(self) -> Path:
        """Of this pruning: another one has another name."""
        files = [weight.path.read_bytes() for weight in self.card.weights]
        facts = json.dumps([repr(self.plan), self.run.cohort.people, self.run.recipe.choices()])
        digest = hashlib.sha256(b"".join([*files, facts.encode()])).hexdigest()[:12]
        return Path(self.run.folder) / f"pruning-{digest}"

    @cached_property
    def pool(self) -> Pool:
        """Scans to learn from; with copies only if networks learn."""
        return self.run.pool()

    @cached_property
    def targets(self) -> NDArray[np.float64]:
        """Of all scans."""
        return encode(self.run.cohort, heads(self.card.output))

    @cached_property
    def objective(self) -> Objective:
        """The loss that the networks learned by."""
        return Objective(heads(self.card.output), self.run.recipe, self.targets)

    @cached_property
    def part(self) -> int | None:
        """Place of what is pruned in a mixture."""
        return convolutional(self.card.architecture)[0]

    def learnt_from(self, fold: int) -> NDArray[np.intp]:
        """Scans outside of a fold."""
        return np.flatnonzero(self.run.folds != fold)

    def batches(self, fold: int) -> Batches:
        """Some of the real scans that the networks of a fold learned from, over all ages."""
        scans = self.learnt_from(fold)
        scans = scans[~self.run.cohort.simulated[scans]]
        scans = scans[np.argsort(self.run.balanced_by[scans], kind="stable")]
        count = min(len(scans), self.plan.people)
        chosen = scans[np.linspace(0, len(scans) - 1, count).round().astype(int)]
        for batch in np.array_split(chosen, -(-count // BATCH)):
            x = self.pool.batch(batch, np.zeros(len(batch), dtype=int))
            yield x, torch.from_numpy(self.targets[batch]).float()


def load_networks(pruning: Pruning) -> list[SFCN]:
    """What is pruned of every member.

    Raises
    ------
    DataError
        The card has not one member for every network of the cross-validation.
    """
    members = load_members(pruning.card)
    if len(members) != len(pruning.run.members):
        raise DataError(
            f"{pruning.card.name} has {len(members)} networks, these people and its recipe make "
            f"{len(pruning.run.members)}: give the people that it was trained on."
        )
    if pruning.part is not None:
        members = [m.parts[pruning.part] for m in members if isinstance(m, Mixture)]
    return [member for member in members if isinstance(member, SFCN)]


def prune(pruning: Pruning) -> tuple[pd.DataFrame, list[SFCN], pd.DataFrame]:
    """Take channels away step by step; what is finished is kept in ``pruning.folder``.

    Returns
    -------
    DataFrame
        The curve, a row per step; see :func:`_row`.
    list of SFCN
        The networks after the last step.
    DataFrame
        Their predictions of people left out; of
        :func:`bidsapp_brainage.training.crossval.cross_validate`.
    """
    networks, beside = load_networks(pruning), _Beside(pruning)
    total = sum(norm.num_features for norm in norms(networks[0]))
    rows, first, table = [], None, pd.DataFrame()
    for step, part in enumerate(pruning.plan.parts):
        if step:
            place = pruning.folder / f"step-{step}"
            networks = _narrower(pruning, networks, round(part * total), place)
        table, own = beside.tables(networks)
        if first is None:
            first = table
            _confirm(pruning, table)
        rows.append({"step": step, "keep": part, **_row(pruning, networks, (table, own, first))})
        LOGGER.info("%s", ", ".join(f"{name} {value}" for name, value in rows[-1].items()))
    return pd.DataFrame(rows), networks, table


def _confirm(pruning: Pruning, table: pd.DataFrame) -> None:
    """Make sure that people left out were left out: the error must be that on the card.

    Raises
    ------
    DataError
        It is another.
    """
    said = pruning.card.raw.get("metrics", {}).get("cross_validation", {}).get("mae")
    found = float((table["predicted_age"] - table["age"]).abs().mean())
    if said is None or not abs(found - said) <= SAME_YEARS:
        raise DataError(
            f"The networks of {pruning.card.name} have an error of {found:.2f} years in the people "
            f"that their folds leave out, and its card says {said}: give just the people that it "
            "was trained on, and the same `participants` table."
        )


def member_with(pruning: Pruning, member: torch.nn.Module, network: SFCN) -> torch.nn.Module:
    """A member of the ensemble with its pruned part."""
    if pruning.part is None:
        return network
    channels = [norm.num_features for norm in norms(network)]
    whole = build_network(with_channels(pruning.card.architecture, channels))
    assert isinstance(whole, Mixture)
    assert isinstance(member, Mixture)
    for place, part in enumerate(member.parts):
        new = network if place == pruning.part else part
        whole.parts[place].load_state_dict(new.state_dict())
    return whole.eval()


def _narrower(pruning: Pruning, networks: Sequence[SFCN], total: int, place: Path) -> list[SFCN]:
    """Networks with so many channels, read where they are finished."""
    paths = [place / f"member-{k + 1}.safetensors" for k in range(len(networks))]
    architecture = convolutional(pruning.card.architecture)[1]
    if paths[-1].is_file():
        return [_read(path, architecture) for path in paths]
    members = pruning.run.members
    importances = [
        taylor(network, pruning.batches(fold), pruning.objective)
        for network, (fold, _) in zip(networks, members, strict=True)
    ]
    counts = widths(importances, total)
    made = []
    for network, importance, path, member in zip(
        networks, importances, paths, members, strict=True
    ):
        kept = [most_important(part, n) for part, n in zip(importance, counts, strict=True)]
        narrow = narrowed(network, architecture, kept)
        measure_anew(narrow, pruning.batches(member[0]))
        if pruning.plan.epochs:
            narrow = _tuned(pruning, narrow, counts, member, path.with_suffix(""))
        made.append(narrow)
    for network, path in zip(made, paths, strict=True):
        save_weights(network, path)
    return made


def _read(path: Path, architecture: Architecture) -> SFCN:
    state = load_file(path)
    channels = [
        len(value)
        for name, value in state.items()
        if name.startswith("feature_extractor") and name.endswith(".1.running_mean")
    ]
    network = build_network(with_channels(architecture, channels))
    assert isinstance(network, SFCN)
    network.load_state_dict(state)
    return network.eval()


def _tuned(
    pruning: Pruning,
    network: SFCN,
    counts: Sequence[int],
    member: tuple[int, int],
    folder: Path,
) -> SFCN:
    """A little more learning, from the same people and in the same way."""
    recipe, (fold, seed) = pruning.run.recipe, member
    architecture = with_channels(convolutional(pruning.card.architecture)[1], counts)
    recipe = replace(
        recipe,
        card={**recipe.card, "architecture": architecture},
        epochs=pruning.plan.epochs,
        learning_rate=FINE_TUNING["learning_rate"],
        validation_fraction=0.0,
    )
    task = Task(
        pruning.pool, pruning.targets, pruning.objective, recipe, pruning.run.cohort.ages,
        start=Start(network.state_dict(), keep_head=True),
    )  # fmt: skip
    split = Split(pruning.learnt_from(fold), np.zeros(0, dtype=int))
    number = recipe.seed + fold + 1000 * seed
    tuned = train_network(task, split, folder=folder, seed=number)
    assert isinstance(tuned, SFCN)
    return tuned.requires_grad_(requires_grad=False)


class _Beside:
    """People left out: what the other parts of a mixture answer, which no pruning changes."""

    def __init__(self, pruning: Pruning) -> None:
        self._pruning = pruning
        self._members = load_members(pruning.card)
        self._answers: dict[int, torch.Tensor] = {}

    def tables(self, networks: Sequence[SFCN]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predictions of everybody by members that did not learn from them: whole, and part."""
        whole: list[pd.DataFrame] = []
        own: list[pd.DataFrame] = []
        run, parts = self._pruning.run, heads(self._pruning.card.output)
        for number, (network, (fold, _)) in enumerate(zip(networks, run.members, strict=True)):
            scans = np.flatnonzero(run.folds == fold)
            raw, mixed = self._outputs(number, network, scans)
            for tables, outputs in ((whole, mixed), (own, raw)):
                table = decode_table(outputs, parts)
                table.insert(0, "scan", scans)
                tables.append(table)
        return gathered(run, whole), gathered(run, own)

    def _outputs(
        self, number: int, network: SFCN, scans: NDArray[np.intp]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the pruned network of a member answers for scans, and what the member does."""
        cohort, spec = self._pruning.run.cohort, self._pruning.card.input
        part, member = self._pruning.part, self._members[number]
        first = number not in self._answers
        rows, others = [], []
        for scan in scans:
            path = cohort.paths[scan]
            volume = torch.from_numpy(load_volume(path, spec, prepared=cohort.prepared))[None, None]
            rows.append(_answer(network, volume))
            if first and part is not None and isinstance(member, Mixture):
                others.append(_others(member, part, volume, load_regions(path)))
        raw = torch.cat(rows)
        if part is None or not isinstance(member, Mixture):
            return raw, raw
        self._answers.setdefault(number, torch.cat(others) if others else raw)
        mean = member.shares[part] * torch.softmax(raw, dim=1) + self._answers[number]
        return raw, torch.log(mean + TINY)


def _answer(network: torch.nn.Module, volume: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.as_tensor(network(volume)).float()


def _others(
    member: Mixture, part: int, volume: torch.Tensor, regions: NDArray[np.integer] | None
) -> torch.Tensor:
    """Sum of the distributions of the other parts, each with its share."""
    total = torch.zeros(1)
    for place, (share, other) in enumerate(zip(member.shares, member.parts, strict=True)):
        if place != part:
            (bound,) = for_brain([other], regions)
            total = total + share * torch.softmax(_answer(bound, volume), dim=1)
    return total


def _row(
    pruning: Pruning,
    networks: Sequence[SFCN],
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> dict[str, object]:
    """A row of the curve.

    ``channels`` of the blocks, ``n_parameters``, ``megabytes`` of one network (float32),
    ``cpu_s`` of one pass of it on one thread; mean absolute errors (years) of people left out, of
    the whole model (``mae``) and of the pruned part alone (``mae_part``), with 95 % intervals, and
    the change of the former since the beginning in the same people.
    """
    table, own, first = tables
    network = networks[0]
    shape = tuple(pruning.card.shape)
    size = sum(value.numel() for value in network.parameters())
    row: dict[str, object] = {
        "channels": " ".join(str(norm.num_features) for norm in norms(network)),
        "n_parameters": size,
        "megabytes": 4e-6 * size,
        "cpu_s": cpu_seconds(lambda: _answer(network, torch.zeros(1, 1, *shape))),
    }
    people = table["participant_id"].to_numpy()
    age = table["age"].to_numpy(dtype=np.float64)
    for name, found in (("mae", table), ("mae_part", own)):
        predicted = found["predicted_age"].to_numpy(dtype=np.float64)
        lower, upper, _ = Paired.of(age, predicted, people).interval(mae, N_BOOT, 0)
        row |= {name: mae(age, predicted), f"{name}_lower": lower, f"{name}_upper": upper}
    errors = [
        np.abs(found["predicted_age"].to_numpy(dtype=np.float64) - age) for found in (first, table)
    ]
    lower, upper, _ = Paired.of(errors[0], errors[1], people).interval(_rise, N_BOOT, 0)
    return row | {"change": _rise(*errors), "change_lower": lower, "change_upper": upper}


def _rise(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    return float(after.mean() - before.mean())


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call, the median of a few."""
    times = []
    for _ in range(PASSES):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return float(np.median(times))
