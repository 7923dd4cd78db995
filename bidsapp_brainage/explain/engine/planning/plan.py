"""Plans: which positions of every layer change for every region, worked out once.

A plan depends on the geometry of network and regions only, so it serves all subjects on a grid,
all fills, and all members of an ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.geometry import Patch
from bidsapp_brainage.explain.engine.graph import Kind, Layer, Network

from .costs import Form, changes_cost, output_boxes_cost
from .grouping import alike_regions
from .regions import count
from .spreads import SMALL_GRID, Spread, spread
from .tables import Chunk, make_chunk

CHUNK_REGIONS = 16
CHUNK_VOXELS = 7500  # for each region that a chunk may hold
BLOCK_BYTES = 16 << 20
KEPT_BYTES = 256 << 20
# Beyond this part of a full pass the full pass is quicker: its products need no scattering.
DENSE_FRACTION = 0.8


class OcclusionPlan:
    """What has to be computed for each region of a list.

    Parameters
    ----------
    network : Network
        From :func:`~bidsapp_brainage.explain.engine.trace`; only its geometry is used.
    patches : sequence of Patch or None
        Voxels of each region; None for regions without voxels. Regions may overlap.
    chunk_regions : int
        Regions computed together at most; results do not depend on it beyond rounding.
    block_bytes : int
        Size of the workspace for products.
    kept_bytes : int
        Tables are kept up to this size; the others are made again whenever they are needed.
    form : {"rows", "tiles", "boxes"}, optional
        How sums over windows are computed wherever that can be done; as is quicker unless given.
    small_grid : int
        Tables of grids with at most so many positions are made for all regions of a chunk at once.
    """

    def __init__(
        self,
        network: Network,
        patches: Sequence[Patch | None],
        *,
        chunk_regions: int = CHUNK_REGIONS,
        block_bytes: int = BLOCK_BYTES,
        kept_bytes: int = KEPT_BYTES,
        form: Form | None = None,
        small_grid: int = SMALL_GRID,
    ) -> None:
        self.layers = network.layers
        self.signature = network.signature
        self.patches = tuple(patches)
        self._block_values = block_bytes // torch.empty(0, dtype=network.dtype).element_size()
        self._kept_bytes = kept_bytes
        self._form = form
        self._small_grid = small_grid
        self._chunks: dict[tuple[int, ...], Chunk] = {}
        self._moved: dict[tuple[tuple[int, ...], str], Chunk] = {}
        self.n_bytes = 0  # size of the tables that are kept
        #: Numbers of the regions of each chunk.
        self.groups = tuple(_groups(self.layers, self.patches, chunk_regions))

    @classmethod
    def from_labels(
        cls, network: Network, labels: NDArray[np.integer], indices: Sequence[int], **options: Any
    ) -> OcclusionPlan:
        """Plan the regions of a label image.

        Parameters
        ----------
        network : Network
        labels : ndarray of int
            On the grid of the network's input.
        indices : sequence of int
            Labels of the regions, in the order of the results.
        **options
            Of :class:`OcclusionPlan`.
        """
        _check_grid(network, labels.shape)
        return cls(network, label_patches(labels, indices), **options)

    @classmethod
    def from_masks(
        cls, network: Network, masks: Sequence[NDArray[np.bool_]], **options: Any
    ) -> OcclusionPlan:
        """Plan arbitrary regions, each given as a boolean array on the grid of the input."""
        for mask in masks:
            _check_grid(network, np.shape(mask))
        patches = [Patch.of_mask(np.asarray(mask, dtype=bool)) for mask in masks]
        return cls(network, patches, **options)

    def __len__(self) -> int:
        return len(self.patches)

    def build(self) -> OcclusionPlan:
        """Make all tables that will be kept now; otherwise that happens at their first use."""
        for group in self.groups:
            self.chunk(group)
        return self

    def chunk(self, regions: tuple[int, ...]) -> Chunk:
        """Tables of some regions that are computed together."""
        kept = self._chunks.get(regions)
        if kept is not None:
            return kept
        spreads = self._spread(regions)
        if len(regions) == 1 and Work.of(self.layers, spreads).prefers_dense:
            chunk = Chunk(regions, ())
        else:
            chunk = make_chunk(
                self.layers, regions, spreads, block_values=self._block_values, form=self._form
            )
        self._keep(regions, chunk)
        return chunk

    def chunk_on(self, regions: tuple[int, ...], device: torch.device) -> Chunk:
        """The same on a device; what is kept goes there once."""
        chunk = self.chunk(regions)
        if device.type == "cpu":
            return chunk
        key = (regions, str(device))
        moved = self._moved.get(key)
        if moved is None:
            moved = chunk.to(device)
            if regions in self._chunks:
                self._moved[key] = moved
        return moved

    def _keep(self, regions: tuple[int, ...], chunk: Chunk) -> None:
        size = chunk.n_bytes
        # Single regions serve commits again and again; other selections may never come back.
        lasting = regions in self.groups or len(regions) == 1
        if lasting and self.n_bytes + size <= self._kept_bytes:
            self._chunks[regions] = chunk
            self.n_bytes += size

    def work(self, region: int) -> Work:
        """Estimated time for one region."""
        return Work.of(self.layers, self._spread([region]))

    def _spread(self, regions: Sequence[int]) -> list[Spread]:
        patches = [self.patches[region] for region in regions]
        return spread(self.layers, patches, small_grid=self._small_grid, form=self._form)


@dataclass(frozen=True)
class Work:
    """Time of one region in multiply-adds of a large matrix product, estimated.

    By propagated changes, and by a full pass.
    """

    sparse: float
    dense: float

    @staticmethod
    def of(layers: Sequence[Layer], spreads: Sequence[Spread]) -> Work:
        """Estimate those of a region, given its :func:`~.spreads.spread`."""
        sparse = dense = 0.0
        for number, layer in enumerate(layers):
            if not layer.products:
                continue
            own, source = spreads[number], spreads[layer.inputs[0]]
            stem, channels = layer.kind is Kind.STEM, layers[layer.inputs[0]].channels
            (rows,) = (own if stem else source).counts
            grid = layer.grid if stem else layer.source_grid
            dense += math.prod(grid) * layer.products / layer.window.n_phases
            if own.shape is not None:
                sparse += output_boxes_cost(layer, channels, 1, own.shape)
            elif layer.kind is Kind.CONV and layer.adds_up:
                sparse += changes_cost(layer, channels, source.extent, sum(own.counts))
            else:
                sparse += rows * layer.products
        return Work(sparse, dense)

    @property
    def prefers_dense(self) -> bool:
        """Whether a full pass is the quicker way."""
        return self.sparse > DENSE_FRACTION * self.dense


def label_patches(labels: NDArray[np.integer], indices: Sequence[int]) -> list[Patch | None]:
    """Voxels of each label, None for labels without voxels."""
    from scipy import ndimage

    labels = np.asarray(labels)
    boxes = ndimage.find_objects(np.maximum(labels, 0).astype(np.int32))
    patches: list[Patch | None] = []
    for index in indices:
        box = boxes[index - 1] if 0 < index <= len(boxes) else None
        if box is None:
            patches.append(None)
        else:
            patches.append(Patch(tuple(s.start for s in box), labels[box] == index))
    return patches


def _groups(
    layers: Sequence[Layer], patches: Sequence[Patch | None], chunk_regions: int
) -> Iterator[tuple[int, ...]]:
    """Regions that are alike go together until a chunk is full; empty regions go nowhere."""
    for alike in alike_regions(layers, patches):
        n_chunks = -(-len(alike) // chunk_regions)
        most = -(-len(alike) // n_chunks)
        group: list[int] = []
        voxels = 0
        for number in alike:
            size = count(patches[number])
            if group and (len(group) == most or voxels + size > chunk_regions * CHUNK_VOXELS):
                yield tuple(group)
                group, voxels = [], 0
            group.append(number)
            voxels += size
        yield tuple(group)


def _check_grid(network: Network, shape: tuple[int, ...]) -> None:
    if tuple(shape) != network.shape[1:]:
        raise UsageError(
            f"The regions have shape {tuple(shape)} but the network input has "
            f"{network.shape[1:]}; resample them on the grid of the network input."
        )
