"""Grids, conventions and files of transforms."""

from __future__ import annotations

import time

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging import conversion, transforms
from bidsapp_brainage.imaging.fitting.initialisation import rotation_matrix

NUMBERS = st.floats(-40, 40)


def affine_of(numbers: list[float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(*numbers[:3]) * (1 + np.array(numbers[3:6]) / 100)
    matrix[:3, 3] = numbers[6:9]
    return matrix


@given(st.lists(NUMBERS, min_size=9, max_size=9))
@settings(max_examples=30, deadline=None)
def test_affines_survive_the_way_to_itk_and_back(numbers: list[float]) -> None:
    matrix = affine_of(numbers)
    itk = conversion.affine_to_sitk(matrix)
    assert np.allclose(conversion.affine_from_sitk(itk), matrix)
    ras = np.array([10.0, -20.0, 30.0])
    lps = itk.TransformPoint((ras * [-1, -1, 1]).tolist())
    assert np.allclose(np.array(lps) * [-1, -1, 1], nib.affines.apply_affine(matrix, ras))


@given(st.lists(NUMBERS, min_size=9, max_size=9))
@settings(max_examples=20, deadline=None)
def test_images_survive_the_way_to_itk_and_back(numbers: list[float]) -> None:
    grid = np.eye(4)
    grid[:3, :3] = rotation_matrix(*numbers[:3]) * [2.0, 1.0, 1.5]
    grid[:3, 3] = numbers[6:9]
    data = np.random.default_rng(0).uniform(0, 1, (5, 6, 7)).astype(np.float32)
    back = conversion.from_sitk(conversion.to_sitk(nib.Nifti1Image(data, grid)))
    assert np.array_equal(back.get_fdata(dtype=np.float32), data)
    assert np.allclose(back.affine, grid, atol=1e-6)


def test_files_hold_what_was_written(tmp_path) -> None:
    matrix = affine_of([5.0, -3.0, 8.0, 2.0, -4.0, 1.0, 7.0, -9.0, 11.0])
    field = nib.Nifti1Image(
        np.random.default_rng(0).normal(0, 2, (8, 9, 10, 3)), np.diag([8.0, 8.0, 8.0, 1.0])
    )
    path = tmp_path / "from-T1w_to-X_mode-image_xfm.h5"
    transforms.write_xfm(path, affine=matrix, field=field)
    point = (-20.0, -30.0, 25.0)
    built = transforms.forward_transform(matrix, field).TransformPoint(point)
    assert np.allclose(transforms.read_xfm(path).TransformPoint(point), built, atol=1e-4)
    assert np.allclose(transforms.read_affine(path), matrix)
    transforms.write_affine(tmp_path / "affine.txt", matrix)
    assert np.allclose(transforms.read_affine(tmp_path / "affine.txt"), matrix)


def test_the_same_transform_gives_the_same_bytes_later(tmp_path) -> None:
    field = nib.Nifti1Image(
        np.random.default_rng(0).normal(0, 2, (8, 9, 10, 3)), np.diag([8.0, 8.0, 8.0, 1.0])
    )
    content = []
    for name in ("a_xfm.h5", "b_xfm.h5"):
        transforms.write_xfm(tmp_path / name, affine=np.eye(4), field=field)
        content.append((tmp_path / name).read_bytes())
        time.sleep(1.1)  # HDF5 stores whole seconds
    assert content[0] == content[1]


def test_damaged_files_are_named(tmp_path) -> None:
    broken = tmp_path / "broken_xfm.h5"
    broken.write_bytes(b"not a transform")
    with pytest.raises(DataError, match=r"broken_xfm\.h5"):
        transforms.read_xfm(broken)
    (tmp_path / "short.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match=r"short\.txt"):
        transforms.read_affine(tmp_path / "short.txt")


def test_labels_stay_whole_numbers(template) -> None:
    labels = nib.Nifti1Image((template.get_fdata() * 50).astype(np.int32), template.affine)
    out = transforms.apply_xfm(labels, template, affine_of([3.0] * 9), interpolation="nearest")
    assert out.get_data_dtype() == np.int32
    assert set(np.unique(out.get_fdata())) <= set(np.unique(labels.get_fdata())) | {0}
    assert np.array_equal(out.affine, template.affine)


@pytest.mark.parametrize("shift", [0.0, 31.0, 500.0])
def test_labels_are_the_same_whether_looked_for_or_not(monkeypatch, shift):
    labels = np.zeros((40, 44, 36), np.int32)
    labels[14:26, 12:30, 10:25] = 3
    labels[18:20, 20, 25:36] = 7  # a tail to the edge, beyond the margin around the rest
    image = nib.Nifti1Image(labels, np.diag([2.0, 2.0, 2.0, 1.0]))
    grid = nib.Nifti1Image(np.zeros((90, 80, 85), np.uint8), np.eye(4))
    turned = affine_of([3.1, -2.3, 16.7, 0, 0, 0, shift, shift, shift])  # no point lies half-way
    whole = transforms.apply_xfm(image, grid, turned, interpolation="nearest")
    monkeypatch.setattr(transforms, "_COARSE_FROM", 0)
    found = transforms.apply_xfm(image, grid, turned, interpolation="nearest")
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(whole.dataobj))
    assert np.asarray(whole.dataobj).any() == (shift < 100)
    assert found.get_data_dtype() == whole.get_data_dtype() == np.int32


def test_a_mask_is_the_same_whether_looked_for_or_not(monkeypatch):
    mask = np.zeros((40, 44, 36), np.float32)
    mask[14:26, 12:30, 10:25] = 1
    image = nib.Nifti1Image(mask, np.diag([2.0, 2.0, 2.0, 1.0]))
    grid = nib.Nifti1Image(np.zeros((90, 80, 85), np.uint8), np.eye(4))
    turned = affine_of([3.1, -2.3, 16.7, 0, 0, 0, 31.0, 31.0, 31.0])
    whole = transforms.apply_xfm(image, grid, turned)
    monkeypatch.setattr(transforms, "_COARSE_FROM", 0)
    found = transforms.apply_xfm(image, grid, turned, sparse=True)
    np.testing.assert_allclose(found.get_fdata(), whole.get_fdata(), atol=1e-5)
