"""Starting from a trained network: which weights it takes over and which of them may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

_LEARNERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def blocks(network: nn.Module) -> list[list[nn.Module]]:
    """Convolutions and linear layers in the order they were made, each with what follows it.

    What follows and has weights of its own is a normalisation, which is frozen along with its
    layer.
    """
    blocks_of_layers: list[list[nn.Module]] = []
    for module in _leaves(network):
        if isinstance(module, _LEARNERS):
            blocks_of_layers.append([module])
        elif blocks_of_layers and any(True for _ in module.parameters()):
            blocks_of_layers[-1].append(module)
    return blocks_of_layers


def freeze(network: nn.Module, count: int) -> None:
    """Let the first ``count`` blocks keep their weights and batch statistics, free the others.

    Call it after ``network.train()``, which sets normalisations back to learning.
    """
    for index, block in enumerate(blocks(network)):
        for module in block:
            module.requires_grad_(index >= count)
            if index < count:
                module.eval()


def take_over(
    network: nn.Module, weights: Mapping[str, torch.Tensor], *, keep_head: bool
) -> list[str]:
    """Copy weights (a state dict) of the same name and shape into a network; return their names.

    `keep_head` also takes the last layer: right when the target stays the same.
    """
    last = blocks(network)[-1][0]
    head = {name for name, module in network.named_modules() if module is last}
    own = network.state_dict()
    taken = [
        name
        for name, value in weights.items()
        if name in own
        and own[name].shape == value.shape
        and (keep_head or name.rpartition(".")[0] not in head)
    ]
    network.load_state_dict({**own, **{name: weights[name] for name in taken}})
    return taken


def _leaves(network: nn.Module) -> Iterator[nn.Module]:
    for module in network.modules():
        if not any(True for _ in module.children()):
            yield module
