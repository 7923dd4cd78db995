"""Every T1w comes out in one form, or with a message that names the file."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.conform import conform_t1w

RNG = np.random.default_rng(1)
CODES = [a + b + c for a in "LR" for b in "AP" for c in "SI"]
CODES += [c[1:] + c[0] for c in CODES] + [c[2] + c[1] + c[0] for c in CODES]


def image(data: np.ndarray | None = None, zooms: float = 4.0) -> nib.Nifti1Image:
    if data is None:
        data = RNG.uniform(0, 100, (40, 48, 44)).astype(np.float32)
    return nib.Nifti1Image(data, np.diag([zooms, zooms, zooms, 1.0]))


@given(code=st.sampled_from(CODES))
@settings(max_examples=24, deadline=None)
def test_any_orientation_gives_the_same_ras_image(code: str) -> None:
    img = image()
    ornt = ornt_transform(nib.io_orientation(img.affine), axcodes2ornt(code))
    turned = nib.apply_orientation(img.get_fdata(dtype=np.float32), ornt)
    affine = img.affine @ inv_ornt_aff(ornt, img.shape)
    conformed, facts = conform_t1w(nib.Nifti1Image(turned, affine), "x")
    assert facts["orientation"] == code
    assert np.array_equal(conformed.get_fdata(), img.get_fdata())
    assert np.allclose(conformed.affine, img.affine)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_data_types(dtype: type) -> None:
    conformed, _ = conform_t1w(image(RNG.integers(0, 200, (40, 40, 40)).astype(dtype)), "x")
    assert conformed.get_data_dtype() == np.float32


def test_singleton_fourth_dimension_is_dropped() -> None:
    conformed, _ = conform_t1w(image(RNG.uniform(0, 1, (40, 40, 40, 1))), "x")
    assert conformed.shape == (40, 40, 40)


def test_few_nonfinite_voxels_are_counted_and_zeroed() -> None:
    data = RNG.uniform(1, 2, (40, 40, 40))
    data[0, 0, :3] = [np.nan, np.inf, -np.inf]
    conformed, facts = conform_t1w(image(data), "x")
    assert facts["n_nan"] == 3
    assert np.all(conformed.get_fdata()[0, 0, :3] == 0)


@pytest.mark.parametrize(
    ("data", "zooms", "words"),
    [
        (np.zeros((40, 40, 40)), 4.0, "same value"),
        (np.full((40, 40, 40), np.nan), 4.0, "NaN or infinite"),
        (RNG.uniform(0, 1, (40, 40, 40, 3)), 4.0, "3 volumes"),
        (RNG.uniform(0, 1, (40, 40, 1)), 4.0, "three dimensions"),
        (RNG.uniform(0, 1, (30, 30, 30)), 10.0, "too coarse"),
        (RNG.uniform(0, 1, (40, 40, 10)), 4.0, "field of view"),
        (RNG.uniform(0, 1, (40, 40, 40)).astype(np.complex64), 4.0, "not intensities"),
    ],
)
def test_unusable_images_are_refused_by_name(data: np.ndarray, zooms: float, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        conform_t1w(image(data, zooms), "sub-01_T1w.nii.gz")
    assert "sub-01_T1w.nii.gz" in str(caught.value)


def test_an_image_without_orientation_is_refused() -> None:
    header = nib.Nifti1Header()
    header.set_sform(np.diag([0.0, 4.0, 4.0, 1.0]), code=1)
    img = nib.Nifti1Image(RNG.uniform(0, 1, (40, 40, 40)), None, header)
    with pytest.raises(DataError, match="no usable orientation"):
        conform_t1w(img, "x")
