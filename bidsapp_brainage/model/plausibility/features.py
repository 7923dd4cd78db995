"""What describes an image when it is compared with those of the training people.

Three kinds of numbers, each used where it is there: fractions of tissue from a segmentation, the
pooled features of the network's encoder, and simple statistics of the network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

INPUT, TISSUE, ENCODER = "input_", "tissue_", "encoder_"
TISSUES = ("csf", "gm", "wm", "ventricles")
_PERCENTS = (5, 25, 50, 75, 95)
_SMALLEST = 1e-4  # fraction; its logarithm stays finite


def input_features(volume: np.ndarray, background: float) -> dict[str, float]:
    """Statistics of the network's input.

    Parameters
    ----------
    volume : ndarray, shape (D, H, W)
        As the network sees it.
    background : float
        Value outside of the brain.

    Returns
    -------
    dict
        ``input_filled`` (fraction of voxels that are not background), ``input_p5`` ...
        ``input_p95`` (percentiles of these) and ``input_edges`` (mean step between neighbours
        among them, in their SD); only ``input_filled`` where less than two voxels are filled.
    """
    inside = np.abs(volume - background) > 1e-6
    found = {f"{INPUT}filled": float(inside.mean())}
    values = volume[inside]
    if values.size < 2:
        return found
    points = np.percentile(values, _PERCENTS)
    found |= {f"{INPUT}p{p}": float(x) for p, x in zip(_PERCENTS, points, strict=True)}
    found[f"{INPUT}edges"] = _edges(volume, inside) / max(float(values.std()), 1e-6)
    return found


def tissue_features(fractions: Mapping[str, float]) -> dict[str, float]:
    """Logarithms of parts of the intracranial volume, as ``tissue_csf`` and so on.

    Parameters
    ----------
    fractions : mapping
        Of ``csf``, ``gm``, ``wm`` and ``ventricles``, as :func:`tissue_fractions` gives them.
    """
    known = {name: fractions[name] for name in TISSUES if np.isfinite(fractions.get(name, np.nan))}
    return {f"{TISSUE}{name}": float(np.log(max(x, _SMALLEST))) for name, x in known.items()}


def tissue_fractions(volumes: pd.DataFrame) -> dict[str, float]:
    """Parts of the intracranial volume from a table of regional volumes.

    Parameters
    ----------
    volumes : DataFrame
        ``*_volumes.tsv``: rows of ``kind`` total named CSF, GM, WM and ventricles, with their
        ``fraction``.

    Returns
    -------
    dict
        ``csf``, ``gm``, ``wm`` and ``ventricles``, as far as they are known.
    """
    totals = volumes[volumes["kind"] == "total"]
    fraction = pd.to_numeric(totals["fraction"], errors="coerce")
    named = zip(totals["name"].str.lower(), fraction, strict=True)
    return {name: float(x) for name, x in named if name in TISSUES and np.isfinite(x)}


def encoder_features(members: Sequence[nn.Module], batch: torch.Tensor) -> np.ndarray:
    """Features of the encoders of all members side by side, float64; empty without any.

    A network that has them offers ``features(x)``: (N, 1, D, H, W) to (N, n). Those of a mixture
    are the features of its parts.

    Parameters
    ----------
    members : sequence of torch.nn.Module
    batch : Tensor, shape (1, 1, D, H, W)
    """
    with torch.inference_mode():
        found = [features(batch)[0] for features in _encoders(members)]
    if not found:
        return np.zeros(0)
    return torch.cat(found).double().cpu().numpy()


def encoder_columns(values: np.ndarray) -> dict[str, float]:
    """The same as columns of a table, ``encoder_000`` and so on."""
    return {f"{ENCODER}{place:03d}": float(value) for place, value in enumerate(values)}


def parts_of(network: nn.Module) -> list[nn.Module]:
    """Networks that answer for themselves: the parts of a mixture, or the network alone."""
    parts = getattr(network, "parts", None)
    return [network] if parts is None else list(parts)


def _encoders(members: Sequence[nn.Module]) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    for part in (part for member in members for part in parts_of(member)):
        if callable(features := getattr(part, "features", None)):
            yield features


def _edges(volume: np.ndarray, inside: np.ndarray) -> float:
    """Mean absolute step between neighbours that are both filled."""
    total, count = 0.0, 0
    for axis in range(3):
        both = np.take(inside, range(1, inside.shape[axis]), axis=axis)
        both = both & np.take(inside, range(inside.shape[axis] - 1), axis=axis)
        total += float(np.abs(np.diff(volume, axis=axis))[both].sum())
        count += int(both.sum())
    return total / max(count, 1)
