"""Occluding regions of one volume by propagating what changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.arithmetic import exact_arithmetic, reraise_unless_oom
from bidsapp_brainage.model.device import cpu_threads

from .full_pass import Activations, full_pass
from .graph import Network
from .planning.plan import OcclusionPlan
from .planning.tables import Chunk
from .propagation import Propagation
from .state import Fill, State
from .workspace import Workspace


class Run:
    """One volume, its full pass, and regions occluded from there.

    Parameters
    ----------
    plan : OcclusionPlan
    network : Network
        Of the plan's geometry; members of an ensemble have one run each.
    volume : Tensor
        ``(channels, *grid)``, converted to the network's dtype and device.

    Raises
    ------
    UsageError
        The plan belongs to a network of another geometry, or the volume has another shape.
    """

    def __init__(self, plan: OcclusionPlan, network: Network, volume: Tensor) -> None:
        if network.signature != plan.signature:
            raise UsageError("The plan was made for a network of another geometry.")
        self.plan = plan
        self.network = network
        self._workspace = Workspace()
        with exact_arithmetic(), self._threads(), torch.inference_mode():
            self._state = State(network, volume)

    @property
    def logits(self) -> tuple[Tensor, ...]:
        """What the network gives for the volume with all committed regions occluded, by head."""
        return tuple(part[0] for part in self._shaped(self._intact_rows(1), 1))

    def occlude(
        self,
        fill: float | Tensor = 0.0,
        regions: Sequence[int] | None = None,
        *,
        workers: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Tensor, ...]:
        """Occlude regions, each by itself.

        Parameters
        ----------
        fill : float or Tensor
            What occluded voxels hold: a constant, or a volume ``(channels, *grid)``.
        regions : sequence of int, optional
            Numbers in the plan; all of them when not given.
        workers : int
            Threads, each with a chunk of regions of its own. They do not change the results.
        progress : callable, optional
            Called with (regions done, regions in all).

        Returns
        -------
        tuple of Tensor
            For each head ``(regions, *shape of its logits)``, in the order of `regions`.
        """
        asked = list(range(len(self.plan))) if regions is None else [int(r) for r in regions]
        chosen = list(dict.fromkeys(asked))  # a region that is asked for twice is computed once
        place = {region: k for k, region in enumerate(chosen)}
        groups = [tuple(r for r in group if r in place) for group in self.plan.groups]
        groups = [group for group in groups if group]
        filled = Fill.of(fill, self.network)
        logits = self._intact_rows(len(chosen))
        done = len(chosen) - sum(len(group) for group in groups)
        lock = threading.Lock()

        def work(group: tuple[int, ...]) -> None:
            nonlocal done
            with torch.inference_mode():
                self._occlude_group(group, filled, logits, place)
            with lock:
                done += len(group)
                if progress is not None:
                    progress(done, len(chosen))

        with exact_arithmetic(), self._threads():
            with torch.inference_mode():
                self._state.prepare(filled)
            _for_each(work, groups, workers if self._on_cpu else 1)
        rows = [place[region] for region in asked]
        return tuple(part[rows] for part in self._shaped(logits, len(chosen)))

    def commit(self, region: int, fill: float | Tensor = 0.0) -> tuple[Tensor, ...]:
        """Occlude a region for good: later occlusions go on from there.

        Returns
        -------
        tuple of Tensor
            The logits with this region and all earlier ones occluded.
        """
        filled = Fill.of(fill, self.network)
        with exact_arithmetic(), self._threads(), torch.inference_mode():
            self._commit(region, filled)
        return self.logits

    def undo(self) -> None:
        """Take back the last :meth:`commit`, to the last bit."""
        with torch.inference_mode():
            self._state.undo()

    @property
    def _on_cpu(self) -> bool:
        return self.network.device.type == "cpu"

    def _threads(self) -> AbstractContextManager[None]:
        # One thread inside each operation: sums keep their order on any number of processors.
        return cpu_threads(1) if self._on_cpu else nullcontext()

    def _intact_rows(self, n: int) -> list[Tensor]:
        """Rows of each head, n times: (n, positions, channels)."""
        heads = [self._state.output(number) for number in self.network.outputs]
        return [rows.expand(n, *rows.shape).clone() for rows in heads]

    def _shaped(self, heads: Sequence[Tensor], n: int) -> tuple[Tensor, ...]:
        """Rows (n, positions, channels) of each head in the shape that the network gives."""
        return tuple(
            rows.transpose(1, 2).reshape(n, *shape)
            for rows, shape in zip(heads, self.network.output_shapes, strict=True)
        )

    def _occlude_group(
        self, group: tuple[int, ...], fill: Fill, logits: list[Tensor], place: dict[int, int]
    ) -> None:
        """Put the logits of some regions in their places; unchanged ones hold intact rows."""
        try:
            chunk = self.plan.chunk_on(group, self.network.device)
            changed = self._state.changed(chunk, self.plan.patches[group[0]], fill)
            if not changed:
                return
            values = self._occluded(chunk, fill).outputs
        except (MemoryError, RuntimeError) as error:
            reraise_unless_oom(error, len(group))
            half = len(group) // 2
            for part in (group[:half], group[half:]):
                self._occlude_group(part, fill, logits, place)
            return
        for head, number in enumerate(self.network.outputs):
            rows = values[number]
            assert rows is not None
            if not chunk.layers:
                logits[head][place[group[0]]] = rows
                continue
            table = chunk.layers[number]
            for k, region in enumerate(group):
                if region in changed:
                    own = slice(table.starts[k], table.starts[k + 1])
                    logits[head][place[region], table.positions[own].long()] = rows[own]

    def _occluded(self, chunk: Chunk, fill: Fill) -> Activations:
        """Changed rows of a chunk, or all rows where a full pass is quicker."""
        if chunk.layers:
            return self._propagate(chunk, fill)
        rows = self._state.occluded(self.plan.patches[chunk.regions[0]], fill)
        return full_pass(self.network, rows, keep=False)

    def _propagate(self, chunk: Chunk, fill: Fill, *, keep_sums: bool = False) -> Activations:
        return Propagation(self._state, chunk, fill, self._workspace, keep_sums=keep_sums).run()

    def _commit(self, region: int, fill: Fill) -> None:
        patch = self.plan.patches[region]
        if patch is None:
            self._state.commit_nothing()
            return
        chunk = self.plan.chunk_on((region,), self.network.device)
        if chunk.layers:
            self._state.prepare(fill)
            changed = self._propagate(chunk, fill, keep_sums=True)
            self._state.commit_rows(patch, fill, chunk, changed)
        else:
            self._state.commit_full_pass(patch, fill)


def _for_each(
    work: Callable[[tuple[int, ...]], None], groups: Sequence[tuple[int, ...]], workers: int
) -> None:
    if workers <= 1 or len(groups) <= 1:
        for group in groups:
            work(group)
        return
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in pool.map(work, groups):
            pass
