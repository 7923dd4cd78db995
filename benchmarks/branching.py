"""Residual and densely connected networks: the engine against one pass for each region.

    python -m benchmarks.branching

The same rows are part of ``python -m benchmarks.occlusion``.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict

import torch
from torch import Tensor, nn

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace

from . import counts
from .anatomy import ball, brain, calibrated, compact_regions
from .cases import QUICK_GRID, labels_of
from .measure import MAC_PER_GMAC, Progress, Row, Said, gemm_rate, paired_seconds, print_rows
from .rivals import forward

GRID, RESOLUTION_MM = (80, 96, 80), 2
N_REGIONS = 120
SAMPLE = 6
WIDTHS = (16, 32, 64, 128)
DENSE_CHANNELS, GROWTH = 16, 12


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv3d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm3d(out), nn.ReLU(),
            nn.Conv3d(out, out, 3, 1, 1, bias=False), nn.BatchNorm3d(out),
        )  # fmt: skip
        self.side: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.side = nn.Sequential(
                nn.Conv3d(channels, out, 1, stride, bias=False), nn.BatchNorm3d(out)
            )
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Values of the block."""
        return self.last(self.main(x) + self.side(x))


class Appended(nn.Module):
    """A convolution whose output is put beside its input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.BatchNorm3d(channels), nn.ReLU(), nn.Conv3d(channels, growth, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Values of the block."""
        return torch.cat([x, self.layer(x)], dim=1)


def residual_network() -> nn.Module:
    """A residual network as Hara and others draw it, with a quarter of its channels."""
    first = WIDTHS[0]
    layers: list[nn.Module] = [
        nn.Conv3d(1, first, 7, 2, 3, bias=False), nn.BatchNorm3d(first), nn.ReLU(),
        nn.MaxPool3d(3, 2, 1),
    ]  # fmt: skip
    channels = first
    for level, out in enumerate(WIDTHS):
        layers += [Residual(channels, out, 2 if level else 1), Residual(out, out, 1)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, 1))


def dense_network() -> nn.Module:
    """Three densely connected blocks of three layers."""
    channels = DENSE_CHANNELS
    layers: list[nn.Module] = [
        nn.Conv3d(1, channels, 3, 2, 1, bias=False), nn.BatchNorm3d(channels), nn.ReLU(),
        nn.MaxPool3d(2),
    ]  # fmt: skip
    for block in range(3):
        if block:
            half = channels // 2
            layers += [nn.BatchNorm3d(channels), nn.ReLU(), nn.Conv3d(channels, half, 1)]
            layers.append(nn.AvgPool3d(2))
            channels = half
        for _ in range(3):
            layers.append(Appended(channels, GROWTH))
            channels += GROWTH
    head = [nn.BatchNorm3d(channels), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()]
    return nn.Sequential(*layers, *head, nn.Linear(channels, 1))


NETWORKS = OrderedDict(residual=residual_network, dense=dense_network)


def rows(repeats: int, *, quick: bool, said: Said | None = None) -> list[Row]:
    """Compact regions of a brain at 2 mm, all of them against one pass for each."""
    measured: list[Row] = []
    for name, make in NETWORKS.items():
        measured += _network_rows(f"{name} network", make(), repeats, quick=quick, said=said)
    return measured


def _network_rows(
    name: str, module: nn.Module, repeats: int, *, quick: bool, said: Said | None
) -> list[Row]:
    volume, mask = ball(QUICK_GRID) if quick else brain(GRID, resolution_mm=RESOLUTION_MM)
    module = calibrated(module, volume)
    batch = torch.from_numpy(volume)[None, None]
    regions = compact_regions(mask, 8 if quick else N_REGIONS)
    network = trace(module, tuple(batch.shape[1:]))
    plan = OcclusionPlan.from_labels(network, regions, labels_of(regions)).build()
    seconds = paired_seconds(
        {
            f"{name}, one pass": forward(module, batch),
            f"{name}, engine": lambda: Run(plan, network, batch[0]).occlude(0.0),
        },
        repeats,
        said=said,
    )
    one, engine = seconds.values()
    n = len(plan)
    what = f"{name}: {n} regions"
    needed, executed = counts.needed(plan, network), counts.executed(plan, network)
    # what the multiply-adds of one pass would take as a large matrix product
    floor = network.multiply_adds() / gemm_rate()
    return [
        Row(f"{name}: one forward pass", network.multiply_adds() / MAC_PER_GMAC, "GMAC"),
        Row(f"{what}, multiply-adds needed", needed, "passes"),
        Row(f"{what}, multiply-adds executed", executed, "passes"),
        Row(
            f"{what}, bound: needed ones as one product", (n + 1) * one / floor / (1 + needed), "x"
        ),
        Row(
            f"{what}, bound: executed ones as one product",
            (n + 1) * one / floor / (1 + executed),
            "x",
        ),
        Row(f"{name}: one plain forward pass", one, "CPU s"),
        Row(f"{what}, engine, full pass included", engine, "CPU s"),
        Row(f"{what} against the plain loop", (n + 1) * one / engine, "x", 25, at_least=True),
        Row(f"{what}, largest relative error", _error(module, plan, batch, regions), ""),
    ]


def _error(module: nn.Module, plan: OcclusionPlan, batch: Tensor, regions) -> float:
    """Largest difference of a logit from that of a full pass, in parts of the largest logit."""
    network = trace(module, tuple(batch.shape[1:]))
    chosen = range(0, len(plan), max(1, len(plan) // SAMPLE))
    ours = Run(plan, network, batch[0]).occlude(0.0, chosen)[0]
    hidden = [torch.from_numpy(regions == labels_of(regions)[k]) for k in chosen]
    with torch.inference_mode():
        theirs = torch.cat([module(batch.masked_fill(mask, 0.0)) for mask in hidden])
    return float((ours - theirs).abs().max() / theirs.abs().max())


def main() -> None:
    """Measure both networks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    progress = Progress(1)
    progress.step("residual and dense networks")
    print_rows(rows(options.repeats, quick=False, said=progress.part))


if __name__ == "__main__":
    main()
