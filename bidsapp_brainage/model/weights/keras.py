"""Keras weights (HDF5) as a PyTorch state dict, without Keras."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

_LAYERS = (nn.Conv3d, nn.BatchNorm3d, nn.Linear)


def keras_state(path: Path, network: nn.Module) -> dict[str, torch.Tensor]:
    """Read a Keras weight file into the state dict of a network with the same layers.

    Layers are matched by their order, as Keras itself matches them when it loads weights into a
    model: the n-th layer with weights in the file belongs to the n-th convolution, normalisation
    or dense layer of the network in order of registration.

    Parameters
    ----------
    path : Path
        As ``model.save_weights("x.h5")`` (or ``model.save("x.h5")``) of TensorFlow 2 writes it:
        attributes ``layer_names`` and ``weight_names`` give the order.
    network : torch.nn.Module
        Of convolutions in 3D, batch normalisations and dense layers.

    Returns
    -------
    dict
        Float32 tensors by the network's names.

    Raises
    ------
    ValueError
        The file has another number of layers, or a layer has other weights than it should.
    OSError
        The file is no HDF5.
    """
    import h5py

    layers = [(name, part) for name, part in network.named_modules() if isinstance(part, _LAYERS)]
    with h5py.File(path, "r") as file:
        stored = _stored_layers(file.get("model_weights", file))
    if len(stored) != len(layers):
        raise ValueError(f"{len(stored)} layers with weights, the network has {len(layers)}")
    state: dict[str, torch.Tensor] = {}
    for (keras_name, weights), (name, part) in zip(stored, layers, strict=True):
        for key, array in _converted(keras_name, weights, part).items():
            state[f"{name}.{key}"] = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
        if isinstance(part, nn.BatchNorm3d):
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state


def _stored_layers(group: Any) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Names and weights of the layers that have weights, in the order of the model."""
    if "layer_names" not in group.attrs:
        raise ValueError("not a weight file of TensorFlow 2 (there is no list of layers in it)")
    stored = []
    for layer in _texts(group.attrs["layer_names"]):
        names = _texts(group[layer].attrs.get("weight_names", ()))
        if names:
            kinds = {name.split("/")[-1].split(":")[0]: name for name in names}
            stored.append((layer, {kind: group[layer][name][()] for kind, name in kinds.items()}))
    return stored


def _texts(values: Iterable[object]) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _converted(
    layer: str, weights: dict[str, np.ndarray], part: nn.Module
) -> dict[str, np.ndarray]:
    """Weights of one layer under the names and in the axis order of PyTorch."""
    try:
        if isinstance(part, nn.BatchNorm3d):
            return {
                "weight": weights["gamma"],
                "bias": weights["beta"],
                "running_mean": weights["moving_mean"],
                "running_var": weights["moving_variance"],
            }
        # Keras: space, inputs, outputs; PyTorch: outputs, inputs, space
        axes = (4, 3, 0, 1, 2) if isinstance(part, nn.Conv3d) else (1, 0)
        return {"weight": weights["kernel"].transpose(axes), "bias": weights["bias"]}
    except (KeyError, ValueError) as error:
        kind = type(part).__name__
        raise ValueError(f"layer '{layer}' is not a {kind}: it has {sorted(weights)}") from error
