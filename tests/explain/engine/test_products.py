"""Which products the engine makes: tiles where quicker, and only taps that meet outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace
from bidsapp_brainage.explain.engine.full_pass import full_pass
from bidsapp_brainage.explain.engine.sums.blocks import Block, TileBlock
from bidsapp_brainage.explain.engine.sums.layouts import BoxBlock
from bidsapp_brainage.explain.engine.sums.tiling import tiled_axes

GRID = (20, 20, 20)


def blocks_of(conv, **options):
    """Tables of a convolution of 48 channels behind one of single voxels, for a cube inside."""
    net = nn.Sequential(nn.Conv3d(2, 48, 1), nn.ReLU(), conv).eval()
    network = trace(net, (2, *GRID))
    mask = np.zeros(GRID, dtype=bool)
    mask[6:14, 7:15, 5:13] = True
    plan = OcclusionPlan.from_masks(network, [mask], **options)
    return plan.chunk((0,)).layers[2].blocks


def test_tiles_share_products():
    conv = nn.Conv3d(48, 48, 3, padding=1)
    (tiles,), (rows,) = blocks_of(conv), blocks_of(conv, form="rows")
    assert isinstance(tiles, TileBlock)
    assert isinstance(rows, Block)
    assert tiles.n_products == 64 * 8**3 // 8  # the cube's parity is found
    assert rows.n_products == 27 * 8**3


def test_narrow_convolutions_take_no_tiles():
    (block,) = blocks_of(nn.Conv3d(48, 2, 3, padding=1))
    assert isinstance(block, Block)


@pytest.mark.parametrize(
    "conv", [nn.Conv3d(48, 8, 3, 2, 1), nn.Conv3d(48, 8, 1, 2), nn.Conv3d(48, 8, 2, 2)]
)
def test_strides_meet_no_tap_in_vain(conv):
    (block,) = blocks_of(conv)
    assert isinstance(block, Block)
    assert block.n_products == len(block.entries)


@pytest.mark.parametrize(
    ("conv", "axes"),
    [
        (nn.Conv3d(1, 1, 3), (0, 1, 2)),
        (nn.Conv3d(1, 1, (1, 3, 3)), (1, 2)),
        (nn.Conv3d(1, 1, (3, 3, 5)), ()),
        (nn.Conv3d(1, 1, 3, stride=2), ()),
        (nn.Conv3d(1, 1, 3, dilation=2), ()),
    ],
)
def test_kernels_of_three_taps_are_tiled(conv, axes):
    network = trace(nn.Sequential(nn.Conv3d(2, 1, 1), nn.ReLU(), conv).eval(), (2, *GRID))
    assert tiled_axes(network.layers[2].window) == axes


def test_blocks_hold_what_the_workspace_holds():
    conv = nn.Conv3d(48, 48, 3, padding=1)
    values = 64 * (48 + 48)
    blocks = blocks_of(conv, block_bytes=4 * 10 * values)
    assert sum(block.n_tiles for block in blocks) == 64
    assert max(block.n_tiles for block in blocks) <= 10


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv3d(2, 4, 3, padding=1),
        nn.Conv3d(2, 4, 3, stride=2, padding=2),
        nn.Conv3d(2, 4, (5, 3, 1), padding=(4, 0, 0), dilation=(2, 1, 1)),
    ],
)
def test_slabs_give_what_the_whole_volume_gives(conv, monkeypatch):
    monkeypatch.setattr("bidsapp_brainage.explain.engine.full_pass.SLAB_BYTES", 1)
    net = nn.Sequential(nn.Conv3d(2, 2, 1), nn.Tanh(), conv, nn.MaxPool3d(2)).double().eval()
    network = trace(net, (2, *GRID))
    volume = torch.randn(2, *GRID, dtype=torch.float64)
    with torch.inference_mode():
        expected = net(volume[None])[0].flatten(1).t()
        for keep in (True, False):
            values = full_pass(network, volume.flatten(1).t(), keep=keep)
            found = values.outputs[network.outputs[0]]
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_boxes_of_the_whole_grid_are_computed_in_parts(monkeypatch):
    monkeypatch.setattr("bidsapp_brainage.explain.engine.propagation.BOX_VALUES", 1)
    net = nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.GELU(), nn.MaxPool3d(2), nn.MaxPool3d(3, 1, 1),
        nn.Conv3d(4, 3, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
    ).double().eval()  # fmt: skip
    volume, masks = torch.randn(2, *GRID, dtype=torch.float64), np.zeros((3, *GRID), dtype=bool)
    for k, mask in enumerate(masks):
        mask[k : 17 + k, 2:18, 1:19] = True
    network = trace(net, (2, *GRID))
    plan = OcclusionPlan.from_masks(network, list(masks), form="boxes")
    boxed = [table.boxes for table in plan.chunk((0, 1, 2)).layers]
    assert sum(boxes is not None and boxes.n_boxes == 3 for boxes in boxed) >= 3
    (found,) = Run(plan, network, volume).occlude(0.0)
    with torch.inference_mode():
        hidden = [volume.masked_fill(torch.from_numpy(mask), 0.0) for mask in masks]
        expected = net(torch.stack(hidden))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conv", [nn.Conv3d(48, 8, 3, 2, 1), nn.Conv3d(48, 8, 3, dilation=2)])
def test_boxes_hold_every_changed_input_once(conv):
    (boxes,) = blocks_of(conv, form="boxes")
    assert isinstance(boxes, BoxBlock)
    rows = boxes.inputs[boxes.inputs < 8**3]
    assert sorted(rows.tolist()) == list(range(8**3))
    assert len(boxes.absent) == 0


def test_large_regions_pool_as_torch_does():
    net = nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.GELU(), nn.MaxPool3d(2), nn.ReLU(), nn.Flatten(),
        nn.Linear(4000, 3),
    ).double().eval()  # fmt: skip
    network = trace(net, (2, *GRID))
    rows = torch.randn(8000, 2, dtype=torch.float64)
    kept, lean = (full_pass(network, rows, keep=keep) for keep in (True, False))
    (last,) = network.outputs
    torch.testing.assert_close(lean.outputs[last], kept.outputs[last], rtol=1e-12, atol=1e-12)
    assert not any(part is not None for part in lean.sums)
