"""A brain found in a raw head without correction, mask or warp."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.conform import conform_t1w
from bidsapp_brainage.imaging.fitting.initialisation import rotation_matrix
from bidsapp_brainage.imaging.transforms import apply_xfm
from bidsapp_brainage.segmentation.card import find_segmentation, load_mean_tissue, load_network
from bidsapp_brainage.segmentation.overlap import dice
from bidsapp_brainage.segmentation.prepare import raw_input
from bidsapp_brainage.segmentation.quick import averaged, quick_brain
from bidsapp_brainage.training.setup import read_recipe
from tests.segmentation.heads import raw_head, template_brain, template_inside

SPEC = read_recipe("fast2mm").card["input"]
#: From template to head: tilted, larger and moved by more than the grid can hold.
POSE = nib.affines.from_matvec(1.1 * rotation_matrix(12.0, -6.0, 18.0), (30.0, -45.0, 60.0))


@pytest.fixture(scope="module")
def brain() -> nib.Nifti1Image:
    return template_brain()


@pytest.fixture(scope="module")
def head(brain: nib.Nifti1Image) -> nib.Nifti1Image:
    return conform_t1w(raw_head(brain, POSE), "head")[0]


@pytest.fixture(scope="module")
def found(head: nib.Nifti1Image) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    return raw_input(head, SPEC, n_threads=1)


@pytest.mark.parametrize(("voxel", "size"), [(0.9, 1.8), (1.0, 2.0), (1.4, 1.4), (2.0, 2.0)])
def test_blocks_of_voxels_stay_where_they_were(voxel: float, size: float) -> None:
    affine = nib.affines.from_matvec(np.diag([voxel] * 3), (-40.0, 7.0, 3.0))
    places = nib.affines.apply_affine(affine, np.moveaxis(np.indices((21, 20, 18)), 0, -1))
    ramp = nib.Nifti1Image((places @ [1.0, -2.0, 0.5]).astype(np.float32), affine)
    small = averaged(ramp, 2.0)
    assert np.allclose(np.linalg.norm(small.affine[:3, :3], axis=0), size)
    there = nib.affines.apply_affine(small.affine, np.moveaxis(np.indices(small.shape), 0, -1))
    np.testing.assert_allclose(np.asarray(small.dataobj), there @ [1.0, -2.0, 0.5], atol=1e-3)


def test_the_brain_is_found_in_whatever_pose(found, brain) -> None:
    volume, regions = found
    assert volume.shape == regions.shape == tuple(SPEC["shape"])
    grid = nib.Nifti1Image(template_inside(brain).astype(np.float32), brain.affine)
    true = np.asarray(apply_xfm(grid, regions, np.eye(4)).dataobj) >= 0.5
    assert dice(np.asarray(regions.dataobj) > 0, true) > 0.93


def test_tissue_is_scaled_and_nothing_else_is_left(found) -> None:
    volume, regions = (np.asarray(image.dataobj) for image in found)
    assert not volume[regions == 0].any()
    white = volume[(regions >= 81) & (regions <= 88)]
    assert 1.8 < np.median(white) < 2.2
    assert np.median(volume[np.isin(regions, (51, 52))]) < 0.6


def test_volumes_hardly_depend_on_the_pose(found, brain) -> None:
    straight = conform_t1w(raw_head(brain, np.eye(4)), "straight")[0]
    again = raw_input(straight, SPEC, n_threads=1)
    parts = []
    for _, regions in (found, again):
        labels = np.asarray(regions.dataobj)
        groups = [(labels > 80) & (labels < 96), np.isin(labels, (51, 52)), labels >= 100]
        parts.append([group.sum() / (labels > 0).sum() for group in groups])
    np.testing.assert_allclose(*parts, rtol=0.05)


def test_noise_is_refused() -> None:
    card = find_segmentation()
    data = np.random.default_rng(0).rayleigh(20.0, (70, 70, 70)).astype(np.float32)
    noise = nib.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]))
    with pytest.raises(DataError, match="resembles a brain|no brain"):
        quick_brain(noise, load_network(card), card, load_mean_tissue(card), n_threads=1)
