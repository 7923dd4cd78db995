"""A tiny card, and a head whose regions are known."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.segmentation.card import SegmentationCard
from tests.segmentation.tiny import ball, make_segmentation


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> SegmentationCard:
    return make_segmentation(tmp_path_factory.mktemp("segmentation"))


@dataclass
class Head:
    """An image and its mask at 4 mm, in which the template is `scale` times larger."""

    t1w: nib.Nifti1Image
    mask: nib.Nifti1Image
    affine: np.ndarray
    classes: np.ndarray  # on the card's grid


@pytest.fixture(scope="module")
def head() -> Head:
    """A ball 1.25 times as large as in the template: fluid within white within grey matter."""
    scale = 1.25
    size = 60
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -118.0
    points = nib.affines.apply_affine(affine, np.indices((size,) * 3).reshape(3, -1).T) / scale
    distance = np.linalg.norm(points, axis=1).reshape((size,) * 3)
    t1w = np.select([distance < 16, distance < 44, distance < 64], [20.0, 100.0, 60.0])
    return Head(
        nib.Nifti1Image(t1w.astype(np.float32), affine),
        nib.Nifti1Image((distance < 64).astype(np.uint8), affine),
        np.diag([scale, scale, scale, 1.0]),
        ball(),
    )
