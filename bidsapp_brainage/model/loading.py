"""From a model card to networks that are ready to predict."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.cards import ModelCard, WeightFile, verify_weights
from bidsapp_brainage.model.networks import build_network


def load_members(card: ModelCard, device: str = "cpu") -> list[nn.Module]:
    """Load every member of the card's ensemble, in evaluation mode and without gradients.

    Parameters
    ----------
    card : ModelCard
    device : str
        A torch device, as :func:`bidsapp_brainage.model.device.resolve_device` gives it.

    Raises
    ------
    ResourceError
        Weights are missing, altered, or belong to another architecture.
    """
    verify_weights(card)
    return [_load_member(card, weight).to(torch.device(device)) for weight in card.weights]


def _load_member(card: ModelCard, weight: WeightFile) -> nn.Module:
    network = build_network(card.architecture)
    try:
        # strict: a missing or surplus tensor means that card and weights do not belong together
        network.load_state_dict(load_file(weight.path), strict=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ResourceError(
            f"Weights {weight.path} do not fit the architecture on model card {card.name}: {error}"
        ) from error
    return network.eval().requires_grad_(requires_grad=False)
