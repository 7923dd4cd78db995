"""First convolutions of one input channel: their outputs anew, patch by patch of the image."""

from __future__ import annotations

import torch
from torch import Tensor

from .full_pass import stem_rows
from .graph import Layer, Operation
from .planning.tables import LayerTable, StemPatches
from .state import Fill, State

STEM_PATCHES = 4096


def changed_stem(
    state: State, fill: Fill, layer: Layer, operation: Operation, table: LayerTable
) -> Tensor:
    """Changed rows (rows, channels) of a stem when the regions of a chunk hold the fill."""
    out = state.input.new_empty(table.n_rows, layer.channels)
    for k, stem in enumerate(table.stems):
        if stem is not None:
            flat = _filled_window(state, fill, layer, stem)
            own = out[table.starts[k] : table.starts[k + 1]]
            for first in range(0, len(stem.corners), STEM_PATCHES):
                corners = stem.corners[first : first + STEM_PATCHES]
                places = (corners[:, None] + stem.offsets).reshape(-1)
                patches = flat.index_select(0, places).view(len(corners), -1)
                stem_rows(layer, operation, patches, own[first : first + STEM_PATCHES])
    return out


def _filled_window(state: State, fill: Fill, layer: Layer, stem: StemPatches) -> Tensor:
    """Voxels (n,) of the padded window of a region, with the fill in the region."""
    assert state.intact.padded is not None
    # The padded input has the widest padding of all stems.
    extra = [w - p for w, p in zip(state.padding, layer.window.padding, strict=True)]
    window = tuple(slice(a + e, b + e) for a, b, e in zip(stem.low, stem.high, extra, strict=True))
    seen = state.intact.padded[window]
    if fill.padded is not None:
        return torch.where(stem.mask, fill.padded[window], seen).reshape(-1)
    return seen.masked_fill(stem.mask, fill.constant).reshape(-1)
