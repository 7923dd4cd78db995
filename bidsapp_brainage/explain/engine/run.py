"""Occluding regions of one volume by propagating what changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.arithmetic import exact_arithmetic, one_thread, reraise_unless_oom

from .full_pass import Activations, finish, full_pass, pad_for_stems, stem_padding, stem_rows
from .geometry import flat_positions
from .graph import Kind, Layer, Network, Operation
from .plan import OcclusionPlan
from .tables import Chunk, LayerTable, Lookup, StemPatches

STEM_PATCHES = 4096


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
        self._input = _rows(volume, network).clone()
        self._padding = stem_padding(network)
        self._local = threading.local()
        self._log: list[_Change] = []
        with exact_arithmetic(), self._threads(), torch.inference_mode():
            self._base = full_pass(network, self._input)

    @property
    def answers(self) -> tuple[Tensor, ...]:
        """The network's answer for the volume with all committed regions, one for each head."""
        return tuple(
            result.transpose(1, 2).reshape(shape)
            for result, shape in zip(
                (self._base_answers(1, number) for number in self.network.outputs),
                self.network.output_shapes,
                strict=True,
            )
        )

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
            For each head ``(regions, *shape of the answer)``, in the order of `regions`.
        """
        asked = list(range(len(self.plan))) if regions is None else [int(r) for r in regions]
        chosen = list(dict.fromkeys(asked))  # a region that is asked for twice is computed once
        place = {region: k for k, region in enumerate(chosen)}
        groups = [tuple(r for r in group if r in place) for group in self.plan.groups]
        groups = [group for group in groups if group]
        filled = _Fill.of(fill, self.network)
        results = [self._base_answers(len(chosen), number) for number in self.network.outputs]
        done = len(chosen) - sum(len(group) for group in groups)
        lock = threading.Lock()

        def work(group: tuple[int, ...]) -> None:
            nonlocal done
            with torch.inference_mode():
                self._occlude_group(group, filled, results, place)
            with lock:
                done += len(group)
                if progress is not None:
                    progress(done, len(chosen))

        with exact_arithmetic(), self._threads():
            _for_each(work, groups, workers if self._on_cpu else 1)
        rows = [place[region] for region in asked]
        return tuple(
            result.transpose(1, 2).reshape(len(chosen), *shape)[rows]
            for result, shape in zip(results, self.network.output_shapes, strict=True)
        )

    def commit(self, region: int, fill: float | Tensor = 0.0) -> tuple[Tensor, ...]:
        """Occlude a region for good: later occlusions go on from there.

        Returns
        -------
        tuple of Tensor
            The answers with this region and all earlier ones occluded.
        """
        filled = _Fill.of(fill, self.network)
        with exact_arithmetic(), self._threads(), torch.inference_mode():
            self._log.append(self._committed(region, filled))
        return self.answers

    def undo(self) -> None:
        """Take back the last :meth:`commit`, to the last bit."""
        if not self._log:
            raise UsageError("Nothing was committed.")
        with torch.inference_mode():
            self._log.pop().revert()

    @property
    def n_committed(self) -> int:
        """Commits that can be undone."""
        return len(self._log)

    # -- regions -----------------------------------------------------------------------------

    @property
    def _on_cpu(self) -> bool:
        return self.network.device.type == "cpu"

    def _threads(self) -> AbstractContextManager[None]:
        return one_thread() if self._on_cpu else nullcontext()

    def _occlude_group(
        self,
        group: tuple[int, ...],
        fill: _Fill,
        results: list[Tensor],
        place: dict[int, int],
    ) -> None:
        try:
            chunk = self.plan.chunk_on(group, self.network.device)
            changed = self._changed(chunk, fill)
            if not changed:
                return
            if not chunk.layers:
                self._dense_group(group[0], fill, results, place)
                return
            values = self._propagate(chunk, fill).outputs
        except (MemoryError, RuntimeError) as error:
            reraise_unless_oom(error, len(group))
            half = len(group) // 2
            for part in (group[:half], group[half:]):
                self._occlude_group(part, fill, results, place)
            return
        for head, number in enumerate(self.network.outputs):
            table, rows = chunk.layers[number], values[number]
            assert rows is not None
            for k, region in enumerate(group):
                if region in changed:
                    mine = slice(table.starts[k], table.starts[k + 1])
                    results[head][place[region], table.positions[mine].long()] = rows[mine]

    def _changed(self, chunk: Chunk, fill: _Fill) -> set[int]:
        """Regions in which the fill differs from the volume; the others change nothing."""
        if chunk.layers:
            table = chunk.layers[0]
            where, starts = table.positions, table.starts
        else:
            where = self._voxels(chunk.regions[0])
            starts = (0, len(where))
        differs = (self._input.index_select(0, where) != fill.at(where)).any(dim=1)
        # One answer for all regions: asking a GPU about each would wait for it each time.
        before = F.pad(differs.cumsum(0), (1, 0)).cpu().numpy()
        counts = np.diff(before[list(starts)])
        return {r for r, n in zip(chunk.regions, counts.tolist(), strict=True) if n}

    def _voxels(self, region: int, *, padded: bool = False) -> Tensor:
        """Flat positions of a region in the input, or in the padded input."""
        patch = self.plan.patches[region]
        assert patch is not None
        places, grid = patch.coordinates(), self.network.shape[1:]
        if padded:
            places = places + np.asarray(self._padding)
            grid = tuple(n + 2 * p for n, p in zip(grid, self._padding, strict=True))
        return torch.from_numpy(flat_positions(places, grid)).to(self.network.device)

    def _dense_group(
        self, region: int, fill: _Fill, results: list[Tensor], place: dict[int, int]
    ) -> None:
        base = full_pass(self.network, self._occluded_input(region, fill), keep=False)
        for head, number in enumerate(self.network.outputs):
            results[head][place[region]] = base.outputs[number]

    def _occluded_input(self, region: int, fill: _Fill) -> Tensor:
        where = self._voxels(region)
        rows = self._input.clone()
        rows[where] = fill.at(where)
        return rows

    def _base_answers(self, n: int, number: int) -> Tensor:
        rows = self._base.outputs[number]
        assert rows is not None
        return rows.expand(n, *rows.shape).clone()

    # -- layers ------------------------------------------------------------------------------

    def _propagate(self, chunk: Chunk, fill: _Fill) -> Activations:
        """Changed rows of every layer; sums as well where the baseline has them."""
        outputs: list[Tensor | None] = []
        sums: list[Tensor | None] = []
        deltas: dict[int, Tensor] = {}
        tables = chunk.layers
        for number, layer in enumerate(self.network.layers):
            operation, table = self.network.operations[number], tables[number]
            total = None
            match layer.kind:
                case Kind.INPUT:
                    rows = self._filled(table, fill) if layer.kept else None
                case Kind.STEM:
                    rows = self._stem(layer, operation, table, fill)
                case Kind.CONV | Kind.MEAN:
                    total = self._sums(number, table, outputs, tables, deltas)
                    rows = finish(layer, operation, total)
                case _:
                    rows = self._looked_up(number, table, outputs)
            outputs.append(rows)
            sums.append(total)
        return Activations(outputs, sums, None)

    def _filled(self, table: LayerTable, fill: _Fill) -> Tensor:
        if fill.rows is not None:
            return fill.rows.index_select(0, table.positions)
        return self._input.new_full((table.n_rows, self._input.shape[1]), fill.constant)

    def _stem(self, layer: Layer, operation: Operation, table: LayerTable, fill: _Fill) -> Tensor:
        out = self._input.new_empty(table.n_rows, layer.channels)
        for k, stem in enumerate(table.stems):
            if stem is not None:
                mine = out[table.starts[k] : table.starts[k + 1]]
                self._stem_region(layer, operation, stem, fill, mine)
        return out

    def _stem_region(
        self,
        layer: Layer,
        operation: Operation,
        stem: StemPatches,
        fill: _Fill,
        out: Tensor,
    ) -> None:
        assert self._base.padded is not None
        # The padded input has the widest padding of all stems.
        extra = [w - p for w, p in zip(self._padding, layer.window.padding, strict=True)]
        window = tuple(
            slice(a + e, b + e) for a, b, e in zip(stem.low, stem.high, extra, strict=True)
        )
        seen = self._base.padded[window]
        if fill.padded is not None:
            flat = torch.where(stem.mask, fill.padded[window], seen).reshape(-1)
        else:
            flat = seen.masked_fill(stem.mask, fill.constant).reshape(-1)
        for first in range(0, len(stem.corners), STEM_PATCHES):
            corners = stem.corners[first : first + STEM_PATCHES]
            places = (corners[:, None] + stem.offsets).reshape(-1)
            patches = flat.index_select(0, places).view(len(corners), -1)
            out[first : first + STEM_PATCHES] = stem_rows(layer, operation, patches)

    def _sums(
        self,
        number: int,
        table: LayerTable,
        outputs: Sequence[Tensor | None],
        tables: Sequence[LayerTable],
        deltas: dict[int, Tensor],
    ) -> Tensor:
        """Activations sums plus the weighted changes of the inputs."""
        layer, operation = self.network.layers[number], self.network.operations[number]
        source = layer.inputs[0]
        if source not in deltas:
            base, new = self._base.outputs[source], outputs[source]
            assert base is not None and new is not None
            deltas[source] = new - base.index_select(0, tables[source].positions)
        delta, base_sums = deltas[source], self._base.sums[number]
        assert base_sums is not None
        total = base_sums.index_select(0, table.positions)
        if layer.covers_grid:
            return total + self._weighted_changes(number, delta, tables[source], table)
        by_child = total.view(-1, layer.channels)
        for block in table.blocks:
            part = delta[slice(*block.inputs)]
            products = self._products(layer, operation, part)
            change = F.embedding_bag(
                block.entries, products, block.offsets, mode="sum", include_last_offset=True
            )
            by_child[slice(*block.outputs)] += change
        return total

    def _weighted_changes(
        self, number: int, delta: Tensor, source: LayerTable, table: LayerTable
    ) -> Tensor:
        """Change of a linear layer's sums: every input has a tap of its own, which alone counts."""
        layer, operation = self.network.layers[number], self.network.operations[number]
        assert operation.rows is not None
        taps = operation.rows.view(delta.shape[1], -1, layer.channels)
        picked = taps.index_select(1, source.positions)
        products = (delta.t()[:, :, None] * picked).sum(dim=0)
        starts = torch.tensor(source.starts, device=delta.device)
        entries = torch.arange(len(products), device=delta.device)
        sums = F.embedding_bag(entries, products, starts, mode="sum", include_last_offset=True)
        return sums[torch.tensor(table.starts, device=delta.device).diff() > 0]

    def _products(self, layer: Layer, operation: Operation, part: Tensor) -> Tensor:
        """Each row times the weight of every tap: (rows * taps, channels)."""
        if layer.kind is Kind.MEAN:
            return part / layer.window.size
        assert operation.rows is not None
        shape = (part.shape[0], operation.rows.shape[1])
        products = torch.mm(part, operation.rows, out=self._workspace(*shape))
        return products.view(-1, layer.channels)

    def _workspace(self, rows: int, columns: int) -> Tensor:
        """One buffer for each thread: fresh memory costs more than the arithmetic in it."""
        buffer = getattr(self._local, "buffer", None)
        if buffer is None or buffer.numel() < rows * columns:
            buffer = self._local.buffer = self._input.new_empty(rows * columns)
        return buffer[: rows * columns].view(rows, columns)

    def _looked_up(
        self, number: int, table: LayerTable, outputs: Sequence[Tensor | None]
    ) -> Tensor:
        layer, operation = self.network.layers[number], self.network.operations[number]
        values = [
            self._operand(layer.inputs[k], lookup, outputs)
            for k, lookup in enumerate(table.lookups)
        ]
        if layer.kind is Kind.MAX:
            taps = values[0].view(-1, layer.window.size, layer.channels)
            return finish(layer, operation, taps.amax(dim=1))
        assert operation.function is not None
        rows = operation.function(*values)
        return finish(layer, operation, rows)

    def _operand(
        self, source: int, lookup: Lookup | None, outputs: Sequence[Tensor | None]
    ) -> Tensor:
        new, base = outputs[source], self._base.outputs[source]
        assert new is not None and base is not None
        if lookup is None:
            return new
        values = base.index_select(0, lookup.base)
        values[lookup.at.long()] = new.index_select(0, lookup.by)
        if len(lookup.outside):
            values[lookup.outside.long()] = float("-inf")
        return values

    # -- commits -----------------------------------------------------------------------------

    def _committed(self, region: int, fill: _Fill) -> _Change:
        change = _Change()
        if self.plan.patches[region] is None:
            return change
        chunk = self.plan.chunk_on((region,), self.network.device)
        if not chunk.layers:
            before = (self._base, self._input)
            self._input = self._occluded_input(region, fill)
            self._base = full_pass(self.network, self._input)
            change.undo = lambda: self._restore(*before)
            return change
        new = self._propagate(chunk, fill)
        where = self._voxels(region)
        occluded = fill.at(where)
        if self._base.padded is not None:
            change.write(self._base.padded.view(-1, 1), self._voxels(region, padded=True), occluded)
        change.write(self._input, where, occluded)
        for number, table in enumerate(chunk.layers):
            places = table.positions.long()
            rows, sums = new.outputs[number], new.sums[number]
            base, base_sums = self._base.outputs[number], self._base.sums[number]
            if base_sums is not None and sums is not None:
                change.write(base_sums, places, sums)
            aliased = base is self._input or base is base_sums
            if base is not None and rows is not None and not aliased:
                change.write(base, places, rows)
        return change

    def _restore(self, base: Activations, rows: Tensor) -> None:
        self._base, self._input = base, rows


@dataclass(frozen=True)
class _Fill:
    """What occluded voxels hold: a constant, or rows (positions, channels)."""

    constant: float
    rows: Tensor | None
    padded: Tensor | None

    @classmethod
    def of(cls, fill: float | Tensor, network: Network) -> _Fill:
        """Prepare a fill for a network, with the padding that its stems read."""
        if not isinstance(fill, Tensor):
            return cls(float(fill), None, None)
        rows = _rows(fill, network)
        return cls(0.0, rows, pad_for_stems(network, rows))

    def at(self, places: Tensor) -> Tensor | float:
        """Values of some voxels."""
        return self.constant if self.rows is None else self.rows.index_select(0, places)


@dataclass
class _Change:
    """Rows that a commit overwrote, and how to bring them back."""

    rows: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    undo: Callable[[], object] | None = None

    def write(self, target: Tensor, places: Tensor, values: Tensor | float) -> None:
        """Overwrite rows of a tensor."""
        self.rows.append((target, places, target[places]))
        target[places] = values

    def revert(self) -> None:
        """Put everything back."""
        for target, places, values in reversed(self.rows):
            target[places] = values
        if self.undo is not None:
            self.undo()


def _rows(volume: Tensor, network: Network) -> Tensor:
    if tuple(volume.shape) != network.shape:
        raise UsageError(
            f"The network needs an input of shape {network.shape}, not {tuple(volume.shape)}."
        )
    moved = volume.to(network.device, network.dtype)
    return moved.flatten(1).t().contiguous()


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
