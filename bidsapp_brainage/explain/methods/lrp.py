"""Layer-wise relevance propagation: the predicted age handed back through the layers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.arithmetic import exact_arithmetic
from bidsapp_brainage.explain.attributions import as_batch, attribution, negated
from bidsapp_brainage.explain.predictions import Decode
from bidsapp_brainage.explain.relevance import COMPOSITES, prepared, propagate
from bidsapp_brainage.explain.session import ExplanationSession, Results
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.networks.regional import BoundRegions

USUAL = "first_epsilon_plus"


def explain(session: ExplanationSession, *, lrp_rules: str = USUAL) -> Results:
    """Relevance of every voxel, summed over regions.

    Parameters
    ----------
    session : ExplanationSession
    lrp_rules : str
        Key of :data:`.relevance.COMPOSITES`.

    Returns
    -------
    dict
        ``lrp`` and ``lrp_map``; see :func:`.attributions.attribution`.

    Raises
    ------
    UsageError
        Relevance cannot pass the network.
    """
    volume, ensemble = session.inputs.volume, session.inputs.ensemble

    def voxel_map(member: nn.Module, _baseline: str) -> NDArray[np.float64]:
        return relevance(member, volume, ensemble.decode, rules=lrp_rules, device=ensemble.device)

    return attribution(session, "lrp", voxel_map)


def relevance(
    member: nn.Module,
    volume: NDArray[np.float32],
    decode: Decode,
    *,
    rules: str = USUAL,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Layer-wise relevance propagation of the predicted age.

    The predicted age is no neuron but the mean of a distribution, and relevance that enters
    through a softmax is not conserved. What is propagated is therefore the age linearised at the
    network's output ``z``: ``y = sum_i z_i * d age / d z_i``, with the gradient held constant. For
    bins with centres ``c`` this is the covariance of ``c`` and ``z`` under the predicted
    distribution, in years; it does not change when a constant is added to all logits. For a network
    that answers with a number it is that number, up to an offset.

    The age of a mixture is the mean of its parts' ages, and so is the relevance. A
    network that only adds up voxels needs no rules: the relevance of a voxel is what it adds,
    compared with fluid.

    Parameters
    ----------
    member : torch.nn.Module
        Of layers, sums and joins; maps (N, 1, D, H, W) to what `decode` takes.
    volume : ndarray of float32, shape (D, H, W)
    decode : callable
    rules : str
        Key of :data:`.relevance.COMPOSITES`: rules of the first and of the other convolutions,
        which are merged with the batch normalisation behind them. The usual ones are epsilon for
        the first, whose input has both signs, and z+ (alpha 1, beta 0) for the others.
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
    NeuroImage 261:119504, for brain age.
    """
    if isinstance(member, Mixture):
        parts = [
            relevance(part, volume, decode, rules=rules, device=device) for part in member.parts
        ]
        return np.average(parts, axis=0, weights=member.shares)
    if isinstance(member, BoundRegions):
        with torch.inference_mode():
            return negated(member.years(as_batch(volume, member, device)))
    try:
        network = prepared(member).to(device)
        batch = as_batch(volume, network, device)
        with exact_arithmetic():
            output = network(batch).detach().requires_grad_(requires_grad=True)
            slope = torch.autograd.grad(decode(output)[1].sum(), output)[0]
            with torch.no_grad():
                arriving = output.detach() * slope
                found = propagate(network, batch, arriving, COMPOSITES[rules])
    except (TypeError, RuntimeError, AssertionError, fx.proxy.TraceError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"`explain` lrp: relevance cannot be propagated through this network ({reason}); "
            "leave lrp out."
        ) from error
    return negated(found)
