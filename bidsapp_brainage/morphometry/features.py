"""From regional measures to what a model sees: thickness, and volumes free of the head's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind: TypeAlias = Literal["thickness", "fraction", "size"]

KINDS: tuple[Kind, ...] = get_args(Kind)
CLIP_SD = 6.0  # a standardised measure beyond is taken as that far
_SMALLEST_MM3 = 1.0  # a structure that was not found has this volume in logarithms


@dataclass(frozen=True)
class Feature:
    """One number that a model sees.

    Attributes
    ----------
    name : str
        Of the measure, as in :class:`.subjects.Morphometry`.
    kind : {"thickness", "fraction", "size"}
        mm as they are; logarithm of the volume over that of the brain; logarithm of the volume.
    """

    name: str
    kind: Kind

    @property
    def hemisphere(self) -> str:
        """``L``, ``R``, or ``B`` for both or midline."""
        if self.name.startswith(("lh", "Left-")):
            return "L"
        return "R" if self.name.startswith(("rh", "Right-")) else "B"


def design(values: pd.DataFrame, features: Sequence[Feature], size: str) -> Floats:
    """Features (n, m) of people with measures (n rows), NaN where a measure is missing.

    Parameters
    ----------
    values : DataFrame
        As :class:`.tables.Measures` has them: mm and mm3.
    features : sequence of Feature
    size : str
        Volume that fractions are of.
    """
    known = values.reindex(columns=[feature.name for feature in features])
    columns = known.to_numpy(dtype=np.float64)
    whole = _log(values.reindex(columns=[size]).to_numpy(dtype=np.float64))
    kinds = np.array([feature.kind for feature in features])
    # thickness 0 and no brain at all are failures of the surfaces, not measures
    thickness = np.where(columns > 0, columns, np.nan)
    fraction = _log(columns) - whole
    found = np.select([kinds == "thickness", kinds == "fraction"], [thickness, fraction])
    return np.where(kinds == "size", _log(columns), found)


def standardise(x: Floats, center: Floats, scale: Floats) -> Floats:
    """Features in SD of the training people, limited to ``CLIP_SD``; NaN stays NaN."""
    return np.clip((x - center) / scale, -CLIP_SD, CLIP_SD)


def _log(volumes: Floats) -> Floats:
    return np.asarray(np.log(np.where(volumes >= 0, np.maximum(volumes, _SMALLEST_MM3), np.nan)))
