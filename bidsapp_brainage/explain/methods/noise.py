"""Learned-noise importance: voxels that bear no noise without the prediction suffering.

After Bintsi et al. 2021 (Voxel-level importance maps for interpretable brain age estimation,
iMIMIC, LNCS 12929:65), who train a network that makes such noise for a population. Here the scale
of the noise is learned for one image, directly and on a coarse grid.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidsapp_brainage.explain.arithmetic import exact_arithmetic
from bidsapp_brainage.explain.attributions import attribution
from bidsapp_brainage.explain.predictions import Decode
from bidsapp_brainage.explain.session import ExplanationSession, Results

STEPS = 25
COARSE = 4  # voxels of the input per point of the learned field
TOLERANCE_YEARS = 1.0  # a change of this size costs as much as all the noise is worth
SMOOTHNESS = 0.5  # weight of the squared differences between neighbours
LEARNING_RATE = 0.3


def explain(session: ExplanationSession) -> Results:
    """Importance of every voxel by the noise that it does not bear, summed over regions.

    Returns
    -------
    dict
        ``noise`` and ``noise_map``; see :func:`.attributions.attribution`.
    """
    inputs, ensemble = session.inputs, session.inputs.ensemble

    def voxel_map(member: nn.Module, _baseline: str) -> NDArray[np.float64]:
        return noise_importance(
            member, inputs.volume, inputs.brain, ensemble.decode,
            seed=inputs.seed, device=ensemble.device,
        )  # fmt: skip

    return attribution(session, "noise", voxel_map, signed=False)


def noise_importance(
    member: nn.Module,
    volume: NDArray[np.float32],
    brain: NDArray[np.bool_],
    decode: Decode,
    *,
    seed: int,
    device: str = "cpu",
    n_steps: int = STEPS,
) -> NDArray[np.float64]:
    """Learn how little noise each part of the brain bears.

    The network sees ``x + s * sigma * e`` with white noise ``e``, the SD ``sigma`` of the brain's
    intensities and a scale ``s`` between 0 and 1, a smooth field on a coarse grid. Gradient steps
    (Adam) minimise ``(expected squared change of age) / (1 year)^2 - mean(s)`` plus a penalty of
    roughness: as much noise as possible, where it does not hurt.

    A sampled change of age hardly tells which of thousands of places made it. The expected squared
    change is therefore taken to first order at noisy images, ``sum (s * sigma * d age / d x)^2``
    (the Gauss-Newton form of Price's theorem), which every backward pass tells for all places.

    Parameters
    ----------
    member : torch.nn.Module
    volume : ndarray of float32, shape (D, H, W)
    brain : ndarray of bool, shape (D, H, W)
        Where noise is added.
    decode : callable
    seed : int
        Of the noise; the same seed gives the same map.
    device : str
    n_steps : int
        Gradient steps; each takes one forward and one backward pass of two noisy images.

    Returns
    -------
    ndarray of float64, shape (D, H, W)
        ``1 - s`` in the brain: 1 where no noise is borne, 0 where the largest is; 0 outside.
    """
    network = copy.deepcopy(member).to(device).eval().requires_grad_(requires_grad=False)
    dtype = next(network.parameters(), torch.empty(0)).dtype
    image = torch.as_tensor(volume.copy(), dtype=dtype, device=device)[None, None]
    inside = torch.as_tensor(brain.copy(), dtype=dtype, device=device)[None, None]
    if not brain.any():
        return np.zeros(volume.shape)
    sigma = float(volume[brain].std())
    coarse = [max(2, -(-n // COARSE)) for n in volume.shape]
    field = torch.zeros(1, 1, *coarse, dtype=dtype, device=device, requires_grad=True)
    optimiser = torch.optim.Adam([field], lr=LEARNING_RATE)
    source = torch.Generator().manual_seed(seed)
    with exact_arithmetic():
        for _ in range(n_steps):
            scale = _scale(field, image.shape[2:])
            noise = scale.detach() * torch.randn(image.shape, generator=source).to(image)
            # A noise and its negative: what is odd in the noise cancels.
            signs = torch.tensor([1.0, -1.0]).to(image).reshape(2, 1, 1, 1, 1)
            noisy = (image + signs * noise * sigma * inside).requires_grad_()
            slope = torch.autograd.grad(decode(network(noisy))[1].sum(), noisy)[0]
            bearing = slope.square().mean(dim=0, keepdim=True) * inside
            cost = (scale * sigma / TOLERANCE_YEARS).square().mul(bearing).sum()
            worth = (scale * inside).sum() / inside.sum()
            optimiser.zero_grad()
            (cost - worth + SMOOTHNESS * _roughness(torch.sigmoid(field))).backward()
            optimiser.step()
        importance = 1 - _scale(field, image.shape[2:]).detach()
    return np.asarray((importance * inside)[0, 0].double().cpu().numpy())


def _scale(field: Tensor, shape: torch.Size) -> Tensor:
    return functional.interpolate(
        torch.sigmoid(field), size=tuple(shape), mode="trilinear", align_corners=False
    )


def _roughness(field: Tensor) -> Tensor:
    parts = [field.diff(dim=axis).square().mean() for axis in (2, 3, 4)]
    return torch.stack(parts).sum()
