"""Occlude every region of an atlas and measure what happens to the predicted age.

:func:`occlude` is the only contract: one row per region, whatever computes it inside.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidsapp_brainage.errors import BrainageError, UsageError
from bidsapp_brainage.explain.baselines import make_fill

Decode: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Logits (N, n_bins) of one network -> (probabilities (N, n_bins), mean ages (N,) in years)."""
Progress: TypeAlias = Callable[[int, int], None]
"""Called with (regions done, regions in all) after every batch."""

MAX_BATCH_CPU = 4  # a CPU gains nothing from larger batches
MAX_BATCH_CUDA = 64
MEMORY_FRACTION = 0.5
COLUMNS = ("index", "n_voxels", "delta_age", "delta_entropy", "js_divergence")


def occlude(  # noqa: PLR0913 - the one contract that all engines share
    members: Sequence[nn.Module],
    volume: NDArray[np.floating],
    labels: NDArray[np.integer],
    indices: Sequence[int],
    *,
    decode: Decode,
    baseline: str | NDArray[np.floating] = "background",
    background: float = 0.0,
    batch_size: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Replace each region by a fill and report the change of the predicted age.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        Networks of the ensemble, in eval mode, mapping (N, 1, D, H, W) to logits (N, n_bins).
    volume : ndarray, shape (D, H, W)
        Network input, exactly as the prediction saw it.
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel on the same grid.
    indices : sequence of int
        Regions to report, in this order; regions without voxels get a row as well.
    decode : callable
        Turns the logits of one member into probabilities and mean ages (from the model card:
        ``bidsapp_brainage.model.prediction.decoder``). Members are averaged as the prediction
        averages them: the mean of their distributions, whose mean is the mean of their ages.
    baseline : {"background", "mean", "blur"} or ndarray of shape (D, H, W)
        What the region is replaced by; see :func:`bidsapp_brainage.explain.baselines.make_fill`.
    background : float
        Intensity of non-brain voxels.
    batch_size : int, optional
        Occluded volumes per forward pass; chosen from the free memory when not given. It is
        halved when the memory does not suffice, and it does not change the results.
    device : str
        ``cpu`` or ``cuda[:N]``.
    progress : callable, optional
        Called with (regions done, regions in all).

    Returns
    -------
    DataFrame
        Columns ``index``, ``n_voxels``, ``delta_age`` (years, occluded minus intact),
        ``delta_entropy`` (nats, occluded minus intact) and ``js_divergence`` (nats, between the
        two age distributions); NaN for regions without voxels. ``attrs`` holds
        ``baseline_age`` (years, of the intact volume).

    Raises
    ------
    UsageError
        If shapes differ, the batch size is not positive, or a baseline name is unknown.
    BrainageError
        If a single occluded volume does not fit into memory.

    Notes
    -----
    Source of the method: network occlusion sensitivity analysis (Abrol et al. 2021, Nature
    Communications 12:353; He et al. 2025, Human Brain Mapping 46:e70239). TensorFloat-32 is off.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"The batch size must be at least 1, not {batch_size}.")
    fill = make_fill(volume, labels, indices, baseline=baseline, background=background)
    regions = _region_voxels(labels, indices)
    with _exact_arithmetic(), torch.inference_mode():
        engine = _FullPasses(members, volume, fill, decode, torch.device(device))
        answers = engine.run(regions, batch_size, progress)
    return _effects(indices, regions, engine.intact, answers)


@dataclass(frozen=True)
class _Answer:
    """The ensemble's answer to one volume: distribution (n_bins,) and age in years."""

    probabilities: NDArray[np.float64]
    age: float


class _FullPasses:
    """One forward pass per occluded volume, several volumes at a time."""

    def __init__(
        self,
        members: Sequence[nn.Module],
        volume: NDArray[np.floating],
        fill: NDArray[np.float32],
        decode: Decode,
        device: torch.device,
    ) -> None:
        if not members:
            raise UsageError("Occlusion needs at least one network.")
        dtype = next(iter(members[0].parameters()), torch.empty(0)).dtype
        self._members = [_on_device(member, device) for member in members]
        self._decode = decode
        self._input = torch.as_tensor(volume.copy(), dtype=dtype, device=device)
        self._fill = torch.as_tensor(fill, dtype=dtype, device=device).reshape(-1)
        self._bytes_per_volume, self.intact = self._intact_pass()

    def run(
        self,
        regions: Sequence[NDArray[np.int64]],
        batch_size: int | None,
        progress: Progress | None,
    ) -> list[_Answer | None]:
        """Return one answer per region in order, ``None`` for regions without voxels."""
        answers: list[_Answer | None] = [None] * len(regions)
        size = batch_size or self._automatic_batch_size()
        todo: list[int] = []
        for number, voxels in enumerate(regions):
            if self._changes_nothing(voxels):
                answers[number] = self.intact if voxels.size else None
            else:
                todo.append(number)
        while todo:
            batch = todo[:size]
            try:
                found = self._occluded_pass([regions[number] for number in batch])
            except (RuntimeError, MemoryError) as error:
                size = _smaller_batch(error, len(batch))
                continue
            for number, answer in zip(batch, found, strict=True):
                answers[number] = answer
            todo = todo[size:]
            if progress is not None:
                progress(len(regions) - len(todo), len(regions))
        return answers

    def _changes_nothing(self, voxels: NDArray[np.int64]) -> bool:
        where = torch.as_tensor(voxels, device=self._fill.device)
        return bool(torch.equal(self._input.reshape(-1)[where], self._fill[where]))

    def _intact_pass(self) -> tuple[int, _Answer]:
        largest = 0

        def watch(_module: nn.Module, _inputs: object, output: object) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size())

        with contextlib.ExitStack() as hooks:
            for part in self._members[0].modules():
                hooks.callback(part.register_forward_hook(watch).remove)
            answer = self._answers(self._input[None, None])[0]
        # Input, output and workspace of the largest layer live at the same time.
        return 3 * max(largest, self._input.numel() * self._input.element_size()), answer

    def _occluded_pass(self, regions: Sequence[NDArray[np.int64]]) -> list[_Answer]:
        batch = self._input.reshape(1, -1).repeat(len(regions), 1)
        for row, voxels in zip(batch, regions, strict=True):
            where = torch.as_tensor(voxels, device=batch.device)
            row[where] = self._fill[where]
        return self._answers(batch.reshape(-1, 1, *self._input.shape))

    def _answers(self, batch: Tensor) -> list[_Answer]:
        # Members get their own copy: an in-place first layer must not change the next one's input.
        several = len(self._members) > 1
        decoded = [
            self._decode(member(batch.clone() if several else batch)) for member in self._members
        ]
        probabilities = torch.stack([part.double() for part, _ in decoded]).mean(dim=0)
        ages = torch.stack([part.double() for _, part in decoded]).mean(dim=0)
        rows = probabilities.cpu().numpy()
        return [_Answer(row, float(age)) for row, age in zip(rows, ages.cpu(), strict=True)]

    def _automatic_batch_size(self) -> int:
        if self._input.device.type == "cuda":
            free, most = torch.cuda.mem_get_info(self._input.device)[0], MAX_BATCH_CUDA
        else:
            free, most = _free_memory(), MAX_BATCH_CPU
        return int(np.clip(MEMORY_FRACTION * free / self._bytes_per_volume, 1, most))


def _on_device(member: nn.Module, device: torch.device) -> nn.Module:
    """A copy of the network for this computation; the caller's stays as it is."""
    copied = copy.deepcopy(member).to(device).eval()
    # Convolutions of few channels run 1.7 times as fast on a CPU with the channels innermost.
    return copied.to(memory_format=torch.channels_last_3d) if device.type == "cpu" else copied


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _smaller_batch(error: Exception, batch_size: int) -> int:
    """Half the batch if the error says that memory ran out; otherwise raise it again."""
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not short and "allocate memory" not in str(error):
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if batch_size == 1:
        raise BrainageError(
            "Not enough memory to occlude a single region at a time; "
            "free memory, raise the job's memory limit, or use --device cpu."
        ) from error
    return batch_size // 2


@contextlib.contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """Full float32 precision and deterministic kernels, for the duration."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _region_voxels(labels: NDArray[np.integer], indices: Sequence[int]) -> list[NDArray[np.int64]]:
    """Flat voxel numbers of each region, in the order of ``indices``."""
    flat = np.asarray(labels).reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.searchsorted(ordered, indices, side="left")
    stops = np.searchsorted(ordered, indices, side="right")
    return [order[start:stop] for start, stop in zip(starts, stops, strict=True)]


def _effects(
    indices: Sequence[int],
    regions: Sequence[NDArray[np.int64]],
    intact: _Answer,
    answers: Sequence[_Answer | None],
) -> pd.DataFrame:
    rows = []
    for index, voxels, answer in zip(indices, regions, answers, strict=True):
        changes = (np.nan, np.nan, np.nan) if answer is None else _changes(intact, answer)
        rows.append((int(index), voxels.size, *changes))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame.attrs["baseline_age"] = intact.age
    return frame


def _changes(intact: _Answer, occluded: _Answer) -> tuple[float, float, float]:
    before, after = intact.probabilities, occluded.probabilities
    middle = (before + after) / 2
    divergence = _entropy(middle) - (_entropy(before) + _entropy(after)) / 2
    return (
        occluded.age - intact.age,
        _entropy(after) - _entropy(before),
        max(divergence, 0.0),  # rounding must not make it negative
    )


def _entropy(probabilities: NDArray[np.float64]) -> float:
    from scipy.special import entr

    return float(entr(probabilities).sum())
