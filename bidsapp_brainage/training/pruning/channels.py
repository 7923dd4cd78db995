"""Networks with fewer channels, and how much the channels matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.sfcn import SFCN
from bidsapp_brainage.model.specs import Architecture
from bidsapp_brainage.training.fitting.losses import Objective

#: Volumes (N, 1, D, H, W) and their targets (N, n_columns).
Batches: TypeAlias = Iterable[tuple[torch.Tensor, torch.Tensor]]

SFCN_ID = "sfcn"
LEAST = 2  # channels that every layer keeps


def convolutional(architecture: Architecture) -> tuple[int | None, Architecture]:
    """The network of an architecture that can be pruned, and its place among a mixture's parts.

    Raises
    ------
    UsageError
        There is none.
    """
    if architecture["id"] == SFCN_ID:
        return None, architecture
    for place, part in enumerate(architecture["parameters"].get("parts", [])):
        if part["id"] == SFCN_ID:
            return place, part
    raise UsageError(
        f"The architecture {architecture['id']} cannot be pruned: only {SFCN_ID}, alone or as a "
        "part of a mixture."
    )


def with_channels(architecture: Architecture, channels: Sequence[int]) -> Architecture:
    """The same architecture with other numbers of channels in what can be pruned."""
    place, part = convolutional(architecture)
    narrow: Architecture = {
        **part,
        "parameters": {**part["parameters"], "channels": [int(n) for n in channels]},
    }
    if place is None:
        return narrow
    parts = list(architecture["parameters"]["parts"])
    parts[place] = narrow
    return {**architecture, "parameters": {**architecture["parameters"], "parts": parts}}


def norms(network: SFCN) -> list[nn.BatchNorm3d]:
    """Batch normalisations of the blocks, in their order."""
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm3d)]


def narrowed(
    network: SFCN, architecture: Architecture, kept: Sequence[NDArray[np.integer]]
) -> SFCN:
    """A network with the channels `kept` of every block, and with their weights."""
    narrow = build_network(with_channels(architecture, [len(part) for part in kept]))
    assert isinstance(narrow, SFCN)
    old = network.state_dict()
    parts = [torch.as_tensor(np.sort(part)) for part in kept]
    state: dict[str, torch.Tensor] = {}
    for name, value in old.items():
        layer = next((k for k in range(len(parts)) if f".conv_{k}." in name), len(parts))
        if layer < len(parts) and value.ndim:  # a count of batches has no channels
            value = value[parts[layer]]
        if layer > 0 and value.ndim == 5:
            value = value[:, parts[layer - 1]]
        state[name] = value
    narrow.load_state_dict(state, strict=True)
    return narrow.eval()


def taylor(network: SFCN, batches: Batches, objective: Objective) -> list[NDArray[np.float64]]:
    """Importance of every channel of every block.

    The loss without a channel is, to first order, the loss less the channel's values times their
    gradient (Molchanov et al. 2017, ICLR). It is taken behind the batch normalisation, whose shift
    belongs to the channel; its size is averaged over people, and divided by the length of the
    layer's vector, so that layers can be compared.

    Parameters
    ----------
    network : SFCN
        In evaluation mode.
    batches : iterable of (Tensor, Tensor)
        People that the network learned from.
    objective : Objective
        Its loss.

    Returns
    -------
    list of ndarray, shape (n_channels,)
    """
    totals = [np.zeros(norm.num_features) for norm in norms(network)]
    count = 0
    for x, targets in batches:
        gates = [
            torch.ones(len(x), norm.num_features, 1, 1, 1, requires_grad=True)
            for norm in norms(network)
        ]
        hooks = [
            norm.register_forward_hook(lambda _m, _i, output, gate=gate: output * gate)
            for norm, gate in zip(norms(network), gates, strict=True)
        ]
        loss = len(x) * objective.loss(network(x).float(), targets)
        for hook in hooks:
            hook.remove()
        for total, slope in zip(totals, torch.autograd.grad(loss, gates), strict=True):
            total += slope.abs().sum(dim=(0, 2, 3, 4)).double().numpy()
        count += len(x)
    means = [total / max(count, 1) for total in totals]
    return [mean / max(float(np.linalg.norm(mean)), 1e-12) for mean in means]


def widths(importances: Sequence[Sequence[NDArray[np.float64]]], total: int) -> list[int]:
    """How many channels every block keeps, the same for all members of an ensemble.

    Of each layer the most important channel of every member is looked at together, then the second,
    and so on; the `total` places that matter most are kept, and at least :data:`LEAST` of a layer.
    """
    ranked = [
        np.mean([np.sort(member[layer])[::-1] for member in importances], axis=0)
        for layer in range(len(importances[0]))
    ]
    for values in ranked:
        values[:LEAST] = np.inf
    threshold = np.sort(np.concatenate(ranked))[::-1][: max(total, LEAST * len(ranked))][-1]
    return [int((values >= threshold).sum()) for values in ranked]


def most_important(importance: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Places of so many channels, in their order."""
    return np.sort(np.argsort(-importance, kind="stable")[:count])


def measure_anew(network: SFCN, batches: Batches) -> None:
    """Let the batch normalisations take mean and spread from volumes, as the network is now."""
    usual = [norm.momentum for norm in norms(network)]
    for norm in norms(network):
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    with torch.no_grad():
        for x, _ in batches:
            network(x)
    for norm, momentum in zip(norms(network), usual, strict=True):
        norm.momentum = momentum
        norm.eval()
