"""A network with a branch for every channel of its input, whose answers are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn


class Branches(nn.Module):
    """A network for each channel; the model's answer is the mean over those whose image is there.

    A late mean needs no image to be made up for one that is missing, and what the channels
    contribute adds up to the answer.

    Parameters
    ----------
    branches : mapping
        Networks by the name of their channel
        (:attr:`bidsapp_brainage.model.inputs.channels.Channel.name`); all answer in the same way.
    """

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not branches:
            raise ValueError("branches needs an architecture for every channel")
        self.branches = nn.ModuleDict(branches)

    def bound(self, labels: np.ndarray) -> Branches:
        """The same for a brain with these regions (D, H, W)."""
        return Branches({name: _bound(part, labels) for name, part in self.branches.items()})

    def forward(self, volumes: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Outputs (N, n_outputs) of the branches for volumes (N, 1, D, H, W) by channel.

        They are decoded before they are averaged, as the outputs of the members of an ensemble.
        """
        return {name: self.branches[name](volume) for name, volume in volumes.items()}


def _bound(part: nn.Module, labels: np.ndarray) -> nn.Module:
    bind = getattr(part, "bound", None)
    return bind(labels) if callable(bind) else part


def branches_of(members: Sequence[nn.Module], name: str) -> list[nn.Module]:
    """The branch of every member for one channel; members without branches as they are."""
    return [member.branches[name] if isinstance(member, Branches) else member for member in members]
