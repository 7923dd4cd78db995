"""An ensemble of networks, and two ways to predict for occluded volumes.

Propagated changes and full passes give the same numbers to rounding; :meth:`Ensemble.open` chooses.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidsapp_brainage.errors import UsageError

from .arithmetic import exact_arithmetic, reraise_unless_oom
from .baselines import Fill
from .engine import Network, OcclusionPlan, Run, UnsupportedNetworkError, trace
from .engine.geometry import Patch, flat_positions
from .engine.rewrites.stacking import stack, stacks
from .predictions import Decode, Predictions, Progress, ensemble_predictions

LOGGER = logging.getLogger("bidsapp_brainage")

EngineName: TypeAlias = Literal["auto", "incremental", "loop"]

#: Large enough to keep a GPU busy; not measured yet on one.
GPU_OPTIONS = {"chunk_regions": 64, "block_bytes": 256 << 20}
MAX_BATCH_CPU = 4  # a CPU gains nothing from larger batches
MAX_BATCH_CUDA = 64
MEMORY_FRACTION = 0.5


class _Undoable(Protocol):
    def undo(self) -> None: ...


_Part = TypeVar("_Part", bound=_Undoable)
_Answer = TypeVar("_Answer")


class Occluder(Protocol):
    """Predictions of an ensemble for one volume, and for the same volume with regions occluded."""

    @property
    def intact(self) -> Predictions:
        """One row: the prediction for the volume with all committed regions occluded."""

    def occlude(
        self,
        fill: Fill,
        regions: Sequence[int] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Predictions:
        """Occlude regions, each by itself; all of them unless `regions` are given."""

    def commit(self, region: int, fill: Fill) -> Predictions:
        """Occlude a region for good and return the new prediction; later occlusions add to it."""

    def undo(self) -> None:
        """Take back the last commit."""


@dataclass(frozen=True)
class Ensemble:
    """Networks whose predictions are averaged, made ready once to occlude regions of any volume.

    Attributes
    ----------
    members : tuple of torch.nn.Module
        Networks in eval mode, mapping (N, 1, D, H, W) to what `decode` takes.
    decode : callable
        From the logits of one member to probabilities and ages (from the model card:
        :func:`bidsapp_brainage.model.prediction.decoder`). Members are averaged as the prediction
        averages them: the mean of their distributions, whose mean is the mean of their ages.
    engine : {"auto", "incremental", "loop"}
        ``incremental`` propagates changes and refuses networks that are not local; ``loop`` runs
        a full pass for each region; ``auto`` takes the first where it can, and says in the log
        why when it cannot. They agree to rounding.
    device : str
        ``cpu`` or ``cuda[:N]``.
    batch_size : int, optional
        Regions that are computed together; chosen by the engine when not given, and halved when
        the memory does not suffice.
    n_threads : int
        Threads on a CPU; those of the incremental engine do not change the results.

    Raises
    ------
    UsageError
        No network, or a batch size below 1.
    """

    members: tuple[nn.Module, ...]
    decode: Decode
    engine: EngineName = "auto"
    device: str = "cpu"
    batch_size: int | None = None
    n_threads: int = 1
    # Plans fit all networks of one geometry; one lives as long as an occluder uses it.
    _plans: MutableMapping[str, OcclusionPlan] = field(
        default_factory=WeakValueDictionary, repr=False, compare=False
    )
    _traced: dict[tuple[int, ...], tuple[Network, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not self.members:
            raise UsageError("Occlusion needs at least one network.")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"The batch size must be at least 1, not {self.batch_size}.")

    def open(self, volume: NDArray[np.floating], regions: Sequence[Patch | None]) -> Occluder:
        """Prepare the occlusion of regions of one volume.

        Parameters
        ----------
        volume : ndarray, shape (D, H, W)
            Network input, exactly as the prediction saw it.
        regions : sequence of Patch or None
            From :func:`~.engine.planning.plan.label_patches`; None for empty regions.

        Raises
        ------
        UnsupportedNetworkError
            With ``engine="incremental"``, naming the module that is not local.
        """
        networks = self.networks(volume.shape)
        if not networks:
            return FullPasses(
                self.members, volume, regions,
                decode=self.decode, device=self.device, batch_size=self.batch_size,
            )  # fmt: skip
        runs = [
            Run(self._plan(network, regions), network, torch.as_tensor(volume.copy())[None])
            for network in networks
        ]
        return Incremental(runs, decode=self.decode, n_threads=self.n_threads)

    def networks(self, shape: tuple[int, ...]) -> tuple[Network, ...]:
        """The members as the incremental engine takes them, stacked; none where it cannot."""
        if shape not in self._traced:
            self._traced[shape] = ()
            try:
                if self.engine != "loop":
                    self._traced[shape] = _stacked(
                        [trace(member, (1, *shape), device=self.device) for member in self.members]
                    )
            except UnsupportedNetworkError as error:
                if self.engine == "incremental":
                    raise
                LOGGER.warning("Occlusion takes one forward pass for each region: %s", error)
        return self._traced[shape]

    def _plan(self, network: Network, regions: Sequence[Patch | None]) -> OcclusionPlan:
        options: dict[str, Any] = (
            dict(GPU_OPTIONS) if torch.device(self.device).type != "cpu" else {}
        )
        if self.batch_size is not None:
            options["chunk_regions"] = self.batch_size
        key = f"{network.signature} {options} {_fingerprint(regions)}"
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = OcclusionPlan(network, regions, **options)
        return plan


def _stacked(networks: Sequence[Network]) -> tuple[Network, ...]:
    """Networks in the order of the members, as one where their geometry is the same."""
    if stacks(networks):
        return (stack(networks),)
    return tuple(stack([network]) for network in networks)


def _fingerprint(regions: Sequence[Patch | None]) -> str:
    digest = hashlib.sha256()
    for region in regions:
        digest.update(
            b"none" if region is None else repr((region.origin, region.box.shape)).encode()
        )
        digest.update(b"" if region is None else np.packbits(region.box).tobytes())
    return digest.hexdigest()


class Incremental:
    """Changes are propagated; members of one geometry are one network.

    The first head of each run has an axis of members.
    """

    def __init__(self, runs: Sequence[Run], *, decode: Decode, n_threads: int = 1) -> None:
        self._runs = runs
        self._decode = decode
        self._n_threads = n_threads

    @property
    def intact(self) -> Predictions:
        """The prediction for the volume with all committed regions occluded."""
        return self._predictions([run.logits[0][None] for run in self._runs])

    def occlude(
        self,
        fill: Fill,
        regions: Sequence[int] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Predictions:
        """See :class:`Occluder`."""
        logits = []
        for number, run in enumerate(self._runs):
            step = None if progress is None else _share(progress, number, len(self._runs))
            heads = run.occlude(_tensor(fill), regions, workers=self._n_threads, progress=step)
            logits.append(heads[0])
        return self._predictions(logits)

    def commit(self, region: int, fill: Fill) -> Predictions:
        """See :class:`Occluder`."""
        found = _all_or_none(self._runs, lambda run, _: run.commit(region, _tensor(fill)))
        return self._predictions([heads[0][None] for heads in found])

    def undo(self) -> None:
        """See :class:`Occluder`."""
        for run in self._runs:
            run.undo()

    def _predictions(self, logits: Sequence[Tensor]) -> Predictions:
        """From logits (n, members, ...) of each run."""
        return ensemble_predictions(
            self._decode, [member for part in logits for member in part.unbind(1)]
        )


def _all_or_none(parts: Sequence[_Part], commit: Callable[[_Part, int], _Answer]) -> list[_Answer]:
    """Commit in all parts; if one cannot, in none, because they must agree on what is occluded."""
    found: list[_Answer] = []
    try:
        for number, part in enumerate(parts):
            found.append(commit(part, number))
    except Exception:
        for part in parts[: len(found)]:
            part.undo()
        raise
    return found


def _share(progress: Progress, member: int, n_members: int) -> Progress:
    """Count regions over all members, so that the numbers rise once from start to end."""

    def step(done: int, total: int) -> None:
        progress((member * total + done) // n_members, total)

    return step


def _tensor(fill: Fill) -> float | Tensor:
    if isinstance(fill, np.ndarray):
        return torch.as_tensor(np.ascontiguousarray(fill))[None]
    return float(fill)


class Together:
    """Branches that each see a channel of their own, and answer with their mean.

    A region is occluded in all of them, each with its own engine; because the mean of the branches
    is the model's answer, this is exact, and so is occlusion in one of them alone.

    Parameters
    ----------
    parts : mapping of str to Occluder
        By the name of the channel, all of the same regions.
    """

    def __init__(self, parts: Mapping[str, Occluder]) -> None:
        self._parts = dict(parts)

    @property
    def intact(self) -> Predictions:
        """The prediction for the volumes with all committed regions occluded."""
        return Predictions.mean_of([part.intact for part in self._parts.values()])

    def occlude(
        self,
        fill: Fill,
        regions: Sequence[int] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Predictions:
        """See :class:`Occluder`; `fill` is a constant, or has an axis of channels first."""
        found = []
        for number, part in enumerate(self._parts.values()):
            step = None if progress is None else _share(progress, number, len(self._parts))
            found.append(part.occlude(_of_channel(fill, number), regions, progress=step))
        return Predictions.mean_of(found)

    def alone(self, channel: str, fill: Fill, regions: Sequence[int]) -> Predictions:
        """Occlude regions in one channel; the others stay as they are."""
        return Predictions.mean_of(
            [
                part.occlude(_of_channel(fill, number), regions) if name == channel else part.intact
                for number, (name, part) in enumerate(self._parts.items())
            ]
        )

    def commit(self, region: int, fill: Fill) -> Predictions:
        """See :class:`Occluder`."""
        found = _all_or_none(
            tuple(self._parts.values()),
            lambda part, number: part.commit(region, _of_channel(fill, number)),
        )
        return Predictions.mean_of(found)

    def undo(self) -> None:
        """See :class:`Occluder`."""
        for part in self._parts.values():
            part.undo()


def _of_channel(fill: Fill, number: int) -> Fill:
    return fill[number] if isinstance(fill, np.ndarray) and fill.ndim > 3 else fill


class FullPasses:
    """One forward pass per occluded volume, several volumes at a time; for any network."""

    def __init__(
        self,
        members: Sequence[nn.Module],
        volume: NDArray[np.floating],
        regions: Sequence[Patch | None],
        *,
        decode: Decode,
        device: str = "cpu",
        batch_size: int | None = None,
    ) -> None:
        members = [copy.deepcopy(member).to(torch.device(device)).eval() for member in members]
        parameter = next(iter(members[0].parameters()), torch.empty(0, device=device))
        # Convolutions of few channels are quicker on a CPU with the channels innermost.
        on_cpu = parameter.device.type == "cpu" and volume.ndim == 3
        if on_cpu:
            form = torch.channels_last_3d
            members = [m.to(memory_format=form) for m in members]  # type: ignore[call-overload]
        self._members = members
        self._decode = decode
        self._batch_size = batch_size
        self._input = torch.as_tensor(volume.copy(), dtype=parameter.dtype, device=parameter.device)
        self._voxels = [
            None if patch is None
            else torch.as_tensor(
                flat_positions(patch.coordinates(), volume.shape), device=parameter.device
            )
            for patch in regions
        ]  # fmt: skip
        self._log: list[tuple[Tensor, Predictions]] = []
        self._bytes_per_volume, self._intact = self._first_pass()

    @property
    def intact(self) -> Predictions:
        """The prediction for the volume with all committed regions occluded."""
        return self._intact

    def occlude(
        self,
        fill: Fill,
        regions: Sequence[int] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Predictions:
        """See :class:`Occluder`."""
        chosen = list(range(len(self._voxels))) if regions is None else list(regions)
        filled = self._filled(fill)
        predictions = (
            Predictions.joined([self._intact] * len(chosen)) if chosen else self._intact.rows(0, 0)
        )
        todo = [k for k, region in enumerate(chosen) if self._changes(region, filled)]
        size = self._batch_size or self._automatic_batch_size()
        while todo:
            batch = todo[:size]
            try:
                with exact_arithmetic(), torch.inference_mode():
                    occluded = self._pass([chosen[k] for k in batch], filled)
            except (RuntimeError, MemoryError) as error:
                reraise_unless_oom(error, len(batch))
                size = len(batch) // 2
                continue
            predictions.put(batch, occluded)
            todo = todo[size:]
            if progress is not None:
                progress(len(chosen) - len(todo), len(chosen))
        return predictions

    def commit(self, region: int, fill: Fill) -> Predictions:
        """See :class:`Occluder`."""
        with exact_arithmetic(), torch.inference_mode():
            occluded = self._occluded(region, self._filled(fill))
            prediction = self._predictions(occluded[None, None])
        self._log.append((self._input, self._intact))
        self._input, self._intact = occluded, prediction
        return prediction

    def undo(self) -> None:
        """See :class:`Occluder`."""
        if not self._log:
            raise UsageError("Nothing was committed.")
        self._input, self._intact = self._log.pop()

    def _filled(self, fill: Fill) -> Tensor:
        values = torch.as_tensor(fill, dtype=self._input.dtype, device=self._input.device)
        return values.expand(self._input.shape).reshape(-1)

    def _changes(self, region: int, fill: Tensor) -> bool:
        where = self._voxels[region]
        return where is not None and not torch.equal(self._input.reshape(-1)[where], fill[where])

    def _occluded(self, region: int, fill: Tensor) -> Tensor:
        where, volume = self._voxels[region], self._input.clone()
        if where is not None:
            volume.view(-1)[where] = fill[where]
        return volume

    def _pass(self, regions: Sequence[int], fill: Tensor) -> Predictions:
        return self._predictions(torch.stack([self._occluded(r, fill) for r in regions])[:, None])

    def _predictions(self, batch: Tensor) -> Predictions:
        # Members get their own copy: an in-place first layer must not change the next one's input.
        return ensemble_predictions(
            self._decode, [member(batch.clone()) for member in self._members]
        )

    def _first_pass(self) -> tuple[int, Predictions]:
        largest = 0

        def watch(_module: nn.Module, _inputs: object, output: object) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size())

        with ExitStack() as stack:
            stack.enter_context(exact_arithmetic())
            stack.enter_context(torch.inference_mode())
            for part in self._members[0].modules():
                stack.callback(part.register_forward_hook(watch).remove)
            intact = self._predictions(self._input[None, None])
        # Input, output and workspace of the largest layer live at the same time.
        return 3 * max(largest, self._input.numel() * self._input.element_size()), intact

    def _automatic_batch_size(self) -> int:
        if self._input.device.type == "cuda":
            free, most = torch.cuda.mem_get_info(self._input.device)[0], MAX_BATCH_CUDA
        else:
            free, most = _free_memory(), MAX_BATCH_CPU
        return int(np.clip(MEMORY_FRACTION * free / self._bytes_per_volume, 1, most))


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
