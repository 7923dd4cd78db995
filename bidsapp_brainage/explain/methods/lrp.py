"""Layer-wise relevance propagation: the predicted age handed back through the layers.

captum does the work; it comes with the extra ``xai``.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.arithmetic import exact_arithmetic
from bidsapp_brainage.explain.attributions import as_batch, attribution, negated
from bidsapp_brainage.explain.methods import library
from bidsapp_brainage.explain.predictions import Decode
from bidsapp_brainage.explain.session import ExplanationSession, Results
from bidsapp_brainage.model.networks.mixture import Mixture

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: Layers that relevance passes unchanged.
_POINTWISE = (nn.ReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)
_EPSILON = (
    *(nn.Linear, nn.Flatten, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
#: Functions and methods that only change the shape.
_RESHAPING = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "size", "getattr", "getitem")


def explain(session: ExplanationSession) -> Results:
    """Relevance of every voxel, summed over regions.

    Returns
    -------
    dict
        ``lrp`` and ``lrp_map``; see :func:`.attributions.attribution`.

    Raises
    ------
    MissingExecutableError
        captum is not installed.
    UsageError
        Relevance cannot pass the network.
    """
    volume, ensemble = session.inputs.volume, session.inputs.ensemble

    def voxel_map(member: nn.Module, _baseline: str) -> NDArray[np.float64]:
        return relevance(member, volume, ensemble.decode, device=ensemble.device)

    return attribution(session, "lrp", voxel_map)


def relevance(
    member: nn.Module, volume: NDArray[np.float32], decode: Decode, *, device: str = "cpu"
) -> NDArray[np.float64]:
    """Layer-wise relevance propagation of the predicted age.

    The predicted age is no neuron but the mean of a distribution, and relevance that enters
    through a softmax is not conserved. What is propagated is therefore the age linearised at the
    network's output ``z``: ``y = sum_i z_i * d age / d z_i``, with the gradient held constant. For
    bins with centres ``c`` this is the covariance of ``c`` and ``z`` under the predicted
    distribution, in years; it does not change when a constant is added to all logits. For a network
    that answers with a number it is that number, up to an offset.

    Rules: epsilon for linear and pooling layers and for the first convolution (whose input has both
    signs), alpha-1 beta-0 (z+) for the other convolutions, which are merged with the batch
    normalisation behind them. The age of a mixture is the mean of its parts' ages, and so is the
    relevance.

    Parameters
    ----------
    member : torch.nn.Module
        Every layer a module that is used once; maps (N, 1, D, H, W) to what `decode` takes.
    volume : ndarray of float32, shape (D, H, W)
    decode : callable
    device : str

    Returns
    -------
    ndarray of float64, shape (D, H, W)
        Minus the relevance in years of first order.

    Raises
    ------
    UsageError
        The network has layers that relevance cannot pass.

    Notes
    -----
    Sources: Bach et al. 2015, PLOS ONE 10:e0130140; the rules as in Hofmann et al. 2022,
    NeuroImage 261:119504, for brain age. captum has no merging of normalisations; torch.fx does
    that.
    """
    attr = library("captum.attr", "lrp")
    if isinstance(member, Mixture):
        parts = [relevance(part, volume, decode, device=device) for part in member.parts]
        return np.average(parts, axis=0, weights=member.shares)
    try:
        network = _prepared(member).to(device)
        batch = as_batch(volume, network, device)
        with exact_arithmetic():
            output = network(batch).detach().requires_grad_(requires_grad=True)
            slope = torch.autograd.grad(decode(output)[1].sum(), output)[0]
            scorer = nn.Linear(slope.shape[1], 1, bias=False).to(slope)
            scorer.weight = nn.Parameter(slope.detach().clone())
            scored = _ruled(nn.Sequential(network, scorer))
            relevances = attr.LRP(scored).attribute(batch.requires_grad_(), target=0)
    except (TypeError, RuntimeError, AssertionError, fx.proxy.TraceError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"`explain` lrp: relevance cannot be propagated through this network ({reason}); "
            "leave lrp out."
        ) from error
    return negated(relevances)


def _prepared(member: nn.Module) -> nn.Module:
    """A copy with batch normalisation merged into convolutions and nothing done in place."""
    from torch.fx.experimental.optimization import fuse

    network = copy.deepcopy(member).cpu().eval()
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    merged = fuse(network).eval()
    _refuse_unknown(merged)
    return merged


def _refuse_unknown(network: nn.Module) -> None:
    """Hooks on modules would count relevance twice at sums and lose it in functions.

    Raises
    ------
    TypeError
        Naming the first operation that is no known layer.
    """
    assert isinstance(network, fx.GraphModule)
    known = (*_CONVOLUTIONS, *_POINTWISE, *_EPSILON)
    used = set()
    for node in network.graph.nodes:
        if node.op == "call_module":
            module = network.get_submodule(str(node.target))
            if not isinstance(module, known):
                raise TypeError(f"layer {node.target} is of type {type(module).__name__}")
            if node.target in used:
                raise TypeError(f"layer {node.target} is used twice")
            used.add(node.target)
        elif node.op in ("call_function", "call_method"):
            name = getattr(node.target, "__name__", str(node.target))
            if name not in _RESHAPING:
                raise TypeError(f"operation {name} is no layer")


def _ruled(network: nn.Module) -> nn.Module:
    from captum.attr._utils import lrp_rules

    first = True
    for module in network.modules():
        if next(module.children(), None) is not None:
            continue
        if isinstance(module, _CONVOLUTIONS):
            rule = lrp_rules.EpsilonRule() if first else lrp_rules.Alpha1_Beta0_Rule()
            first = False
        elif isinstance(module, _POINTWISE):
            continue
        else:
            rule = lrp_rules.EpsilonRule()
        module.rule = rule  # type: ignore[assignment]
    return network
