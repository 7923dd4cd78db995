"""What the engine reads, what it refuses, and how it says so."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, UnsupportedNetworkError, trace
from bidsapp_brainage.explain.engine.graph import Kind
from bidsapp_brainage.model.networks.sfcn import SFCN

SHAPE = (1, 8, 9, 10)


class Squeezed(nn.Module):
    """Squeeze and excitation: every position depends on all others."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.gate(x.mean((2, 3, 4), keepdim=True)))


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Functional(nn.Module):
    """Everything that people write without modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv3d(1, 4, 3, padding="same"), nn.Conv3d(4, 4, 3, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.one(x), inplace=True)
        x = 0.5 * self.two(x) - 1
        x = torch.add(F.gelu(x), x.clamp(min=0))
        x = F.adaptive_avg_pool3d(x, 1)
        x = x.view(x.size(0), -1)
        return F.log_softmax(self.head(F.dropout(x, training=False)), dim=1)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.GroupNorm(2, 4), "GroupNorm"),
        (nn.InstanceNorm3d(4), "InstanceNorm3d"),
        (nn.BatchNorm3d(4, track_running_stats=False), "BatchNorm3d"),
        (nn.MaxPool3d(2, ceil_mode=True), "MaxPool3d"),
        (nn.AvgPool3d(3, padding=1, count_include_pad=False), "AvgPool3d"),
        (nn.AdaptiveAvgPool3d(2), "AdaptiveAvgPool3d"),
        (nn.Upsample(scale_factor=2), "Upsample"),
        (nn.Conv3d(4, 4, 3, padding=1, padding_mode="replicate"), "Conv3d"),
        (nn.Softmax(dim=2), "Softmax"),
        (nn.Linear(10, 3), "Linear"),
    ],
)
def test_what_is_not_local_is_refused_by_name(module, name):
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Sequential(nn.ReLU(), module)).eval()
    with pytest.raises(UnsupportedNetworkError, match=rf"Module 1\.1 \({name}\)") as caught:
        trace(net, SHAPE)
    assert "engine='loop'" in str(caught.value)


@pytest.mark.parametrize(("module", "words"), [(Squeezed(), "mul"), (Branching(), "traced")])
def test_what_is_not_local_in_code_is_refused(module, words):
    with pytest.raises(UnsupportedNetworkError, match=words):
        trace(module.eval(), SHAPE)


def test_functions_are_read_as_modules_are():
    torch.manual_seed(0)
    net = Functional().double().eval()
    network = trace(net, SHAPE)
    volume = torch.randn(SHAPE, dtype=torch.float64)
    masks = [torch.rand(SHAPE[1:]).numpy() < 0.1]
    run = Run(OcclusionPlan.from_masks(network, masks), network, volume)
    hidden = torch.where(torch.from_numpy(masks[0]), 0.0, volume)
    assert torch.allclose(run.occlude(0.0)[0], net(hidden[None]), atol=1e-12)


def test_the_module_is_left_alone():
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.ReLU(inplace=True)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trace(net, SHAPE)
    assert net.training
    assert net[2].inplace
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_blocks_of_sfcn_are_one_layer_each():
    network = trace(SFCN((4, 8, 8), n_bins=5).eval(), (1, 16, 20, 16))
    kinds = [layer.kind for layer in network.layers]
    assert kinds == [Kind.INPUT, Kind.STEM, Kind.CONV, Kind.CONV, Kind.MEAN, Kind.CONV]
    assert network.output_shapes == ((5,),)
    # 3x3x3 kernels on the whole grid, then on an eighth of it, then 1x1x1 and the head
    grid = 16 * 20 * 16
    expected = grid * 27 * 4 + grid // 8 * 27 * 4 * 8 + grid // 64 * 8 * 8 + 8 * 5
    assert network.multiply_adds() == expected


def test_networks_of_one_geometry_share_a_signature():
    first, second = (trace(SFCN((4, 8, 8), n_bins=5).eval(), (1, 16, 20, 16)) for _ in range(2))
    other = trace(SFCN((4, 9, 8), n_bins=5).eval(), (1, 16, 20, 16))
    assert first.signature == second.signature != other.signature
