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


def with_forms(sform: np.ndarray | None, qform: np.ndarray | None) -> nib.Nifti1Image:
    """A 4D image with one volume whose header has these orientations, with codes 2 and 1."""
    made = nib.Nifti1Image(RNG.uniform(0, 1, (40, 40, 40, 1)), None)
    made.header.set_zooms((4.0, 4.0, 4.0, 1.0))
    made.header.set_sform(sform, 0 if sform is None else 2)
    made.header.set_qform(qform, 0 if qform is None else 1)
    return nib.Nifti1Image.from_bytes(made.to_bytes())


AHEAD, SHIFTED = np.diag([4.0, 4, 4, 1]), np.diag([4.0, 4, 4, 1])
SHIFTED[:3, 3] = (3, 0, 4)
TURNED = np.array([[0.0, -4, 0, 9], [4, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
MIRRORED, LONGER = np.diag([-4.0, 4, 4, 1]), np.diag([4.0, 4, 5, 1])


@pytest.mark.parametrize(
    ("sform", "qform", "codes", "count", "distance", "used"),
    [
        (AHEAD, AHEAD, (2, 1), 2, 0.0, "RAS"),
        (SHIFTED, AHEAD, (2, 1), 2, 0.0, "RAS"),
        (AHEAD, TURNED, (2, 1), 2, 0.0, "RAS"),
        (LONGER, AHEAD, (2, 1), 2, 19.5, "RAS"),
        (MIRRORED, AHEAD, (2, 1), 2, 156.0, "LAS"),
        (AHEAD, MIRRORED, (2, 1), 2, 156.0, "RAS"),
        (None, MIRRORED, (0, 1), 1, None, "LAS"),
        (AHEAD, None, (2, 0), 1, None, "RAS"),
        (None, None, (0, 0), 0, None, "LAS"),
    ],
)
def test_both_orientations_of_the_header_are_told_and_the_sform_is_used(
    sform: np.ndarray | None,
    qform: np.ndarray | None,
    codes: tuple[int, int],
    count: int,
    distance: float | None,
    used: str,
) -> None:
    _, facts = conform_t1w(with_forms(sform, qform), "x")
    assert (facts["sform_code"], facts["qform_code"]) == codes
    assert facts["n_orientations"] == count
    assert facts["sform_qform_mm"] == (
        None if distance is None else pytest.approx(distance, abs=1e-3)
    )
    assert facts["orientation"] == used


def test_a_qform_that_is_no_rotation_is_not_used() -> None:
    made = with_forms(AHEAD, AHEAD)
    made.header["quatern_b"] = made.header["quatern_c"] = made.header["quatern_d"] = 2.0
    facts = conform_t1w(made, "x")[1]
    assert (facts["qform_code"], facts["n_orientations"]) == (1, 1)
