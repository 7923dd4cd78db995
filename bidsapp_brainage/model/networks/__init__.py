"""Network architectures by the id that a model card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.networks.densenet import DenseNet
from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.networks.nosa import NOSA
from bidsapp_brainage.model.networks.pyment import PymentSFCN
from bidsapp_brainage.model.networks.refined import Refined
from bidsapp_brainage.model.networks.sfcn import SFCN
from bidsapp_brainage.model.specs import Architecture

ONNX = "onnx"  # the file itself says what the network is


def _refined(**parameters: Any) -> nn.Module:
    return Refined(build_network, **parameters)


def _mixture(parts: Sequence[Architecture]) -> nn.Module:
    return Mixture(build_network, parts)


ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "sfcn": SFCN,
        "nosa": NOSA,
        "pyment": PymentSFCN,
        "densenet": DenseNet,
        "refined": _refined,
        "tissuelinear": TissueLinear,
        "mixture": _mixture,
    }
)


def build_network(architecture: Architecture) -> nn.Module:
    """Build an untrained network.

    Parameters
    ----------
    architecture : dict
        ``{"id": ..., "parameters": {...}}`` as in a model card.

    Returns
    -------
    torch.nn.Module
        Takes float32 (N, 1, D, H, W), returns numbers (N, n_outputs).

    Raises
    ------
    ResourceError
        The id is unknown or the parameters do not fit the architecture.
    """
    known = ", ".join(sorted(ARCHITECTURES))
    maker = ARCHITECTURES.get(architecture["id"])
    if maker is None:
        raise ResourceError(
            f"Model card, architecture.id: '{architecture['id']}' is unknown. Known: {known}."
        )
    try:
        return maker(**architecture["parameters"])
    except (TypeError, ValueError) as error:
        raise ResourceError(f"Model card, architecture.parameters: {error}") from error
