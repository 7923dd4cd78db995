"""What changes in every layer when the regions of a chunk are occluded."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .full_pass import Activations, finish, finish_volumes
from .graph import Kind, Layer, Operation
from .planning.boxes import BoxTable
from .planning.lookups import Lookup
from .planning.tables import Chunk, LayerTable
from .state import Fill, State
from .stems import changed_stem
from .sums.layouts import BoxBlock
from .sums.products import block_change, box_change, columns_of
from .windows import window_sums
from .workspace import Workspace

BOX_VALUES = 1 << 21  # sums of boxes that are computed at a time


class Propagation:
    """Goes through the layers of a network, with what has changed in the layers before.

    The regions of the chunk are occluded from the state, each by itself. The sums of boxes are
    kept for a commit only.
    """

    def __init__(
        self,
        state: State,
        chunk: Chunk,
        fill: Fill,
        workspace: Workspace,
        *,
        keep_sums: bool = False,
    ) -> None:
        self._state = state
        self._layers = state.network.layers
        self._intact = state.intact
        self._tables = chunk.layers
        self._fill = fill
        self._workspace = workspace
        self._keep_sums = keep_sums
        self._outputs: list[Tensor | None] = []
        self._deltas: dict[int, Tensor] = {}

    def run(self) -> Activations:
        """Changed rows of every layer; sums as well where the intact activations have them."""
        sums: list[Tensor | None] = []
        for number, layer in enumerate(self._layers):
            operation, table = self._state.network.operations[number], self._tables[number]
            total: Tensor | None = None
            rows: Tensor | None
            match layer.kind:
                case _ if table.boxes is not None:
                    rows, total = self._boxed(layer, operation, table.boxes)
                case Kind.INPUT:
                    rows = self._filled(table) if layer.kept else None
                case Kind.STEM:
                    rows = changed_stem(self._state, self._fill, layer, operation, table)
                case Kind.SUM:
                    total = self._voxel_sums(number, table)
                    rows = finish(layer, operation, total.to(self._state.input.dtype))
                case Kind.CONV if layer.pointwise:
                    rows = self._pointwise(layer, operation)
                case Kind.CONV | Kind.MEAN:
                    total = self._sums(number, layer, operation)
                    rows = finish(layer, operation, total)
                case _:
                    rows = self._looked_up(layer, operation, table)
            self._outputs.append(rows)
            sums.append(total)
        return Activations(self._outputs, sums, None)

    # -- input -----------------------------------------------------------------------------------

    def _filled(self, table: LayerTable) -> Tensor:
        if self._fill.rows is not None:
            return self._fill.rows.index_select(0, table.positions)
        rows = self._state.input
        return rows.new_full((table.n_rows, rows.shape[1]), self._fill.constant)

    # -- sums over voxels ----------------------------------------------------------------------

    def _voxel_sums(self, number: int, table: LayerTable) -> Tensor:
        """Intact sums plus what the occluded voxels of each region change."""
        intact_sums, source = self._intact.sums[number], self._tables[0]
        assert intact_sums is not None
        starts = torch.tensor(source.starts, dtype=torch.int32, device=table.positions.device)
        changes = F.embedding_bag(
            source.positions, self._state.voxel_changes(number), starts,
            mode="sum", include_last_offset=True,
        )  # fmt: skip
        return intact_sums.index_select(0, table.positions) + changes[starts.diff() > 0]

    # -- convolutions and means ----------------------------------------------------------------

    def _pointwise(self, layer: Layer, operation: Operation) -> Tensor:
        """A convolution of single positions: changed rows need no intact ones."""
        changed, n_groups = self._outputs[layer.inputs[0]], layer.groups
        assert changed is not None
        parts = [
            torch.mm(columns_of(changed, group, n_groups), operation.rows_of(group))
            for group in range(n_groups)
        ]
        total = parts[0] if n_groups == 1 else torch.cat(parts, dim=1)
        if operation.bias is not None:
            total += operation.bias
        return finish(layer, operation, total)

    def _sums(self, number: int, layer: Layer, operation: Operation) -> Tensor:
        """Intact sums plus the weighted changes of the inputs."""
        source, table = layer.inputs[0], self._tables[number]
        delta, intact_sums = self._delta(source), self._intact.sums[number]
        assert intact_sums is not None
        total = intact_sums.index_select(0, table.positions)
        if layer.covers_grid:
            own = delta[:-1]
            return total + _linear_changes(layer, operation, own, self._tables[source], table)
        by_child = total.view(-1, layer.channels)
        for block in table.blocks:
            target = by_child[slice(*block.outputs)]
            if isinstance(block, BoxBlock):
                target.add_(box_change(layer, operation, block, delta, self._workspace))
                continue
            for group in range(layer.groups):
                change = block_change(layer, operation, block, delta, group, self._workspace)
                columns_of(target, group, layer.groups).add_(change)
        return total

    def _delta(self, source: int) -> Tensor:
        """Changed minus intact rows of a layer, computed once for all that read it; then zeros."""
        if source not in self._deltas:
            intact, changed = self._intact.outputs[source], self._outputs[source]
            assert intact is not None and changed is not None
            delta = changed.new_empty(len(changed) + 1, changed.shape[1])
            own = delta[:-1]
            torch.index_select(intact, 0, self._tables[source].positions, out=own)
            torch.sub(changed, own, out=own)
            delta[-1] = 0
            self._deltas[source] = delta
        return self._deltas[source]

    # -- boxes ---------------------------------------------------------------------------------

    def _boxed(
        self, layer: Layer, operation: Operation, boxes: BoxTable
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs of a layer in boxes, and their sums if they are to be kept."""
        outside = float("-inf") if layer.kind is Kind.MAX else 0.0
        source = layer.inputs[0]
        values = self._operand(source, boxes.lookup, outside, self._workspace)
        volumes = values.view(-1, *boxes.read, values.shape[1]).movedim(-1, 1)
        most = max(1, BOX_VALUES // (layer.channels * math.prod(boxes.before)))
        rows, totals = [], []
        for part in volumes.split(most):
            sums = window_sums(layer, operation, part, boxes.padding)
            changed, total = finish_volumes(layer, operation, sums, keep=self._keep_sums)
            rows.append(changed)
            if total is not None:
                totals.append(total)
        kept = torch.cat(totals) if totals else None
        together = rows[0] if len(rows) == 1 else torch.cat(rows)
        if boxes.entries is None:
            return together, kept
        picked = None if kept is None else kept.index_select(0, boxes.entries)
        return together.index_select(0, boxes.entries), picked

    # -- overlapping maxima and functions of tensors -------------------------------------------

    def _looked_up(self, layer: Layer, operation: Operation, table: LayerTable) -> Tensor:
        values = [self._operand(layer.inputs[k], lookup) for k, lookup in enumerate(table.lookups)]
        if layer.kind is Kind.MAX:
            taps = values[0].view(-1, layer.window.size, layer.channels)
            return finish(layer, operation, taps.amax(dim=1))
        assert operation.function is not None
        return finish(layer, operation, operation.function(*values))

    def _operand(
        self,
        source: int,
        lookup: Lookup | None,
        outside: float = float("-inf"),
        workspace: Workspace | None = None,
    ) -> Tensor:
        """Values of a layer, some of them changed; in the workspace if there is one."""
        intact, changed = self._intact.outputs[source], self._outputs[source]
        assert intact is not None and changed is not None
        if lookup is None:
            return changed
        shape = (len(lookup.intact), intact.shape[1])
        values = (
            intact.new_empty(shape) if workspace is None else workspace.take("boxes", shape, intact)
        )
        torch.index_select(intact, 0, lookup.intact, out=values)
        values.index_copy_(0, lookup.at.long(), changed.index_select(0, lookup.by))
        if len(lookup.outside):
            values.index_fill_(0, lookup.outside.long(), outside)
        return values


def _linear_changes(
    layer: Layer, operation: Operation, delta: Tensor, source: LayerTable, table: LayerTable
) -> Tensor:
    """Change of a linear layer's sums: every input has a tap of its own, which alone counts."""
    starts = torch.tensor(source.starts, device=delta.device)
    entries = torch.arange(len(delta), device=delta.device)
    parts = []
    for group in range(layer.groups):
        own = columns_of(delta, group, layer.groups)
        taps = operation.rows_of(group).view(own.shape[1], -1, layer.channels // layer.groups)
        picked = taps.index_select(1, source.positions)
        products = (own.t()[:, :, None] * picked).sum(dim=0)
        parts.append(
            F.embedding_bag(entries, products, starts, mode="sum", include_last_offset=True)
        )
    sums = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    return sums[torch.tensor(table.starts, device=delta.device).diff() > 0]
