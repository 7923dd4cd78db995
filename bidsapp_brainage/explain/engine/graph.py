"""A network as the engine sees it: a few kinds of layers on rows of positions.

Every tensor is kept as rows ``[positions, channels]``. A :class:`Layer` is geometry only (plain
integers, hashable), so that plans made from it serve every network of that shape; an
:class:`Operation` holds the weights and functions of the same layer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from bidsapp_brainage.errors import BrainageError

from .geometry import Shape, Window
from .sums.tiling import tile_weights

PointFunction: TypeAlias = Callable[..., Tensor]
"""Acts on each position by itself: takes and gives (n, channels) or (1, channels, *grid)."""

SUM_ROWS = 1 << 14  # voxels that are added up in the network's precision before float64


class UnsupportedNetworkError(BrainageError):
    """A module or function mixes positions, so that no exact sparse computation exists."""

    def __init__(self, where: str, what: str, why: str) -> None:
        super().__init__(
            f"{where} ({what}) {why}. The incremental engine cannot occlude this network exactly; "
            "use one full forward pass for each region (engine='loop')."
        )


class Kind(StrEnum):
    """What a layer does to positions."""

    INPUT = "input"
    STEM = "stem"  # convolution of a one-channel input, computed as one product per patch
    CONV = "conv"  # convolution or linear layer: changes of the input are propagated
    MEAN = "mean"  # average pooling: as a convolution, without weights
    MAX = "max"  # max pooling with overlapping windows
    JOIN = "join"  # a function of one or several tensors, position by position
    SUM = "sum"  # a sum over all voxels of what each of them adds


@dataclass(frozen=True)
class Layer:
    """Geometry of a layer: what it reads, on which grid, and what it leaves.

    ``products`` are the multiply-adds for each row that the layer works on: changed inputs of a
    CONV, occluded voxels of a SUM, outputs of a STEM.
    """

    name: str  # path of the module, for messages and profiles
    kind: Kind
    inputs: tuple[int, ...]  # numbers of the layers that it reads
    window: Window  # of the convolution or pooling; of a single position for other kinds
    pool: Window | None  # tiling max pooling that follows at once, absorbed by this layer
    source_grid: Shape  # of the (first) input
    before: Shape  # grid of the convolution, before the pool
    grid: Shape  # of the output
    channels: int  # of the output
    products: int
    kept: bool  # the intact output is needed: by a later layer, or it is one of the network's
    groups: int = 1  # of a CONV: each group of outputs reads a group of inputs

    @property
    def n_children(self) -> int:
        """Positions of the convolution for each position of the output."""
        return 1 if self.pool is None else self.pool.size

    @property
    def keeps_sums(self) -> bool:
        """Whether changes are added to the sums of the intact volume."""
        return self.kind in (Kind.CONV, Kind.MEAN, Kind.SUM) and not self.pointwise

    @property
    def pointwise(self) -> bool:
        """Whether this is a convolution that reads each position by itself."""
        single = Window.single(len(self.grid))
        return self.kind is Kind.CONV and self.window == single and self.pool is None

    @property
    def reads_input_alone(self) -> bool:
        """Whether it takes the voxels themselves, and not the rows of the layer before it."""
        return self.kind in (Kind.STEM, Kind.SUM)

    @property
    def adds_up(self) -> bool:
        """Whether every output adds up what its window reads, windows being many."""
        return self.kind in (Kind.CONV, Kind.MEAN) and not (self.covers_grid or self.pointwise)

    @property
    def slides(self) -> bool:
        """Whether windows, being many, slide over the rows of another layer."""
        return self.adds_up or self.kind is Kind.MAX

    @property
    def covers_grid(self) -> bool:
        """Whether this is a convolution whose one window is the whole grid: a linear layer."""
        return (
            self.kind is Kind.CONV
            and self.window.size > 1
            and self.window == Window.tiling(self.source_grid)
        )

    def spans(self, shape: Shape) -> Shape:
        """Shape of what the windows of a box of outputs span on the input.

        For the whole grid that is the whole input.
        """
        if shape == self.grid:
            return self.source_grid
        steps = zip(shape, self.patch.stride, self.patch.kernel, strict=True)
        return tuple((n - 1) * stride + kernel for n, stride, kernel in steps)

    def before_pool(self, shape: Shape) -> Shape:
        """Shape before the absorbed pool of a box of outputs."""
        if shape == self.grid or self.pool is None:
            return self.before if shape == self.grid else shape
        return tuple(n * k for n, k in zip(shape, self.pool.kernel, strict=True))

    @property
    def inner_part(self) -> float:
        """Part of all taps of all windows that meet the input, and not its padding."""
        return math.prod(
            self.window.taps_inside(axis, n) / (m * self.window.kernel[axis])
            for axis, (n, m) in enumerate(zip(self.source_grid, self.before, strict=True))
        )

    @property
    def patch(self) -> Window:
        """Window without gaps that one position of the output spans on the input."""
        return self.window.then(self.pool or Window.single(len(self.grid)))


@dataclass(frozen=True)
class VoxelSum:
    """What every voxel adds to some outputs: ``sum over features of weight * function(voxel)``.

    Attributes
    ----------
    function : callable
        From rows of voxels (n, channels) to rows of features (n, features).
    weight : Tensor
        (voxels, features, out)
    outputs : range
        Those of the layer's channels that are meant.
    """

    function: PointFunction
    weight: Tensor
    outputs: range

    def total(self, rows: Tensor) -> Tensor:
        """Sum over all voxels (out,), float64, of rows (voxels, channels)."""
        total = torch.zeros(self.weight.shape[2], dtype=torch.float64, device=rows.device)
        for first in range(0, len(rows), SUM_ROWS):
            features = self.function(rows[first : first + SUM_ROWS])
            weight = self.weight[first : first + SUM_ROWS].flatten(0, 1)
            total += torch.mv(weight.t(), features.reshape(-1))
        return total

    def change(self, before: Tensor, after: Tensor, places: Tensor) -> Tensor:
        """What voxels at `places` add (n, out) when they hold other values (n, channels)."""
        change = self.function(after) - self.function(before)
        return (change[:, :, None] * self.weight.index_select(0, places)).sum(dim=1)


@dataclass(frozen=True)
class Operation:
    """What a layer computes, all tensors of one dtype on one device.

    ``weight`` is that of a convolution in torch's layout (out, in, *kernel); ``rows`` are the same
    for rows: (in, taps * out) for CONV, its taps by phase of the strides, with an axis in front for
    groups if there are several, and (patch taps, children * out) for STEM. ``sums`` and ``bias``
    (1, out), float64, are those of a SUM. ``early`` and ``late`` are pointwise functions before and
    after the absorbed pool.
    """

    weight: Tensor | None = None
    rows: Tensor | None = None
    bias: Tensor | None = None  # (out,); for STEM (children * out,)
    function: PointFunction | None = None  # of JOIN
    sums: tuple[VoxelSum, ...] = ()  # of SUM
    early: tuple[PointFunction, ...] = ()
    late: tuple[PointFunction, ...] = ()

    @cached_property
    def tile_rows(self) -> Tensor:
        """The weight for tiles of inputs: (groups, products, in, out)."""
        assert self.weight is not None and self.rows is not None
        n_groups = 1 if self.rows.dim() == 2 else len(self.rows)
        return torch.stack([tile_weights(part) for part in self.weight.chunk(n_groups)])

    def rows_of(self, group: int) -> Tensor:
        """Weights of one group of a convolution, for rows: (in, taps * out)."""
        assert self.rows is not None
        return self.rows if self.rows.dim() == 2 else self.rows[group]


@dataclass(frozen=True)
class Network:
    """A traced network."""

    layers: tuple[Layer, ...]  # in order of execution; the first is the input
    operations: tuple[Operation, ...] = field(repr=False)  # one for each layer
    outputs: tuple[int, ...]  # layers whose outputs are those of the network, one for each head
    shape: Shape  # of one input: (channels, *grid)
    output_shapes: tuple[Shape, ...]  # as the network gives them, without the batch axis
    dtype: torch.dtype
    device: torch.device

    @property
    def signature(self) -> str:
        """Hash of the geometry: networks that share it can share plans."""
        facts = [
            [getattr(layer, item.name) for item in fields(layer) if item.name != "name"]
            for layer in self.layers
        ]
        return hashlib.sha256(repr((facts, self.outputs)).encode()).hexdigest()

    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions of one full forward pass, as torch would do them."""
        total = 0
        for layer, operation in zip(self.layers, self.operations, strict=True):
            if operation.weight is not None:
                total += int(torch.tensor(layer.before).prod()) * operation.weight.numel()
            total += sum(part.weight.numel() for part in operation.sums)
        return total


def is_kept(number: int, layers: Sequence[Layer], outputs: Sequence[int]) -> bool:
    """Whether the intact output of a layer is needed once a pass is over."""
    read = any(number in layer.inputs and not layer.reads_input_alone for layer in layers)
    return read or number in outputs
