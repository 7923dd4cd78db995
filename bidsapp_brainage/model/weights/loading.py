"""From a model card to networks that are ready to predict."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.networks import ONNX, build_network
from bidsapp_brainage.model.weights.files import WeightFile, verify_weights, weights_remedy


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
    try:
        network = _member(card, weight)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ResourceError(
            f"Weights {weight.path} do not fit the architecture on model card {card.name}: "
            f"{reason}. {weights_remedy(card, weight)}"
        ) from error
    return network.eval().requires_grad_(requires_grad=False)


def _member(card: ModelCard, weight: WeightFile) -> nn.Module:
    if card.architecture["id"] == ONNX:
        from bidsapp_brainage.model.networks.onnx import OnnxNetwork

        return OnnxNetwork(weight.path)
    network = build_network(card.architecture)
    # strict: a missing or surplus tensor means that card and weights do not belong together
    network.load_state_dict(_state(weight, network), strict=True)
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise ValueError("some weights are NaN or infinite")
    return network


def _state(weight: WeightFile, network: nn.Module) -> dict[str, torch.Tensor]:
    if weight.format == "keras_h5":
        from bidsapp_brainage.model.weights.keras import keras_state

        return keras_state(weight.path, network)
    safe = weight.format == "safetensors"
    state: dict[str, Any] = load_file(weight.path) if safe else _unpickled(weight)
    if weight.state_key is not None:
        if not isinstance(state, dict) or weight.state_key not in state:
            raise ValueError(f"there is no '{weight.state_key}' in the file")
        state = state[weight.state_key]
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError("it holds no state dict, which has tensors by name")
    return {name.removeprefix(weight.key_prefix): value for name, value in state.items()}


def _unpickled(weight: WeightFile) -> dict[str, Any]:
    """Content of a PyTorch file; only tensors and plain containers are ever unpickled."""
    try:
        return torch.load(weight.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "it holds more than tensors, or is damaged, and code in weight files is never run: "
            "where you trust the file, load it, and save its state dict as safetensors with a "
            f"card of your own ({str(error).splitlines()[0]})"
        ) from error
