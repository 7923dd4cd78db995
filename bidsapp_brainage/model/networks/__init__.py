"""Network architectures by the id that a model card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.networks.branches import Branches
from bidsapp_brainage.model.networks.densenet import DenseNet
from bidsapp_brainage.model.networks.headvolumes import HeadVolumes
from bidsapp_brainage.model.networks.linear import TissueLinear
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.networks.nosa import NOSA
from bidsapp_brainage.model.networks.patches import PatchLinear
from bidsapp_brainage.model.networks.pyment import PymentSFCN
from bidsapp_brainage.model.networks.refined import Refined
from bidsapp_brainage.model.networks.regional import RegionLinear
from bidsapp_brainage.model.networks.sfcn import SFCN
from bidsapp_brainage.model.specs import Architecture

ONNX = "onnx"  # the file itself says what the network is


ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "sfcn": SFCN,
        "nosa": NOSA,
        "pyment": PymentSFCN,
        "densenet": DenseNet,
        "refined": lambda **parameters: Refined(build_network, **parameters),
        "tissuelinear": TissueLinear,
        "regionlinear": RegionLinear,
        "headvolumes": HeadVolumes,
        "patches": PatchLinear,
        "mixture": lambda parts, weights=None: Mixture(
            [build_network(part) for part in parts], weights
        ),
        "branches": lambda **branches: Branches(
            {name: build_network(part) for name, part in branches.items()}
        ),
    }
)


def build_network(architecture: Architecture) -> nn.Module:
    """Build an untrained network (N, 1, D, H, W) float32 -> (N, n_outputs), as a card describes it.

    Raises
    ------
    ResourceError
        The id is unknown or the parameters do not fit the architecture.
    """
    identity = architecture["id"]
    if identity not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ResourceError(
            f"Model card, architecture.id: '{identity}' is unknown. Known: {known}."
        )
    try:
        return ARCHITECTURES[identity](**architecture["parameters"])
    except (TypeError, ValueError) as error:
        raise ResourceError(f"Model card, architecture.parameters: {error}") from error
