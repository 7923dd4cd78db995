"""Known poses and warps are recovered, the same way every time."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging import registration
from bidsapp_brainage.imaging.conversion import to_sitk
from bidsapp_brainage.imaging.fitting.initialisation import (
    best_poses,
    candidate_rotations,
    rotation_matrix,
)
from bidsapp_brainage.imaging.fitting.local_correlation import LocalCorrelation, refined
from bidsapp_brainage.imaging.transforms import apply_xfm, forward_transform, inverse_transform

from .conftest import world_error


def moved(img: nib.Nifti1Image, matrix: np.ndarray) -> nib.Nifti1Image:
    """Resample so that template point p sits at ``matrix @ p``; large enough to hold it."""
    grid = nib.Nifti1Image(
        np.zeros((130, 130, 130), np.uint8),
        np.array([[2.0, 0, 0, -130], [0, 2.0, 0, -130], [0, 0, 2.0, -130], [0, 0, 0, 1]]),
    )
    return apply_xfm(img, grid, np.linalg.inv(matrix))


def rigid(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(*angles)
    matrix[:3, 3] = shift
    return matrix


def test_candidate_rotations_are_proper() -> None:
    rotations = [rotation for rotation, _ in candidate_rotations()]
    for rotation in rotations:
        assert np.allclose(rotation @ rotation.T, np.eye(3))
        assert np.isclose(np.linalg.det(rotation), 1.0)
    assert any(np.allclose(rotation, np.eye(3)) for rotation in rotations)


@pytest.mark.parametrize(
    ("angles", "shift"),
    [((-35, 0, 12), (15, -20, 10)), ((0, 0, 90), (0, 10, 0)), ((170, 0, 0), (-10, 0, 20))],
)
def test_tilted_and_swapped_heads_are_found(head, template, template_mask, angles, shift) -> None:
    true = rigid(angles, shift)
    pose = best_poses(moved(head, true), template, template_mask)[0]
    assert world_error(pose.matrix, true, template_mask) < 30.0


@pytest.mark.slow
@pytest.mark.parametrize("angles", [(-25, 8, 5), (0, 30, -25)])  # between those that are tried
def test_affine_is_recovered_and_repeatable(head, template, template_mask, angles) -> None:
    true = rigid(angles, (12, -15, 8)) @ np.diag([0.95, 0.9, 1.05, 1.0])
    img = moved(head, true)
    found = registration.fit_affine(img, template, template_mask, stripped=False, sloppy=True)
    again = registration.fit_affine(img, template, template_mask, stripped=False, sloppy=True)
    assert world_error(found, true, template_mask) < 3.0
    assert np.array_equal(found, again)


def test_pose_is_refined_from_far_and_the_better_start_wins(head, template, template_mask) -> None:
    true = rigid((4, -3, 6), (9, -7, 5)) @ np.diag([0.93, 1.05, 0.97, 1.0])
    image = moved(registration.robust_range(head), true)
    images = [to_sitk(img) for img in (template, template_mask, image)]
    starts = [rigid((0, 0, 90), (60, 0, 0)), np.eye(4)]
    found = refined(*images, starts, registration.SEARCH_MM)
    assert world_error(np.eye(4), true, template_mask) > 15.0
    assert world_error(found, true, template_mask) < 6.0
    assert np.array_equal(found, refined(*images, starts, registration.SEARCH_MM))


def test_slope_of_local_correlation_is_that_of_its_value(template, template_mask) -> None:
    smooth = nib.Nifti1Image(ndimage.gaussian_filter(template.get_fdata(), 2), template.affine)
    metric = LocalCorrelation(*(to_sitk(img) for img in (smooth, template_mask, smooth)))
    start, change = rigid((2, 0, -3), (3, 1, -2)), np.linspace(-0.6, 0.5, 12)
    _, slope, _ = metric.slope(start, change)
    by_steps = [
        metric.slope(start, change + step)[0] - metric.slope(start, change - step)[0]
        for step in np.eye(12) * 0.05
    ]
    assert np.allclose(slope, np.array(by_steps) / 0.1, atol=0.1 * np.abs(slope).max())


def test_noise_is_not_a_brain(template, template_mask) -> None:
    noise = np.random.default_rng(0).uniform(0, 1, (70, 70, 70)).astype(np.float32)
    img = nib.Nifti1Image(noise, np.diag([3.0, 3.0, 3.0, 1.0]))
    with pytest.raises(DataError, match="resembles a brain"):
        registration.fit_affine(img, template, template_mask, stripped=False, sloppy=True)


def test_warp_improves_the_fit_and_inverts(head, template, template_mask) -> None:
    affine = np.diag([1.03, 0.98, 1.0, 1.0])
    warp = registration.fit_warp(head, template, template_mask, affine, sloppy=True)
    inside = template_mask.get_fdata() > 0
    before = apply_xfm(head, template, forward_transform(affine)).get_fdata()[inside]
    after = apply_xfm(head, template, forward_transform(affine, warp.forward)).get_fdata()[inside]
    reference = template.get_fdata()[inside]
    assert registration.correlation(reference, after) > registration.correlation(reference, before)
    sides = [np.asarray(warp.forward.dataobj).take([0, 1], axis=axis) for axis in range(3)]
    for axis, side in enumerate(sides):  # no tear where greedy's grid ends
        assert np.allclose(side.take(0, axis=axis), side.take(1, axis=axis), atol=0.5)
    forward = forward_transform(affine, warp.forward)
    inverse = inverse_transform(affine, warp.inverse)
    for point in [(0.0, 0.0, 0.0), (30.0, -40.0, 20.0), (-40.0, 20.0, 10.0)]:
        there = inverse.TransformPoint(forward.TransformPoint(point))
        assert np.linalg.norm(np.subtract(there, point)) < 1.0


def test_registration_quality(head, template, template_mask) -> None:
    good = registration.registration_quality(
        head, template_mask, template, template_mask, np.eye(4)
    )
    assert good["template_correlation"] > 0.9
    assert good["mask_overlap_dice"] > 0.95
    assert good["fov_clipped_fraction"] == 0.0
    off = rigid((0, 0, 0), (0, 0, 60))
    bad = registration.registration_quality(head, template_mask, template, template_mask, off)
    assert bad["fov_clipped_fraction"] > 0.05
    assert bad["template_correlation"] < good["template_correlation"]
    assert bad["registration_mi"] < good["registration_mi"]


def test_rigid_registration_finds_the_motion_between_contrasts(
    head: nib.Nifti1Image, template_mask: nib.Nifti1Image
) -> None:
    data = np.asarray(head.dataobj)
    other = nib.Nifti1Image(np.where(data > 10, 120 - data, 0), head.affine)
    motion = rigid((0.03, -0.05, 0.12), (4, 40, 6))  # and headers that do not agree
    found = registration.fit_rigid(moved(other, motion), head, template_mask)
    assert world_error(found, motion, template_mask) < 1.5
