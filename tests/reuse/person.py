"""A person with derivatives of sMRIPrep, and the transforms that are true of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.reuse.layout import Anatomy

#: From points of the other template to points of the embedded one (RAS mm).
OTHER = np.array([[1.02, 0.03, 0, 2.0], [-0.02, 0.99, 0, -3.0], [0, 0, 1.01, 4.0], [0, 0, 0, 1]])
#: From points of the mean image to those of a single one.
RIGID = np.array([[1, -0.05, 0, 3.0], [0.05, 1, 0, -2.0], [0, 0, 1, 5.0], [0, 0, 0, 1]])
AFFINE = np.array([[1.04, 0, 0, 6.0], [0, 0.97, 0.04, -4.0], [0, -0.04, 1, 9.0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Person:
    """The files, and the transforms that are true of them.

    `to_t1w` leads from points of the other template to those of the T1w, `to_other` back.
    """

    root: Path
    folder: Path
    t1w: Path
    template: tuple[Path, Path]
    other: tuple[Path, Path]
    to_t1w: sitk.Transform
    to_other: sitk.Transform
    anatomy: Anatomy
