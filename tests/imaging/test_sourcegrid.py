"""Inputs of published networks: two grids, rigid and native registration, crop on the brain."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.network_input import model_input
from bidsapp_brainage.imaging.sourcegrid import rigid_part
from bidsapp_brainage.model.cards import bundled_folder, load_card
from bidsapp_brainage.model.intensity import background_value, scale_intensity

LAS = [[-2.0, 0, 0, 30.0], [0, 2.0, 0, -36.0], [0, 0, 2.0, -20.0], [0, 0, 0, 1]]
SOURCE = {"shape": [31, 37, 31], "affine": LAS}


def spec(**changes):
    """A box of 16 x 20 x 16 voxels cut from the source grid without interpolation."""
    affine = np.array(LAS)
    affine[:3, 3] = (affine @ [7, 8, 7, 1])[:3]
    return {
        "template": "T",
        "registration": "affine",
        "skull_stripped": True,
        "orientation": "LAS",
        "resolution_mm": 2.0,
        "shape": [16, 20, 16],
        "affine": affine.tolist(),
        "source_grid": SOURCE,
        "intensity": {"scaling": "none"},
        "background": 0.0,
        **changes,
    }


def head(affine=LAS, shape=(31, 37, 31), centre=(0.0, 0.0, 10.0), radius=15.0):
    """A ball of rising intensity in RAS mm, brighter to the right, front and top; its mask."""
    affine = np.array(affine, dtype=float)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    mm = voxels @ affine[:3, :3].T + affine[:3, 3] - centre
    inside = np.linalg.norm(mm, axis=-1) < radius
    data = np.where(inside, 100 + mm @ [1.0, 2.0, 0.5], 20.0)  # 20: the head around the brain
    return (
        nib.Nifti1Image(data.astype(np.float32), affine),
        nib.Nifti1Image(inside.astype(np.uint8), affine),
    )


def test_a_crop_of_the_source_grid_is_not_interpolated():
    t1w, mask = head()
    volume, inside = model_input(t1w, mask, np.eye(4), spec())
    expected = np.where(mask.get_fdata() > 0, t1w.get_fdata(), 0)[7:23, 8:28, 7:23]
    np.testing.assert_allclose(volume.get_fdata(), expected, atol=1e-3)
    np.testing.assert_array_equal(inside.get_fdata(), mask.get_fdata()[7:23, 8:28, 7:23])
    np.testing.assert_allclose(volume.affine, spec()["affine"], atol=1e-9)


def test_statistics_are_those_of_the_source_grid_if_the_card_says_so():
    t1w, mask = head()
    intensity = {"scaling": "divide_by_mean", "over": "volume", "at": "source"}
    volume, _ = model_input(t1w, mask, np.eye(4), spec(intensity=intensity))
    whole = np.where(mask.get_fdata() > 0, t1w.get_fdata(), 0)
    np.testing.assert_allclose(
        volume.get_fdata(), whole[7:23, 8:28, 7:23] / whole.mean(), rtol=1e-4
    )


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "LIA", "PSR"])
def test_the_network_gets_the_axes_in_the_order_of_the_card(codes):
    ornt = nib.orientations.axcodes2ornt(tuple(codes))
    affine = np.zeros((4, 4))
    for column, (axis, sign) in enumerate(ornt):
        affine[int(axis), column] = 2.0 * sign
    affine[3, 3] = 1
    affine[:3, 3] = [0, 0, 10] - affine[:3, :3] @ [9.5, 9.5, 9.5]
    grid = {"shape": [20, 20, 20], "affine": affine.tolist()}
    t1w, mask = head()
    card = spec(orientation=codes, source_grid=grid, **grid)
    volume, _ = model_input(t1w, mask, np.eye(4), card)
    assert nib.aff2axcodes(volume.affine) == tuple(codes)
    data = volume.get_fdata()
    for axis, code in enumerate(codes):  # brighter to the right, front and top
        low, high = data.take(range(10), axis=axis).sum(), data.take(range(10, 20), axis).sum()
        assert (high > low) == (code in "RAS")


def test_native_images_keep_size_and_place_and_are_labelled_in_the_template():
    shift = np.eye(4)
    shift[:3, :3] *= 1.2  # template to T1w: the brain is larger than the template
    shift[:3, 3] = [3, -4, 5]
    t1w, mask = head(centre=(3.0, -4.0, 15.0))
    card = spec(
        registration="native",
        crop="brain",
        source_grid={"shape": [40, 40, 40], "resolution_mm": 2.0},
    )
    volume, inside = model_input(t1w, mask, shift, card)
    filled = inside.get_fdata().sum()
    assert filled == pytest.approx(mask.get_fdata().sum(), rel=0.06)  # size is kept, not 1.2 ** 3
    middle = np.argwhere(inside.get_fdata() > 0).mean(axis=0)
    np.testing.assert_allclose(middle, [8, 10, 8], atol=1.1)  # the box is centred on the brain
    in_template = volume.affine @ np.append(middle, 1)
    in_t1w = shift @ in_template
    np.testing.assert_allclose(in_t1w[:3], [3, -4, 15], atol=0.2)


def test_a_box_about_the_brain_follows_it():
    found = []
    for centre in ((0.0, 0.0, 10.0), (6.0, -4.0, 14.0)):
        t1w, mask = head(centre=centre)
        volume, _ = model_input(t1w, mask, np.eye(4), spec(crop="brain"))
        found.append(volume)
    shift = found[1].affine[:3, 3] - found[0].affine[:3, 3]
    np.testing.assert_allclose(shift, [6, -4, 4], atol=1e-6)
    np.testing.assert_allclose(found[0].get_fdata(), found[1].get_fdata(), atol=1e-3)


def test_rigid_keeps_size_where_affine_does_not():
    larger = np.diag([1.25, 1.25, 1.25, 1.0])  # template to T1w
    t1w, mask = head(radius=12.0)
    sizes = {}
    for registration in ("affine", "rigid"):
        _, inside = model_input(t1w, mask, larger, spec(registration=registration))
        sizes[registration] = inside.get_fdata().sum()
    assert sizes["rigid"] == pytest.approx(mask.get_fdata().sum(), rel=0.05)
    assert sizes["affine"] == pytest.approx(sizes["rigid"] / 1.25**3, rel=0.08)


@settings(max_examples=50, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-60, 60)] * 3),
    zooms=st.tuples(*[st.floats(0.8, 1.25)] * 3),
    centre=st.tuples(*[st.floats(-80, 80)] * 3),
)
def test_the_rigid_part_is_a_rotation_that_keeps_the_centre(angles, zooms, centre):
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(zooms)
    affine[:3, 3] = [5, -3, 8]
    rigid = rigid_part(affine, np.array(centre))
    np.testing.assert_allclose(rigid[:3, :3], rotation, atol=1e-9)
    point = np.append(centre, 1.0)
    np.testing.assert_allclose(rigid @ point, affine @ point, atol=1e-9)


def test_a_brain_outside_of_the_grid_is_an_error():
    t1w, mask = head()
    away = np.eye(4)
    away[0, 3] = 500.0
    with pytest.raises(DataError, match="registration has failed"):
        model_input(t1w, mask, away, spec())


def test_scalings_of_published_networks():
    rng = np.random.default_rng(0)
    brain = np.concatenate([rng.normal(60, 8, 5000), rng.normal(100, 5, 4000), [5.0] * 500])
    volume = np.zeros((30, 30, 30))
    volume.flat[: brain.size] = brain
    mask = volume > 0
    scaled = scale_intensity(
        volume, mask, {"scaling": "white_matter", "multiply": 110, "round": True, "clip": [0, 255]}
    )
    white = scaled[np.abs(volume - 100) < 5]
    assert np.median(white) == pytest.approx(110, abs=2)
    np.testing.assert_array_equal(scaled, np.round(scaled))
    small = scale_intensity(volume, mask, {"scaling": "min_max", "over": "volume"})
    assert (small.min(), small.max()) == (0.0, 1.0)
    clamped = scale_intensity(
        volume, mask, {"scaling": "brain_zscore", "over": "volume", "clip": [-1, 5]}
    )
    outside = (0 - volume.mean()) / volume.std()
    np.testing.assert_allclose(clamped[~mask], max(outside, -1), rtol=1e-5)
    assert background_value({"background": "minimum"}, clamped) == pytest.approx(max(outside, -1))
    assert background_value({"background": -2}, clamped) == -2.0


PUBLISHED = ("sfcnukb", "nosa", "pymentreg", "midi", "synthbag")


@pytest.fixture(scope="module")
def template_brain():
    """Brain of the MNI template at 2 mm (it comes with nilearn), and its mask."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    return load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_boxes_of_published_networks_hold_the_whole_brain(name, template_brain):
    card = load_card(bundled_folder() / f"{name}.json")
    volume, inside = model_input(*template_brain, np.eye(4), card.input)
    assert volume.shape == card.shape
    assert nib.aff2axcodes(volume.affine) == tuple(card.input["orientation"])
    data, brain = volume.get_fdata(), inside.get_fdata() > 0
    assert np.isfinite(data).all()
    millilitres = brain.sum() * card.input["resolution_mm"] ** 3 / 1000
    whole = template_brain[1].get_fdata().sum() * 8 / 1000
    assert millilitres == pytest.approx(whole, rel=0.025)  # a voxel more or less
    in_mm = volume.affine @ np.append(np.argwhere(brain).mean(axis=0), 1)
    mask = template_brain[1]
    expected = mask.affine @ np.append(np.argwhere(mask.get_fdata() > 0).mean(axis=0), 1)
    np.testing.assert_allclose(in_mm, expected, atol=0.5)


def test_intensities_reach_published_networks_as_their_authors_scale_them(template_brain):
    def seen(name):
        card = load_card(bundled_folder() / f"{name}.json")
        volume, inside = model_input(*template_brain, np.eye(4), card.input)
        return volume.get_fdata(), inside.get_fdata() > 0

    data, _ = seen("sfcnukb")  # divided by the mean of the uncropped image, zeros included
    assert data.sum() / (182 * 218 * 182) == pytest.approx(1.0, rel=0.01)
    data, brain = seen("pymentreg")  # white matter at 110 of 255
    assert np.percentile(data[brain], 80) == pytest.approx(110 / 255, rel=0.1)
    data, _ = seen("synthbag")
    assert (data.min(), data.max()) == (0, 1)
    data, brain = seen("midi")
    assert data.mean() == pytest.approx(0, abs=0.05)
    assert data.min() >= -1
    assert np.ptp(data[~brain & (data < data.min() + 1e-6)]) < 1e-6
