"""What networks answer when a box of a brain is replaced."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.explain.baselines import disjoint_layers
from bidsapp_brainage.explain.ensemble import Ensemble

from .warps import patch_of

Change = tuple[tuple[slice, ...], NDArray[np.float32]]


def age_changes(
    ensemble: Ensemble, volume: NDArray[np.float32], changes: Mapping[int, Change]
) -> dict[int, float]:
    """Change of the predicted age (years) by each change alone, without those that change nothing.

    Parameters
    ----------
    ensemble : Ensemble
    volume : ndarray of float32, shape (D, H, W)
    changes : mapping
        Boxes and what they hold afterwards, by any number.
    """
    patches = {key: patch_of(volume, *change) for key, change in changes.items()}
    present = [(key, patch) for key, patch in patches.items() if patch is not None]
    shown = [patch for _, patch in present]
    occluder = ensemble.open(volume, shown)
    intact, found = float(occluder.intact.ages[0]), {}
    for _, layer in disjoint_layers(shown, volume.shape):
        fill = volume.copy()
        for number in layer:
            (box, values), inside = changes[present[number][0]], shown[number].box
            fill[box][inside] = values[inside]
        ages = np.asarray(occluder.occlude(fill, layer).ages)
        found |= {present[n][0]: float(age) - intact for n, age in zip(layer, ages, strict=True)}
    return found
