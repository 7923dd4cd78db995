"""Sliding cubes: occlusion maps that know no atlas.

The sliding grey square of Zeiler and Fergus 2014 (ECCV, LNCS 8689:818-833), in three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.geometry import Patch
from bidsapp_brainage.explain.occlusion import effects, sizes
from bidsapp_brainage.explain.session import ExplanationSession, Results


def explain(session: ExplanationSession, *, cube_mm: float) -> Results:
    """Occlude the brain cube by cube.

    Parameters
    ----------
    session : ExplanationSession
    cube_mm : float
        Edge of the cubes, rounded to whole voxels; they lie side by side.

    Returns
    -------
    dict
        ``cubes_map``: change of the predicted age in years; 0 outside the brain.
    """
    inputs = session.inputs
    edge = max(1, round(cube_mm / np.cbrt(inputs.voxel_ml * 1000)))
    cubes = sliding_cubes(inputs.brain, edge=edge, step=edge)
    occluder = session.open(cubes)
    predictions = session.occlude_pieces(occluder, cubes, progress=inputs.progress)
    changes = effects(range(len(cubes)), sizes(cubes), occluder.intact, predictions)
    return {"cubes_map": cube_map(inputs.volume.shape, cubes, changes)}


def sliding_cubes(inside: NDArray[np.bool_], *, edge: int, step: int) -> list[Patch]:
    """Cubes on a regular lattice, each cut to the voxels of ``inside``.

    The lattice starts at the corner of the grid, so that all images on a grid share their cubes.
    Only voxels of ``inside`` are occluded: a cube at the border of the brain would otherwise
    paint brain-like fills (mean, blur) onto the background, which is a change of the shape of the
    head and not the absence of tissue.

    Parameters
    ----------
    inside : ndarray of bool, shape (D, H, W)
        Where to occlude, such as the brain.
    edge : int
        Edge of a cube in voxels; cubes are clipped at the border of the grid.
    step : int
        Distance between neighbouring cubes in voxels; above `edge` there are gaps.

    Returns
    -------
    list of Patch
        Last axis fastest; cubes without voxels of ``inside`` are left out.

    Raises
    ------
    UsageError
        Edge or step below 1.
    """
    if edge < 1 or step < 1:
        raise UsageError(f"Edge and step of cubes must be at least 1, not {edge} and {step}.")
    starts = [_starts(n, edge, step) for n in inside.shape]
    cubes = []
    for i in starts[0]:
        for j in starts[1]:
            for k in starts[2]:
                box = inside[i : i + edge, j : j + edge, k : k + edge]
                if box.any():
                    cubes.append(Patch((i, j, k), box.copy()))
    return cubes


def _starts(n: int, edge: int, step: int) -> range:
    """Starts along one axis, up to the first cube that reaches the end: later ones repeat it."""
    return range(0, min(n, max(n - edge, 0) + step), step)


def cube_map(
    shape: tuple[int, ...], cubes: Sequence[Patch], effects: pd.DataFrame
) -> NDArray[np.float32]:
    """Give every voxel the mean effect of the cubes that cover it.

    Parameters
    ----------
    shape : tuple of int
        Grid of the result.
    cubes : sequence of Patch
    effects : DataFrame
        Result of :func:`bidsapp_brainage.explain.occlusion.effects`, one row for each cube.

    Returns
    -------
    ndarray of float32, shape `shape`
        Years, occluded minus intact; 0 where no cube is.
    """
    total = np.zeros(shape)
    n_cubes = np.zeros(shape, dtype=np.int32)
    for cube, effect in zip(cubes, effects["delta_age"], strict=True):
        where = tuple(slice(a, b) for a, b in zip(cube.origin, cube.end, strict=True))
        total[where] += effect * cube.box
        n_cubes[where] += cube.box
    return (total / np.maximum(n_cubes, 1)).astype(np.float32)
