"""The state that regions are occluded from: a volume, its activations, and commits to take back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bidsapp_brainage.errors import UsageError

from .full_pass import Activations, full_pass, pad_for_stems, stem_padding
from .geometry import Patch, flat_positions
from .graph import Network
from .planning.tables import Chunk


@dataclass(frozen=True)
class Fill:
    """What occluded voxels hold: a constant, or rows (positions, channels).

    ``padded`` are the rows as a grid with the padding that stems read around it.
    """

    constant: float
    rows: Tensor | None
    padded: Tensor | None

    @classmethod
    def of(cls, fill: float | Tensor, network: Network) -> Fill:
        """Prepare a constant, or a volume (channels, *grid), for a network."""
        if not isinstance(fill, Tensor):
            return cls(float(fill), None, None)
        rows = input_rows(fill, network)
        return cls(0.0, rows, pad_for_stems(network, rows))

    def at(self, places: Tensor) -> Tensor | float:
        """Values of some voxels."""
        return self.constant if self.rows is None else self.rows.index_select(0, places)

    def equals(self, other: Fill) -> bool:
        """Whether both fill every voxel with the same value."""
        if self.rows is None or other.rows is None:
            return self.rows is other.rows and self.constant == other.constant
        return torch.equal(self.rows, other.rows)


def input_rows(volume: Tensor, network: Network) -> Tensor:
    """Rows (positions, channels) of a volume, of the network's dtype and on its device.

    Raises
    ------
    UsageError
        The network needs another shape.
    """
    if tuple(volume.shape) != network.shape:
        raise UsageError(
            f"The network needs an input of shape {network.shape}, not {tuple(volume.shape)}."
        )
    moved = volume.to(network.device, network.dtype)
    return moved.flatten(1).t().contiguous()


@dataclass
class _Commit:
    """Rows that a commit overwrote, and how to bring them back."""

    rows: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    restore: Callable[[], None] | None = None
    changes: object = None  # of voxels, which the commit brought up to date

    def write(self, target: Tensor, places: Tensor, values: Tensor | float) -> None:
        """Overwrite rows of a tensor."""
        self.rows.append((target, places, target[places]))
        target[places] = values

    def revert(self) -> None:
        """Put everything back."""
        for target, places, values in reversed(self.rows):
            target[places] = values
        if self.restore is not None:
            self.restore()


class State:
    """A volume ``(channels, *grid)`` and its activations, with all committed regions occluded.

    ``input`` are the rows of the volume; ``intact`` their activations, for which committed regions
    count as intact; ``padding`` the zeros around ``intact.padded``: the widest of all stems.
    """

    def __init__(self, network: Network, volume: Tensor) -> None:
        self.network = network
        self.input = input_rows(volume, network).clone()
        self.padding = stem_padding(network)
        self.intact = full_pass(network, self.input)
        self._log: list[_Commit] = []
        self._changes: tuple[Fill, dict[int, Tensor]] | None = None

    def output(self, layer: int) -> Tensor:
        """Rows of one of the network's outputs."""
        rows = self.intact.outputs[layer]
        assert rows is not None
        return rows

    def prepare(self, fill: Fill) -> None:
        """Work out what every voxel changes in sums over voxels when it holds the fill."""
        sums = {k: op.sums for k, op in enumerate(self.network.operations) if op.sums}
        if not sums or (self._changes is not None and self._changes[0].equals(fill)):
            return
        filled = self.input.new_full((1, 1), fill.constant) if fill.rows is None else fill.rows
        where = (self.input != filled).any(dim=1).nonzero()[:, 0]
        maps = {}
        for number in sums:
            changes = self._voxel_changes(number, fill, where)
            maps[number] = changes.new_zeros(len(self.input), changes.shape[1])
            maps[number].index_copy_(0, where, changes)
        self._changes = (fill, maps)

    def voxel_changes(self, layer: int) -> Tensor:
        """Changes (voxels, out), float64, of a sum over voxels with the prepared fill."""
        assert self._changes is not None
        return self._changes[1][layer]

    def _voxel_changes(self, layer: int, fill: Fill, where: Tensor) -> Tensor:
        before, after = self.input.index_select(0, where), fill.at(where)
        if not isinstance(after, Tensor):
            after = before.new_full((1, before.shape[1]), after)
        parts = [
            part.change(before, after, where).double()
            for part in self.network.operations[layer].sums
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def changed(self, chunk: Chunk, patch: Patch | None, fill: Fill) -> set[int]:
        """Regions in which the fill differs from the volume; the others change nothing.

        `patch` is the only region of a chunk without layers.
        """
        if not chunk.layers:
            same = torch.equal(self.occluded(patch, fill), self.input)
            return set() if same else set(chunk.regions)
        where, starts = chunk.layers[0].positions, chunk.layers[0].starts
        differs = (self.input.index_select(0, where) != fill.at(where)).any(dim=1)
        # One question for all regions: asking a GPU about each would wait for it each time.
        before = F.pad(differs.cumsum(0), (1, 0)).cpu().numpy()
        counts = np.diff(before[list(starts)])
        return {r for r, n in zip(chunk.regions, counts.tolist(), strict=True) if n}

    def occluded(self, patch: Patch | None, fill: Fill) -> Tensor:
        """The input with one more region occluded."""
        assert patch is not None
        grid = self.network.shape[1:]
        inside = torch.from_numpy(patch.within([0] * len(grid), grid).reshape(-1, 1))
        inside = inside.to(self.network.device)
        if fill.rows is None:
            return self.input.masked_fill(inside, fill.constant)
        return torch.where(inside, fill.rows, self.input)

    def commit_full_pass(self, patch: Patch | None, fill: Fill) -> None:
        """Occlude a region for good by a pass of its own."""
        before = (self.input, self.intact, self._changes)

        def restore() -> None:
            self.input, self.intact, self._changes = before

        self.input = self.occluded(patch, fill)
        self.intact, self._changes = full_pass(self.network, self.input), None
        self._log.append(_Commit(restore=restore))

    def commit_rows(
        self, patch: Patch | None, fill: Fill, chunk: Chunk, changed: Activations
    ) -> None:
        """Occlude a region for good by its changed rows, which lie where the chunk says."""
        commit = _Commit()
        intact, where = self.intact, self._voxels(patch)
        values = fill.at(where)
        if intact.padded is not None:
            commit.write(intact.padded.view(-1, 1), self._voxels(patch, padded=True), values)
        commit.write(self.input, where, values)
        self._update_changes(commit, where)
        for number, table in enumerate(chunk.layers):
            places = table.positions.long()
            rows, sums = changed.outputs[number], changed.sums[number]
            intact_rows, intact_sums = intact.outputs[number], intact.sums[number]
            if intact_sums is not None and sums is not None:
                commit.write(intact_sums, places, sums)
            aliased = intact_rows is self.input or intact_rows is intact_sums
            if intact_rows is not None and rows is not None and not aliased:
                commit.write(intact_rows, places, rows)
        self._log.append(commit)

    def _update_changes(self, commit: _Commit, where: Tensor) -> None:
        commit.changes = self._changes
        if self._changes is not None:
            fill, maps = self._changes
            for number, changes in maps.items():
                commit.write(changes, where, self._voxel_changes(number, fill, where))

    def commit_nothing(self) -> None:
        """Note the commit of a region without voxels, which can be taken back like any other."""
        self._log.append(_Commit(changes=self._changes))

    def undo(self) -> None:
        """Take back the last commit, to the last bit."""
        if not self._log:
            raise UsageError("Nothing was committed.")
        commit = self._log.pop()
        prepared_since = self._changes is not commit.changes
        commit.revert()
        if prepared_since:
            self._changes = None

    def _voxels(self, patch: Patch | None, *, padded: bool = False) -> Tensor:
        """Flat positions of a region in the input, or in the padded input."""
        assert patch is not None
        places, grid = patch.coordinates(), self.network.shape[1:]
        if padded:
            places = places + np.asarray(self.padding)
            grid = tuple(n + 2 * p for n, p in zip(grid, self.padding, strict=True))
        return torch.from_numpy(flat_positions(places, grid)).to(self.network.device)
