"""Maps of regions in the page: labels found again, packed and placed rightly."""

from __future__ import annotations

import base64
import json
import zlib

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import save_nifti
from bidsapp_brainage.reports.figures.mosaic import Volume
from bidsapp_brainage.reports.individual.region_volumes import (
    Measure,
    labels_from_map,
    pack,
    region_viewer,
)

MEASURES = (Measure("delta_age", "contribution", "years"),)


@given(
    st.lists(st.integers(-(10**6), 10**6).filter(bool), min_size=1, max_size=30, unique=True),
    st.integers(0, 2**16),
)
def test_labels_are_found_again_from_a_painted_map(values, seed):
    effects = np.array(values) / 1e4
    truth = np.random.default_rng(seed).integers(0, len(values) + 1, (4, 5, 3))
    painted = np.concatenate([[0.0], effects])[truth].astype(np.float32)
    found = labels_from_map(painted, effects)
    if truth.any():
        near = np.abs(effects[:, None] - effects[None]) < 2e-4 * np.abs(effects)
        if near.sum() == len(values):  # no two values that a table of six digits cannot part
            assert (found == truth).all()
    else:
        assert found is None


def test_regions_of_equal_value_get_the_first_and_missing_ones_none():
    effects = np.array([0.5, np.nan, -1.0, 0.5, 0.0])
    painted = np.array([[[0.5, 0.0, -1.0]]], np.float32)
    assert labels_from_map(painted, effects).ravel().tolist() == [1, 0, 3]


def test_a_map_of_other_values_is_refused():
    assert labels_from_map(np.array([[[0.7]]]), np.array([0.5, 1.0])) is None
    assert labels_from_map(np.zeros((2, 2, 2)), np.array([0.5])) is None


def _unpack(viewer):
    facts = json.loads(viewer.facts)
    stream = {
        "labels": np.frombuffer(zlib.decompress(base64.b64decode(viewer.labels)), "<u2"),
        "grey": np.frombuffer(zlib.decompress(base64.b64decode(viewer.grey)), np.uint8),
    }
    return facts, {k: v.reshape(facts["shape"], order="F") for k, v in stream.items()}


def test_a_fine_grid_is_thinned_out_and_keeps_its_place(monkeypatch):
    monkeypatch.setattr("bidsapp_brainage.reports.individual.region_volumes._LARGEST", 1000)
    labels = np.zeros((30, 30, 30), np.uint16)
    labels[10:20, 5:25, 8:28] = 1
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-15, -10, -12)
    rows = pd.DataFrame({"name": ["A"], "delta_age": [0.5]})
    facts, volumes = _unpack(pack("x", Volume(labels, affine), None, rows, MEASURES))
    assert volumes["labels"].size <= 2000
    where = np.argwhere(volumes["labels"] == 1)
    millimetres = facts["origin"] + where * facts["step"]
    assert millimetres.min(axis=0) == pytest.approx([-5, -5, -4], abs=facts["step"][0])
    assert facts["centres"][0] in where.tolist()


def test_other_grid_under_the_map_is_a_clear_error(tmp_path):
    rows = pd.DataFrame({"name": ["A"], "delta_age": [0.5]})
    save_nifti(nib.Nifti1Image(np.full((4, 4, 4), 0.5, "f4"), np.eye(4)), tmp_path / "m.nii.gz")
    save_nifti(nib.Nifti1Image(np.ones((5, 4, 4), "f4"), np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(DataError, match="not on the grid"):
        region_viewer("x", tmp_path / "m.nii.gz", tmp_path / "b.nii.gz", rows, MEASURES)
    assert region_viewer("x", tmp_path / "m.nii.gz", None, rows, MEASURES) is not None
