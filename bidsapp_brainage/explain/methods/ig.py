"""Integrated gradients: the gradients on the way from a baseline to the image, added up.

captum does the work; it comes with the extra ``xai``.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bidsapp_brainage.explain.arithmetic import exact_arithmetic
from bidsapp_brainage.explain.attributions import as_batch, attribution, negated
from bidsapp_brainage.explain.methods import library
from bidsapp_brainage.explain.predictions import Decode
from bidsapp_brainage.explain.session import ExplanationSession, Results

N_STEPS = 24  # Gauss-Legendre points on the way from the baseline to the image


def explain(session: ExplanationSession) -> Results:
    """Integrated gradients from every baseline, in the whole brain, summed over regions.

    Returns
    -------
    dict
        ``ig`` and ``ig_map``; see :func:`.attributions.attribution`.

    Raises
    ------
    MissingExecutableError
        captum is not installed.
    """
    volume, ensemble = session.inputs.volume, session.inputs.ensemble

    def voxel_map(member: nn.Module, baseline: str) -> NDArray[np.float64]:
        return integrated_gradients(
            member, volume, session.brainless(baseline), ensemble.decode, device=ensemble.device
        )

    return attribution(session, "ig", voxel_map, by_baseline=True)


def integrated_gradients(
    member: nn.Module,
    volume: NDArray[np.float32],
    baseline: NDArray[np.float32],
    decode: Decode,
    *,
    device: str = "cpu",
    n_steps: int = N_STEPS,
) -> NDArray[np.float64]:
    """Integrated gradients of the predicted age.

    Parameters
    ----------
    member : torch.nn.Module
        Maps (N, 1, D, H, W) to what `decode` takes.
    volume, baseline : ndarray of float32, shape (D, H, W)
        The network's input, and the image that stands for the absence of a brain.
    decode : callable
    device : str
    n_steps : int
        Points of the quadrature.

    Returns
    -------
    ndarray of float64, shape (D, H, W)
        Years. The sum is the predicted age of the baseline minus that of the volume, up to the
        error of the quadrature (completeness).

    Notes
    -----
    Source: Sundararajan et al. 2017, ICML, PMLR 70:3319.
    """
    attr = library("captum.attr", "ig")
    network = copy.deepcopy(member).to(device).eval()

    def age(batch: Tensor) -> Tensor:
        return decode(network(batch))[1]

    with exact_arithmetic():
        gradients = attr.IntegratedGradients(age).attribute(
            as_batch(volume, network, device),
            baselines=as_batch(baseline, network, device),
            n_steps=n_steps,
            internal_batch_size=2,
        )
    return negated(gradients)
