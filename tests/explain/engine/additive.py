"""Random networks that add up functions of single voxels."""

from __future__ import annotations

import torch
from torch import nn

from .random_networks import CONV, MEAN, Beside, Builder


class AdditiveBuilder(Builder):
    """Pointwise layers, then linear ones, then a head on the sum."""

    def network(self) -> nn.Module:
        rng = self.rng
        layers = self._pointwise()
        layers += self._linear()
        probe = nn.Sequential(*layers)(torch.zeros(1, *self.shape))
        out = rng.choice([1, 3])
        layers += [nn.Flatten(), nn.Linear(probe[0].numel(), out)]
        layers += rng.choice([[], [nn.Tanh()], [nn.GELU(), nn.Linear(out, 4), nn.Softmax(dim=1)]])
        return nn.Sequential(*layers).eval()

    def _pointwise(self) -> list[nn.Module]:
        conv, rng = CONV[self.dims], self.rng
        first, second = rng.choice([1, 2, 3]), rng.choice([1, 2])
        choices = [
            [],
            [nn.Tanh()],
            [conv(self.channels, first, 1), nn.ReLU(inplace=True)],
            [conv(self.channels, first, 1), nn.GELU(), conv(first, second, 1), nn.ReLU()],
            [Beside(conv(self.channels, first, 1), nn.Tanh()), nn.ReLU()],
        ]
        layers = rng.choice(choices)
        self.channels = nn.Sequential(*layers)(torch.zeros(1, *self.shape)).shape[1]
        return layers

    def _linear(self) -> list[nn.Module]:
        conv, mean, rng = CONV[self.dims], MEAN[self.dims], self.rng
        choices = [
            [],
            [conv(self.channels, 2, 1)],
            [mean(2)],
            [mean(3, 2, 1), conv(self.channels, 2, 1, bias=False)],
            [conv(self.channels, 3, 3, padding=rng.choice([0, 2]), stride=rng.choice([1, 2]))],
        ]
        return rng.choice(choices)


def additive_case(seed: int) -> tuple[AdditiveBuilder, nn.Module, torch.Tensor]:
    """A builder (for regions and fills), its network in float64, and a volume."""
    builder = AdditiveBuilder(seed)
    network = builder.network().double()
    return builder, network, torch.randn(builder.shape, dtype=torch.float64)
