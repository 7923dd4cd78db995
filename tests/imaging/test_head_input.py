"""A raw head in its box, however the file holds it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.network_input import head_centre, head_input

SPEC = {
    "shape": [24, 28, 24],
    "resolution_mm": 8.0,
    "intensity": {"scaling": "head", "clip": [0.0, 1.6]},
}


def head(*, skull: bool = True, shift: float = 0.0) -> nib.Nifti1Image:
    """Skull, brain and a neck to the lower end of the field of view, on 4 mm voxels."""
    shape = (56, 64, 64)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -110.0, -126.0, -126.0 + shift
    x, y, z = np.meshgrid(*[4 * (np.arange(n) - (n - 1) / 2) for n in shape], indexing="ij")
    z = z - 20
    brain = (x / 70) ** 2 + (y / 88) ** 2 + (z / 68) ** 2 < 1
    image = np.where(brain, 100.0, 0.0)
    if skull:
        scalp = (x / 84) ** 2 + (y / 102) ** 2 + (z / 82) ** 2 < 1
        neck = (np.hypot(x, y) < 50) & (z < 0)
        image = np.where((scalp | neck) & ~brain, 60.0, image)
    return nib.Nifti1Image(image.astype(np.float32), affine)


@pytest.mark.parametrize("codes", ["LAS", "PSR", "LIA"])
def test_the_box_does_not_depend_on_the_order_of_voxels(codes):
    whole = head()
    turn = ornt_transform(io_orientation(whole.affine), axcodes2ornt(codes))
    turned = whole.as_reoriented(turn)
    assert np.allclose(head_centre(turned), head_centre(whole), atol=2.5)
    first, second = (np.asarray(head_input(one, SPEC).dataobj) for one in (whole, turned))
    assert np.abs(first - second).mean() < 0.05


def test_the_box_follows_the_head():
    moved, shift = head_input(head(shift=30.0), SPEC), head_input(head(), SPEC)
    assert np.allclose(moved.affine[:3, 3] - shift.affine[:3, 3], [0, 0, 30])
    assert np.allclose(moved.dataobj, shift.dataobj, atol=1e-4)


def test_a_brain_without_skull_has_nearly_the_same_centre():
    assert np.abs(head_centre(head(skull=False)) - head_centre(head())).max() < 20


def test_bright_tissue_is_one():
    volume = np.asarray(head_input(head(), SPEC).dataobj)
    assert volume.shape == (24, 28, 24)
    assert volume.dtype == np.float32
    assert np.median(volume[10:14, 12:16, 12:16]) == pytest.approx(1.0, abs=0.05)
    assert volume[0, 0, -1] == 0


def test_an_empty_image_is_told():
    empty = nib.Nifti1Image(np.zeros((40, 40, 40), np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
    with pytest.raises(DataError, match="shows nothing"):
        head_input(empty, SPEC)
