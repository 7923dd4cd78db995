"""A second modality from label maps."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from benchmarks.second_modality import t2w_like
from bidsapp_brainage.segmentation.card import find_segmentation
from bidsapp_brainage.training.segmentation.synthesis import Subject


def test_fluid_is_bright_and_nothing_lies_outside_the_brain() -> None:
    grid = find_segmentation("muse2mm").grid
    shape, affine = tuple(grid["shape"]), np.array(grid["affine"], dtype=float)
    radius = np.linalg.norm(np.indices(shape).T / np.array(shape) - 0.5, axis=-1).T
    labels = np.select([radius < 0.1, radius < 0.3, radius < 0.4], [51, 81, 182], 0)
    subject = Subject(labels.astype(np.float32), labels > 0, labels.astype(np.int16), np.eye(4))
    regions = nib.Nifti1Image(labels.astype(np.int16), affine)
    image, there = t2w_like(subject, regions, "sub-1")
    shown, moved = np.asarray(image.dataobj), np.asarray(there.dataobj)
    assert np.median(shown[moved == 51]) > np.median(shown[moved == 182])
    assert np.median(shown[moved == 182]) > np.median(shown[moved == 81])
    again, _ = t2w_like(subject, regions, "sub-1")
    assert np.array_equal(shown, np.asarray(again.dataobj))
    assert (shown[moved == 0] == 0).mean() > 0.9
