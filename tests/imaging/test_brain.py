"""Bias field, brain mask, model input and quality."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging import network_input, quality, skullstrip
from bidsapp_brainage.imaging.conform import (
    BIAS_LEVELS,
    BIAS_MM,
    conform_t1w,
    correct_bias_field,
)
from bidsapp_brainage.imaging.conversion import to_sitk
from bidsapp_brainage.imaging.transforms import inverse_transform

SPEC = {
    "shape": [40, 48, 40],
    "affine": [[4, 0, 0, -79], [0, 4, 0, -112], [0, 0, 4, -74], [0, 0, 0, 1]],
    "intensity": {"scaling": "brain_zscore", "clip": [-5, 5]},
    "skull_stripped": True,
    "background": 0.0,
}
GOOD = {
    "template_correlation": 0.6,
    "mask_overlap_dice": 0.95,
    "brain_volume_ml": 1400.0,
    "brain_volume_min_ml": 1000.0,
    "brain_volume_max_ml": 1900.0,
    "fov_clipped_fraction": 0.0,
    "resolution_mm": 1.0,
    "n_nan": 0,
    "n_orientations": 2,
    "sform_qform_mm": 0.0,
    "dice_mask_segmentation": 0.97,
    "tissues_found": 3,
    "mask_edge_mm": None,
    "given_mask_edge_mm": None,
    "given_xfm_mm": None,
}


def test_bias_field_is_removed_repeatably(head, template_mask) -> None:
    x = np.linspace(-1, 1, head.shape[0])[:, None, None]
    biased = nib.Nifti1Image((head.get_fdata() * (1 + 0.4 * x)).astype(np.float32), head.affine)
    corrected = correct_bias_field(biased)
    again = correct_bias_field(biased)
    inside = template_mask.get_fdata() > 0
    true = head.get_fdata()[inside]

    def unevenness(img: nib.Nifti1Image) -> float:
        ratio = img.get_fdata()[inside] / true
        return float(np.std(ratio[true > 50]) / np.mean(ratio[true > 50]))

    assert unevenness(corrected) < 0.6 * unevenness(biased)
    assert np.array_equal(corrected.get_fdata(), again.get_fdata())


def test_bias_field_is_itks_at_every_voxel(head) -> None:
    x = np.linspace(-1, 1, head.shape[0])[:, None, None]
    turned = head.affine @ nib.affines.from_matvec(Rotation.from_rotvec([0.2, 0.1, 0]).as_matrix())
    biased = nib.Nifti1Image(
        (head.get_fdata() * (1 + 0.4 * x)).astype(np.float32)[:-5, 3:-4], turned
    )
    image = to_sitk(biased)
    small = sitk.Shrink(image, [max(1, round(BIAS_MM / size)) for size in image.GetSpacing()])
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([30] * BIAS_LEVELS)
    n4.SetConvergenceThreshold(1e-3)
    n4.Execute(small, sitk.OtsuThreshold(small, 0, 1, 200))
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T)
    shown = biased.get_fdata() > 0
    ratio = biased.get_fdata()[shown] / correct_bias_field(biased).get_fdata()[shown] / field[shown]
    assert np.ptp(field) > 0.2
    assert np.allclose(ratio, ratio[0], rtol=1e-4)


def test_entropy_focus_is_as_its_definition(head, template_mask) -> None:
    conformed, facts = conform_t1w(head, "a")
    row = quality.quality_metrics(
        conformed, conformed, template_mask, facts, GOOD | {"registration_mi": 1.2}
    )
    data = np.asarray(conformed.dataobj, dtype=np.float64)
    share = data[data > 0] / np.sqrt((data**2).sum())
    largest = np.sqrt(data.size) * np.log(1 / np.sqrt(data.size))
    assert row["efc"] == pytest.approx(np.sum(share * np.log(share)) / largest, rel=1e-5)


def test_stripped_images_are_recognised(head, template) -> None:
    assert skullstrip.is_skull_stripped(template)
    assert not skullstrip.is_skull_stripped(head)


@pytest.mark.parametrize("stripped", [True, False])
def test_brain_mask(head, template, template_mask, stripped: bool) -> None:
    img = template if stripped else head
    mask = skullstrip.extract_brain(
        img, template_mask, inverse_transform(np.eye(4)), stripped=stripped
    )
    found = mask.get_fdata() > 0
    true = template_mask.get_fdata() > 0
    assert mask.get_data_dtype() == np.uint8
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.95


def test_no_brain_is_an_error(head, template_mask) -> None:
    far = np.eye(4)
    far[0, 3] = 400.0
    with pytest.raises(DataError, match="brain mask holds 0 ml"):
        skullstrip.extract_brain(head, template_mask, inverse_transform(far), stripped=False)


def test_model_input_is_on_the_cards_grid(template, template_mask) -> None:
    volume, mask = network_input.model_input(template, template_mask, np.eye(4), SPEC)
    inside = mask.get_fdata() > 0
    assert volume.shape == (40, 48, 40)
    assert np.array_equal(volume.affine, np.array(SPEC["affine"], float))
    assert np.all(volume.get_fdata()[~inside] == 0)
    assert abs(volume.get_fdata()[inside].mean()) < 0.05


@pytest.mark.parametrize("rim", [0, 2])
def test_an_image_near_the_mask_is_that_of_the_whole_head(head, template_mask, rim: int) -> None:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix() * 1.1
    grid = network_input.card_grid(SPEC)
    whole, mask = network_input.brought_to(grid, head, template_mask, turned)
    near, same = network_input.brought_to(grid, head, template_mask, turned, rim=rim)
    assert np.array_equal(mask, same)
    wanted = ndimage.binary_dilation(mask, iterations=rim) if rim else mask
    assert np.allclose(near[wanted], whole[wanted], rtol=1e-4, atol=1e-3 * whole.max())
    assert (near == 0).sum() > (whole == 0).sum()


def test_stripped_and_whole_heads_look_alike_to_the_network(head, template_mask) -> None:
    whole = skullstrip.extract_brain(
        head, template_mask, inverse_transform(np.eye(4)), stripped=False
    )
    brain = nib.Nifti1Image(
        head.get_fdata(dtype=np.float32) * template_mask.get_fdata(), head.affine
    )
    cut = skullstrip.extract_brain(
        brain, template_mask, inverse_transform(np.eye(4)), stripped=True
    )
    a = network_input.model_input(head, whole, np.eye(4), SPEC)[0].get_fdata()
    b = network_input.model_input(brain, cut, np.eye(4), SPEC)[0].get_fdata()
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95
    assert (cut.get_fdata()[brain.get_fdata() == 0]).any(), "the rim of fluid belongs to the mask"


@pytest.mark.parametrize(
    ("change", "decision", "words"),
    [
        ({}, "pass", "n/a"),
        ({"template_correlation": 0.1}, "fail", "does not resemble"),
        ({"mask_overlap_dice": 0.5}, "fail", "does not overlap"),
        ({"dice_mask_segmentation": 0.3}, "fail", "no brain inside the brain mask"),
        ({"template_correlation": 0.4}, "warn", "weak resemblance"),
        ({"dice_mask_segmentation": 0.8}, "warn", "segmentation disagree"),
        ({"dice_mask_segmentation": None, "tissues_found": None}, "pass", "n/a"),
        ({"mask_edge_mm": 5.0}, "warn", "wider or narrower"),
        ({"given_mask_edge_mm": -1.6}, "pass", "n/a"),
        ({"given_mask_edge_mm": 5.0}, "warn", "the app's own disagree"),
        ({"given_xfm_mm": 30.0}, "warn", "registration of another program"),
        ({"tissues_found": 1}, "warn", "white matter or fluid not found"),
        ({"brain_volume_ml": 700.0}, "warn", "unusual brain volume"),
        ({"brain_volume_ml": 1950.0}, "warn", "unusual brain volume"),
        ({"brain_volume_ml": 700.0, "brain_volume_min_ml": None}, "pass", "n/a"),
        ({"fov_clipped_fraction": 0.1}, "warn", "cut by the field of view"),
        ({"resolution_mm": 4.0}, "warn", "coarse"),
        ({"n_nan": 5}, "warn", "NaN"),
        ({"sform_qform_mm": 20.0}, "warn", "the sform was used"),
        ({"sform_qform_mm": None, "n_orientations": 1}, "pass", "n/a"),
        ({"sform_qform_mm": None, "n_orientations": 0}, "warn", "left and right were assumed"),
    ],
)
def test_decisions(change: dict, decision: str, words: str) -> None:
    found, reason = quality.decide({**GOOD, **change})
    assert found == decision
    assert words in reason


def test_every_metric_is_there(head, template_mask) -> None:
    facts = {**conform_t1w(head, "head")[1], "n_nan": 0, "resolution_mm": [2.0, 2.0, 2.0]}
    registration = {key: GOOD.get(key, 1.2) for key in quality._REGISTRATION_KEYS}
    raw = nib.Nifti1Image(head.get_fdata() * 1.1, head.affine)
    row = quality.quality_metrics(raw, head, template_mask, facts, registration)
    assert row["decision"] == "pass"
    assert row["dice_mask_segmentation"] is None
    opinion = {"dice_mask_segmentation": 0.8, "tissues_found": 3}
    row = quality.quality_metrics(raw, head, template_mask, facts, registration, opinion)
    assert row["decision"] == "warn"
    for key in ("cnr", "snr", "efc", "fber", "wm2max", "inhomogeneity", "brain_volume_ml"):
        assert np.isfinite(row[key]), key
