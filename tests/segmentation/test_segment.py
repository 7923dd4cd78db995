"""A segmentation by a network that knows the answer: geometry, volumes, bad images."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.network_input import model_input
from bidsapp_brainage.segmentation.card import load_network
from bidsapp_brainage.segmentation.native import regions_in_t1w, tissues_in_t1w
from bidsapp_brainage.segmentation.segment import Segmentation, segment, segment_on_grid
from bidsapp_brainage.segmentation.tables import label_table, volume_table
from tests.model.tiny import card_dict
from tests.segmentation.tiny import AFFINE, SHAPE, Oracle


@pytest.fixture(scope="module")
def found(head, card) -> Segmentation:
    return segment(head.t1w, head.mask, head.affine, Oracle(head.classes), card)


def volumes(segmentation: Segmentation) -> dict[str, float]:
    table = volume_table(segmentation)
    return dict(zip(table["name"], table["volume_ml"], strict=True))


def test_the_grid_holds_what_the_network_said(head, card, found) -> None:
    assert (found.brain == (head.classes > 0))[found.where].all()
    assert (found.dseg == card.labels.indices[head.classes])[found.where].all()
    assert found.posteriors.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found.mask_dice > 0.9
    assert found.tissues_found == 3
    units = np.asarray(found.tissue.units.dataobj)
    expected = np.clip(card.labels.tissues[head.classes], 0, None)
    assert units[found.brain] == pytest.approx(expected[found.brain], abs=1e-5)
    assert (units[~found.brain] == 0).all()


def test_volumes_are_those_of_the_person(found) -> None:
    ball = [4 / 3 * np.pi * (1.25 * radius) ** 3 / 1000 for radius in (16, 44, 64)]
    got = volumes(found)
    assert got["3rdVentricle"] == pytest.approx(ball[0], rel=0.15)
    assert got["WM"] == pytest.approx(ball[1] - ball[0], rel=0.05)
    assert got["GM"] == pytest.approx(ball[2] - ball[1], rel=0.05)
    assert got["intracranial"] == pytest.approx(got["brain"] + got["CSF"])
    assert got["ventricles"] == got["CSF"] == got["3rdVentricle"]
    assert got["Hippocampus_L"] == pytest.approx(got["Hippocampus_R"], rel=0.01)


def test_a_voxel_that_is_half_fluid_counts_half(head, card, found) -> None:
    half = found.posteriors.copy()
    inner = half[:, 1] > 0.5
    half[inner, 1], half[inner, 4] = 0.5, 0.5
    soft = volumes(dataclasses.replace(found, posteriors=half))
    assert soft["3rdVentricle"] == pytest.approx(volumes(found)["3rdVentricle"] / 2, rel=1e-3)


def test_units_are_what_posteriors_expect(found) -> None:
    half = found.posteriors.copy()
    white = half[:, 4] > 0.5
    half[white, 4], half[white, 1] = 0.5, 0.5  # white matter or fluid
    units = np.asarray(dataclasses.replace(found, posteriors=half).tissue.units.dataobj)
    assert units[found.where][white] == pytest.approx(1, abs=1e-5)


def test_regions_at_the_resolution_of_the_image(head, found) -> None:
    dseg = regions_in_t1w(found, head.t1w)
    labels, image = np.asarray(dseg.dataobj), np.asarray(head.t1w.dataobj)
    assert dseg.shape == head.t1w.shape
    assert labels.dtype == np.int16
    assert np.allclose(dseg.affine, head.t1w.affine)
    for value, indices in ((20, (4,)), (60, (47, 48)), (100, (81, 82)), (0, (0,))):
        own, there = np.isin(labels, indices), image == value
        assert 2 * (own & there).sum() / (own.sum() + there.sum()) > 0.85, value
    right = np.argwhere(labels == 81) @ dseg.affine[0, :3] + dseg.affine[0, 3]
    assert right.min() > -8  # a voxel of the grid


def test_regions_are_those_of_interpolated_posteriors(head, found) -> None:
    rng = np.random.default_rng(2)  # two neighbours out of three are unsure, and many borders
    posteriors = rng.dirichlet(np.full(6, 0.4), len(found.posteriors)).astype(np.float32)
    unsure = dataclasses.replace(found, posteriors=posteriors)
    places = np.moveaxis(np.indices(head.t1w.shape), 0, -1)
    to_grid = np.linalg.inv(found.to_t1w @ found.affine) @ head.t1w.affine
    reached = np.moveaxis(nib.affines.apply_affine(to_grid, places), -1, 0)
    whole = [unsure.on_grid(posteriors[:, number]) for number in range(6)]
    whole[0][~found.where] = 1
    values = np.array([ndimage.map_coordinates(one, reached, order=1) for one in whole])
    expected = found.labels.indices[values.argmax(axis=0)]
    first, second = np.sort(values, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    got = np.asarray(regions_in_t1w(unsure, head.t1w).dataobj)
    assert clear.mean() > 0.9
    assert len(np.unique(got)) == 6
    assert np.array_equal(got[clear], expected[clear])
    tissues = tissues_in_t1w(unsure, head.t1w)
    grey = values[[found.labels.tissues.tolist().index(1), 3]].sum(axis=0)
    assert np.allclose(np.asarray(tissues["GM"].dataobj), grey, atol=1e-5)


def test_an_oblique_image_that_is_cut(head, found) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0.96, -0.28], [0.28, 0.96]]
    part = head.t1w.slicer[:30]
    image = nib.Nifti1Image(part.dataobj, turn @ part.affine)
    turned = dataclasses.replace(found, to_t1w=turn @ found.to_t1w)
    whole, cut = regions_in_t1w(found, head.t1w), regions_in_t1w(turned, image)
    assert np.mean(np.asarray(whole.dataobj)[:30] == np.asarray(cut.dataobj)) > 0.999


def test_probabilities_of_tissue(head, found) -> None:
    maps = tissues_in_t1w(found, head.t1w)
    assert list(maps) == ["CSF", "GM", "WM"]
    total = sum(np.asarray(image.dataobj) for image in maps.values())
    assert total.max() == pytest.approx(1, abs=1e-4)
    image = np.asarray(head.t1w.dataobj)
    assert np.asarray(maps["GM"].dataobj)[image == 60].mean() > 0.85
    far = ~ndimage.binary_dilation(image > 0, iterations=10)
    assert np.asarray(maps["GM"].dataobj)[far].max() < 1e-3


def test_colours_are_those_of_both_sides(card) -> None:
    table = label_table(card.labels).set_index("name")
    assert table.loc["Hippocampus_L", "color"] == table.loc["Hippocampus_R", "color"]
    assert table["color"].str.fullmatch("#[0-9a-f]{6}").all()
    assert table["color"].nunique() == 3


@pytest.mark.parametrize("tissue", [0, 1, 2, 4])
def test_no_brain_and_one_tissue_only(head, card, tissue) -> None:
    network = Oracle(np.full(SHAPE, tissue))
    found = segment(head.t1w, head.mask, head.affine, network, card)
    assert found.tissues_found == (tissue > 0)
    assert (found.mask_dice > 0.5) is (tissue > 0)
    assert volumes(found)["intracranial"] == pytest.approx(
        found.where.sum() * found.voxel_ml if tissue else 0, abs=0.1
    )
    regions_in_t1w(found, head.t1w)
    tissues_in_t1w(found, head.t1w)


def test_a_mask_that_is_empty_on_the_grid(head, card) -> None:
    away = head.affine.copy()
    away[:3, 3] = 500
    found = segment(head.t1w, head.mask, away, Oracle(head.classes), card)
    assert found.posteriors.shape == (0, 6)
    assert (found.mask_dice, found.tissues_found) == (0.0, 0)
    table = volume_table(found)
    assert table["volume_ml"].sum() == 0
    assert table["fraction"].isna().all()
    assert not np.asarray(regions_in_t1w(found, head.t1w).dataobj).any()


def test_untrained_weights_give_proper_numbers(head, card) -> None:
    noise = np.random.default_rng(0).normal(size=head.t1w.shape).astype(np.float32)
    image = nib.Nifti1Image(noise, head.t1w.affine)
    found = segment(image, head.mask, head.affine, load_network(card), card, n_threads=1)
    assert np.isfinite(found.posteriors).all()
    again = segment(image, head.mask, head.affine, load_network(card), card, n_threads=1)
    assert np.array_equal(found.posteriors, again.posteriors)


def test_left_and_right_are_treated_alike(card) -> None:
    rng = np.random.default_rng(0)
    inside = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) > 0
    volume = rng.random(SHAPE, dtype=np.float32) + 0.1
    network, affine = load_network(card), np.eye(4)
    found = segment_on_grid(volume, inside, affine, network, card)
    other = segment_on_grid(volume[::-1], inside[::-1], affine, network, card)
    mirrored = card.labels.indices[card.labels.mirrored[card.labels.classes(other.dseg[::-1])]]
    assert np.array_equal(found.dseg, mirrored)
    for left in range(1, card.labels.n_classes):
        right = card.labels.mirrored[left]
        seen = found.on_grid(found.posteriors[:, left])
        assert np.allclose(seen, other.on_grid(other.posteriors[:, right])[::-1], atol=1e-5)
    assert len(np.unique(found.dseg)) > 2


def segmented_input() -> dict:
    spec = card_dict(shape=SHAPE, resolution=8.0)["input"]
    seen = {"segmentation": "tiny", "intensity": {"scaling": "segmentation"}}
    return {**spec, "affine": AFFINE, **seen}


def test_a_model_sees_the_units_as_they_are(head, found) -> None:
    volume, mask = model_input(
        head.t1w, head.mask, head.affine, segmented_input(), tissue=found.tissue
    )
    assert np.array_equal(np.asarray(volume.dataobj), np.asarray(found.tissue.units.dataobj))
    assert np.array_equal(np.asarray(mask.dataobj) > 0, found.brain)


def test_a_model_on_another_grid_sees_them_resampled(head, found) -> None:
    finer = np.diag([4.0, 4.0, 4.0, 1.0])
    finer[:3, 3] = -94.0
    spec = {**segmented_input(), "shape": [48] * 3, "resolution_mm": 4.0, "affine": finer.tolist()}
    volume, mask = model_input(head.t1w, head.mask, head.affine, spec, tissue=found.tissue)
    coarse = np.asarray(found.tissue.units.dataobj)
    mean = np.asarray(volume.dataobj).reshape(24, 2, 24, 2, 24, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(mean.ravel(), coarse.ravel())[0, 1] > 0.97
    assert (np.asarray(mask.dataobj) > 0).sum() / 8 == pytest.approx(found.brain.sum(), rel=0.03)


def test_a_model_gets_no_input_without_brain(head, card) -> None:
    found = segment(head.t1w, head.mask, head.affine, Oracle(np.zeros(SHAPE, int)), card)
    with pytest.raises(DataError, match="no brain"):
        model_input(head.t1w, head.mask, head.affine, segmented_input(), tissue=found.tissue)
    with pytest.raises(DataError, match="segmentation"):
        model_input(head.t1w, head.mask, head.affine, segmented_input())
