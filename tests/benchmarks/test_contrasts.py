"""Versions of an image have the contrast that their name says, and are the same every time."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from benchmarks.contrasts import (
    BIAS,
    KINDS,
    RATIOS,
    contrast_version,
    grey_white_curve,
    image_version,
    main,
    tilted,
)
from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.tissue import three_levels

SHAPE = (40, 48, 40)


@pytest.fixture(scope="module")
def head():
    """Shells of white, grey matter and fluid with a bright rim of scalp; the mask."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    head = np.select([radius < 0.15, radius < 0.5, radius < 0.7, radius < 0.8], [20, 110, 80, 22])
    head = np.where((radius > 0.85) & (radius < 0.95), 160, head).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 1, SHAPE)
    return (head + np.abs(noise)).astype(np.float32), radius < 0.8


@pytest.mark.parametrize(("kind", "ratio"), RATIOS.items())
def test_grey_matter_gets_its_part_of_white_matter(head, kind, ratio):
    t1w, mask = head
    found = contrast_version(t1w, mask, kind, np.random.default_rng(0))
    _, grey, white = three_levels(found[mask])
    assert grey / white == pytest.approx(ratio, abs=0.02)
    fluid, _, before = three_levels(t1w[mask])
    assert white == pytest.approx(before, rel=0.02)
    assert found[t1w > 155].mean() == pytest.approx(t1w[t1w > 155].mean(), rel=0.02)


def test_the_curve_rises_everywhere():
    curve = grey_white_curve((20, 80, 110), 0.85)
    values = np.linspace(0, 300, 500)
    assert (np.diff(curve(values)) > 0).all()
    assert curve(np.array([20.0, 80.0, 110.0, 290.0])) == pytest.approx([20, 93.5, 110, 290])
    with pytest.raises(DataError, match="no T1w"):
        grey_white_curve((100, 105, 110), 0.7)


def test_gamma_moves_grey_matter_down_or_up(head):
    t1w, mask = head
    _, grey, white = three_levels(t1w[mask])
    for kind, gamma in (("gamma07", 0.7), ("gamma14", 1.4)):
        found = contrast_version(t1w, mask, kind, np.random.default_rng(0))
        levels = three_levels(found[mask])
        assert levels[1] / levels[2] == pytest.approx((grey / white) ** gamma, abs=0.02)


def test_noise_field_and_stripping(head):
    t1w, mask = head
    white = three_levels(t1w[mask])[2]
    bright = ndimage.binary_erosion((t1w > 100) & mask)
    noisy = contrast_version(t1w, mask, "noise4", np.random.default_rng(0))
    assert (noisy - t1w)[bright].std() == pytest.approx(0.04 * white, rel=0.1)
    air = (t1w < 3) & ~mask
    assert noisy[air].min() >= 0
    assert noisy[air].mean() > t1w[air].mean()  # Rician: noise does not cancel in air
    ratio = contrast_version(t1w, mask, "bias", np.random.default_rng(0))[mask] / t1w[mask]
    assert np.log(ratio).std() == pytest.approx(BIAS, rel=0.15)
    assert ratio.mean() == pytest.approx(1, rel=1e-3)
    stripped = contrast_version(t1w, mask, "stripped", np.random.default_rng(0))
    assert not stripped[~mask].any()
    np.testing.assert_array_equal(stripped[mask], t1w[mask])


def test_tilting_moves_a_point_by_twenty_degrees():
    volume = np.zeros((21, 61, 61), np.float32)
    volume[10, 55, 30] = 1
    volume = ndimage.gaussian_filter(volume, 1.5)
    place = np.array(ndimage.center_of_mass(tilted(volume)))[1:] - 30
    assert np.linalg.norm(place) == pytest.approx(25, abs=0.2)
    assert abs(np.degrees(np.arctan2(place[1], place[0]))) == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_aligned_versions_stay_aligned_and_repeatable(head, kind):
    t1w, mask = head
    first, second = (contrast_version(t1w, mask, kind, np.random.default_rng(3)) for _ in "ab")
    np.testing.assert_array_equal(first, second)
    assert first.shape == SHAPE
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.abs(first - t1w)[mask].mean() > 0.01 or kind == "stripped"
    assert np.corrcoef(first[mask], t1w[mask])[0, 1] > 0.8


def test_impossible_requests(head):
    t1w, mask = head
    with pytest.raises(DataError, match="no version sepia"):
        contrast_version(t1w, mask, "sepia", np.random.default_rng(0))
    with pytest.raises(DataError, match="mask is empty"):
        contrast_version(t1w, np.zeros_like(mask), "bias", np.random.default_rng(0))


def test_resampling_and_tilt_of_a_whole_image(head):
    t1w, mask = head
    fine = image_version(
        nib.Nifti1Image(t1w, np.diag([2, 2, 2, 1])), mask, "resampled", np.random.default_rng(0)
    )
    assert fine.header.get_zooms() == pytest.approx((1, 1, 1))
    coarse = image_version(
        nib.Nifti1Image(t1w, np.diag([1, 1.2, 1, 1])), mask, "resampled", np.random.default_rng(0)
    )
    assert coarse.header.get_zooms() == pytest.approx((2, 2, 2))
    assert np.asarray(coarse.dataobj).sum() * 8 == pytest.approx(t1w.sum() * 1.2, rel=0.1)


def test_a_dataset_per_version_with_masks_of_another_orientation(head, tmp_path, capsys):
    t1w, mask = head
    for name in ("sub-01", "sub-02"):
        flipped = nib.Nifti1Image(t1w[::-1].copy(), np.diag([-2.0, 2, 2, 1]))
        flipped.affine[0, 3] = 2 * (SHAPE[0] - 1)
        image = nib.Nifti1Image(flipped.dataobj, flipped.affine)
        io.save_nifti(image, tmp_path / "bids" / name / "anat" / f"{name}_T1w.nii.gz")
        lateral = mask.copy()
        lateral[: SHAPE[0] // 2] = False
        io.save_nifti(
            nib.Nifti1Image(lateral.astype(np.uint8) * 59, np.diag([2.0, 2, 2, 1])),
            tmp_path / "masks" / f"{name}_space-T1w_seg-MUSE_dseg.nii.gz",
        )
    ages = pd.DataFrame({"participant_id": ["sub-01", "sub-02"], "age": [30, 40]})
    io.write_tsv(tmp_path / "bids" / "participants.tsv", ages)
    arguments = [str(tmp_path / "bids"), str(tmp_path / "out"), "--masks", str(tmp_path / "masks")]
    assert main([*arguments, "--kinds", "stripped", "noise4", "--people", "1"]) == 0
    assert "2 images" in capsys.readouterr().out
    stripped = io.load_nifti(tmp_path / "out/stripped/sub-01/anat/sub-01_T1w.nii.gz")
    values = np.asarray(stripped.dataobj)
    assert not values[: SHAPE[0] // 2].any()
    assert (values > 0).sum() > 0.4 * mask.sum()
    people = io.read_tsv(tmp_path / "out/noise4/participants.tsv")
    assert people["participant_id"].tolist() == ["sub-01"]
    assert (tmp_path / "out/noise4/dataset_description.json").is_file()


def test_a_dataset_without_images_or_masks_is_an_error(head, tmp_path):
    t1w, _ = head
    with pytest.raises(DataError, match="no T1w image"):
        main([str(tmp_path), str(tmp_path / "out"), "--masks", str(tmp_path)])
    image = nib.Nifti1Image(t1w, np.eye(4))
    io.save_nifti(image, tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    with pytest.raises(DataError, match="no brain mask or label map of sub-01"):
        main([str(tmp_path), str(tmp_path / "out"), "--masks", str(tmp_path / "none")])
