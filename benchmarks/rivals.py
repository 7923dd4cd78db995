"""What the engine is compared with: full passes, plain and tuned, and captum."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .cases import Case, ages
from .measure import Work

# Passes of one call: the intact volume, the region, and what is left of the volume.
CAPTUM_PASSES = 3


def forward(network: nn.Module, batch: Tensor) -> Work:
    """One forward pass."""

    def work() -> Tensor:
        with torch.inference_mode():
            return network(batch)

    return work


def plain(case: Case) -> Work:
    """The network as it is."""
    return forward(case.network, case.input)


def tuned(case: Case) -> Work:
    """Batch normalisation folded into the convolutions, channels innermost in memory."""
    network = folded(case.network).to(memory_format=torch.channels_last_3d)
    return forward(network, case.input.to(memory_format=torch.channels_last_3d))


def folded(network: nn.Module) -> nn.Module:
    """A copy without batch normalisation."""
    network = copy.deepcopy(network)
    for block in network.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for k in range(len(block) - 1):
            if isinstance(block[k], nn.Conv3d) and isinstance(block[k + 1], nn.BatchNorm3d):
                block[k] = fuse_conv_bn_eval(block[k], block[k + 1])
                block[k + 1] = nn.Identity()
    return network


def captum(case: Case) -> Work | None:
    """FeatureAblation of one region and the rest, :data:`CAPTUM_PASSES` passes; None without it."""
    try:
        from captum.attr import FeatureAblation
    except ImportError:
        return None
    ablation = FeatureAblation(lambda batch: ages(case.network(batch)))
    features = torch.from_numpy((case.regions == 1).astype(np.int64))[None, None]

    def work() -> Tensor:
        with torch.inference_mode():
            return ablation.attribute(case.input, baselines=0.0, feature_mask=features)

    return work
