"""Changes of sums: products of changed inputs with weights, added up for each output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bidsapp_brainage.explain.engine.graph import Kind, Layer, Operation
from bidsapp_brainage.explain.engine.windows import as_rows, convolve
from bidsapp_brainage.explain.engine.workspace import Workspace

from .blocks import Block, TileBlock
from .layouts import BoxBlock
from .tiling import PRODUCTS, SIDE, contract, expand


def columns_of(values: Tensor, group: int, n_groups: int) -> Tensor:
    """Columns of one group."""
    width = values.shape[-1] // n_groups
    return values[..., group * width : (group + 1) * width]


def block_change(
    layer: Layer,
    operation: Operation,
    block: Block | TileBlock,
    delta: Tensor,
    group: int,
    workspace: Workspace,
) -> Tensor:
    """Change (outputs, channels of a group) of the sums of a block's outputs.

    `delta` are the changes of the inputs (rows + 1, channels), and zeros behind them. Groups come
    one after the other, the first one first.
    """
    if isinstance(block, TileBlock):
        products = _tile_products(layer, operation, block, delta, group, workspace)
    else:
        products = _row_products(layer, operation, block, delta, group, workspace)
    return F.embedding_bag(
        block.entries, products, block.offsets, mode="sum", include_last_offset=True
    )


def box_change(
    layer: Layer, operation: Operation, block: BoxBlock, delta: Tensor, space: Workspace
) -> Tensor:
    """Change (outputs, channels) of the sums of the outputs of a block of boxes, of all groups.

    `delta` as for :func:`block_change`.
    """
    assert operation.weight is not None
    boxes = space.take("boxes", (len(block.inputs), delta.shape[1]), delta)
    torch.index_select(delta, 0, block.inputs, out=boxes)
    volumes = boxes.view(*block.shape, delta.shape[1]).movedim(-1, 1)
    results = as_rows(convolve(layer, volumes, operation.weight, None, block.padding))
    change = results.index_select(0, block.entries)
    return change.index_fill_(0, block.absent.long(), 0) if len(block.absent) else change


def _row_products(
    layer: Layer, operation: Operation, block: Block, delta: Tensor, group: int, space: Workspace
) -> Tensor:
    """Each row times the weight of every tap of its phase: (rows * taps, channels)."""
    if layer.kind is Kind.MEAN:
        return delta[slice(*block.parts[0].rows)] / layer.window.size
    own, weights = columns_of(delta, group, layer.groups), operation.rows_of(group)
    channels = layer.channels // layer.groups
    out = space.take("products", (block.n_products, channels), delta)
    done = 0
    for part in block.parts:
        rows = own[slice(*part.rows)] if part.pick is None else own.index_select(0, part.pick)
        columns = weights[:, part.taps[0] * channels : part.taps[1] * channels]
        n = len(rows) * (part.taps[1] - part.taps[0])
        torch.mm(rows, columns, out=out[done : done + n].view(len(rows), -1))
        done += n
    return out


def _tile_products(
    layer: Layer,
    operation: Operation,
    block: TileBlock,
    delta: Tensor,
    group: int,
    space: Workspace,
) -> Tensor:
    """Outputs of tiles: (products of a tile * tiles, channels)."""
    weights, n_axes = operation.tile_rows[group], block.n_axes
    tiles = space.take("tiles", (block.inputs.numel(), delta.shape[1]), delta)
    if group == 0:
        torch.index_select(delta, 0, block.inputs.view(-1), out=tiles)
    own = columns_of(tiles, group, layer.groups)
    values = _expanded(own.view(*[SIDE] * n_axes, block.n_tiles, own.shape[1]), space)
    out = space.take("products", (*values.shape[:-1], weights.shape[2]), delta)
    torch.bmm(values.flatten(0, n_axes - 1), weights, out=out.flatten(0, n_axes - 1))
    for axis in range(n_axes):
        contract(out, axis)
    return out.view(-1, weights.shape[2])


def _expanded(values: Tensor, space: Workspace) -> Tensor:
    """What the weights of tiles are multiplied with, from the inputs of tiles of one group."""
    # In memory of its own: products of a part of longer rows take almost twice the time.
    n_axes = values.dim() - 2
    for axis in range(n_axes):
        shape = [*values.shape]
        shape[axis] = PRODUCTS
        wider = space.take(f"tiles along {axis}", shape, values)
        expand(values, wider, axis)
        values = wider
    return values
