"""Dice overlap of segmentations."""

from __future__ import annotations

import numpy as np
import pytest

from bidsapp_brainage.segmentation.labels import muse_labels
from bidsapp_brainage.segmentation.overlap import dice, overlaps


def test_dice_by_region_and_tissue():
    truth = np.array([81, 81, 81, 106, 106, 51, 1, 0])
    found = np.array([81, 81, 106, 106, 106, 51, 0, 0])
    labels = muse_labels()
    scores = overlaps(labels.classes(found), labels.classes(truth), labels)
    assert scores["Frontal_WM_R"] == pytest.approx(0.8)
    assert scores["AngularGyrus_R"] == pytest.approx(0.8)
    assert scores["CortCSF"] == 0
    assert np.isnan(scores["Hippocampus_L"])
    assert scores["CSF"] == pytest.approx(2 / 3)
    assert (scores["Ventricles"], scores["GM and WM"]) == (1, 1)
    assert scores["Brain"] == pytest.approx(12 / 13)
    assert len(scores) == labels.n_classes - 1 + 6  # no sum bears the name of a region


def test_masks_that_are_both_empty_have_no_overlap() -> None:
    nothing, one = np.zeros(3, bool), np.array([True, False, False])
    assert np.isnan(dice(nothing, nothing))
    assert (dice(one, nothing), dice(one, one)) == (0, 1)
