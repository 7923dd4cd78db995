"""Random networks, regions and fills that the engine must get right, drawn from a seed."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEAN = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
GLOBAL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
SIDES = {1: (8, 40), 2: (8, 22), 3: (6, 14)}


class Sum(nn.Module):
    """A residual block."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other, self.last = one, other, nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.one(x) + self.other(x))


class Beside(nn.Module):
    """Branches joined by their channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Heads(nn.Module):
    """Two answers."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body = body
        self.age, self.sex = nn.Linear(channels, 3), nn.Linear(channels, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(x).flatten(2).mean(2)
        return self.age(features), torch.sigmoid(self.sex(features))


class Builder:
    """Draws layers until the network is complete."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        torch.manual_seed(seed)
        self.dims = self.rng.choice([1, 2, 2, 3, 3])
        self.channels = self.rng.choice([1, 1, 2])
        sides = [self.rng.randint(*SIDES[self.dims]) for _ in range(self.dims)]
        self.shape = (self.channels, *sides)

    def network(self) -> nn.Module:
        layers: list[nn.Module] = []
        probe = torch.zeros(1, *self.shape)
        for _ in range(self.rng.randint(2, 6)):
            block, channels = self._block()
            try:
                after = nn.Sequential(*block).eval()(probe)
            except (RuntimeError, ValueError):
                continue  # the window is larger than what is left
            if min(after.shape[2:]) < 1:
                continue
            layers += block
            probe, self.channels = after, channels
        if not any(True for layer in layers for _ in layer.parameters()):
            layers.append(CONV[self.dims](self.channels, self.channels, 1))
        net = self._with_head(nn.Sequential(*layers), tuple(probe.shape[2:]))
        for module in net.modules():
            if isinstance(module, tuple(NORM.values())):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        return net.eval()

    def _block(self) -> tuple[list[nn.Module], int]:
        kind = self.rng.choice(
            ["conv", "conv", "conv", "conv", "max", "mean", "sum", "cat", "norm"]
        )
        return getattr(self, f"_{kind}")()

    def _conv(self) -> tuple[list[nn.Module], int]:
        rng, out = self.rng, self.rng.choice([2, 3, 4])
        kernel, dilation = rng.choice([1, 2, 3, 3, 3, 5]), rng.choice([1, 1, 2])
        layers: list[nn.Module] = [
            CONV[self.dims](
                self.channels, out, kernel, stride=rng.choice([1, 1, 1, 2, 3]),
                padding=rng.randint(0, dilation * (kernel - 1)), dilation=dilation,
                bias=rng.random() < 0.7,
            )
        ]  # fmt: skip
        norm, act = NORM[self.dims](out), rng.choice([nn.ReLU(True), nn.GELU(), nn.Tanh()])
        tail = rng.choice([[norm, act], [act], [norm], [act, norm], []])
        pool = [MAX[self.dims](2)] if rng.random() < 0.5 else []
        return layers + (tail + pool if rng.random() < 0.5 else pool + tail), out

    def _max(self) -> tuple[list[nn.Module], int]:
        kernel, stride, padding = self.rng.choice([(3, 2, 1), (3, 1, 1), (2, 1, 0), (2, 2, 0)])
        return [MAX[self.dims](kernel, stride, padding)], self.channels

    def _mean(self) -> tuple[list[nn.Module], int]:
        kernel = self.rng.choice([2, 3])
        padding = self.rng.randint(0, kernel // 2)
        return [MEAN[self.dims](kernel, self.rng.choice([1, 2]), padding)], self.channels

    def _sum(self) -> tuple[list[nn.Module], int]:
        conv, norm, c = CONV[self.dims], NORM[self.dims], self.channels
        out, stride = self.rng.choice([c, 4]), self.rng.choice([1, 2])
        main = nn.Sequential(
            conv(c, out, 3, stride, 1), norm(out), nn.ReLU(True),
            conv(out, out, 3, 1, 1, groups=out), norm(out),
        )  # fmt: skip
        same = stride == 1 and out == c
        side = nn.Identity() if same else nn.Sequential(conv(c, out, 1, stride), norm(out))
        return [Sum(main, side)], out

    def _cat(self) -> tuple[list[nn.Module], int]:
        conv, c = CONV[self.dims], self.channels
        branches = [conv(c, 2, 3, padding=1), nn.Sequential(MAX[self.dims](3, 1, 1), conv(c, 1, 1))]
        if self.rng.random() < 0.5:
            branches.append(nn.Identity())
        return [Beside(*branches)], 3 + (c if len(branches) == 3 else 0)

    def _norm(self) -> tuple[list[nn.Module], int]:
        return [NORM[self.dims](self.channels), nn.SiLU()], self.channels

    def _with_head(self, body: nn.Sequential, grid: tuple[int, ...]) -> nn.Module:
        features = self.channels * int(np.prod(grid))
        match self.rng.choice(["global", "mean", "flat", "heads", "none"]):
            case "global":
                head = [GLOBAL[self.dims](1), nn.Flatten(), nn.Dropout(0.5),
                        nn.Linear(self.channels, 3)]  # fmt: skip
            case "mean":
                head = [
                    MEAN[self.dims](grid),
                    nn.Dropout(0.3),
                    CONV[self.dims](self.channels, 4, 1),
                ]
            case "flat":
                head = [nn.Flatten(), nn.Linear(features, 5), nn.ReLU(), nn.Linear(5, 2)]
            case "heads":
                return Heads(body, self.channels)
            case _:
                head = []
        return nn.Sequential(*body, *head)

    def masks(self, n: int = 6) -> list[np.ndarray]:
        """Boxes, corners, scattered voxels, single voxels, shells, everything; then nothing."""
        grid = self.shape[1:]
        found = [self._mask(grid) for _ in range(n)]
        return [*found, np.zeros(grid, dtype=bool)]

    def _mask(self, grid: tuple[int, ...]) -> np.ndarray:
        rng, mask = self.rng, np.zeros(grid, dtype=bool)
        low = [rng.randint(0, n - 1) for n in grid]
        high = [rng.randint(a + 1, n) for a, n in zip(low, grid, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        match rng.choice(["box", "corner", "scattered", "one", "shell", "all"]):
            case "box":
                mask[box] = True
            case "corner":
                mask[tuple(rng.choice([slice(0, 2), slice(n - 2, n)]) for n in grid)] = True
            case "scattered":
                noise = np.random.default_rng(rng.randint(0, 1 << 30)).random(mask[box].shape)
                mask[box] = noise < 0.4
            case "one":
                mask[tuple(low)] = True
            case "shell":
                mask[...] = True
                mask[tuple(slice(1, -1) for _ in grid)] = False
            case _:
                mask[...] = True
        return mask

    def fill(self, dtype: torch.dtype) -> float | torch.Tensor:
        return self.rng.choice([0.0, 0.7, torch.randn(self.shape, dtype=dtype)])
