"""Tissue that lies beside the mean of other people's is moved onto it."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.imaging.transforms import apply_xfm
from bidsapp_brainage.segmentation.alignment import aligned
from bidsapp_brainage.segmentation.card import find_segmentation, load_mean_tissue
from bidsapp_brainage.segmentation.segment import Segmentation, segment_on_grid
from tests.segmentation.tiny import AFFINE, SHAPE, Oracle


def egg(shift: float = 0.0, stretch: float = 1.0) -> np.ndarray:
    """Classes of a brain with three different axes, `shift` mm to the front, `stretch` as high."""
    places = nib.affines.apply_affine(np.array(AFFINE), np.indices(SHAPE).reshape(3, -1).T)
    x, y, z = (places - [0, shift, 0]).T.reshape(3, *SHAPE) / np.reshape(
        [1, 1, stretch], (3, 1, 1, 1)
    )
    brain = np.sqrt((x / 56) ** 2 + (y / 72) ** 2 + (z / 48) ** 2)
    inner = np.sqrt((x / 20) ** 2 + ((y + 16) / 28) ** 2 + ((z - 8) / 12) ** 2)
    right = x > 0
    return np.select(
        [inner < 1, brain < 0.7, brain < 1], [1, np.where(right, 4, 5), np.where(right, 2, 3)]
    )


@pytest.fixture(scope="module")
def mean(card) -> nib.Nifti1Image:
    return found_at(egg(), card).tissue.units


def found_at(classes: np.ndarray, card) -> Segmentation:
    volume = np.where(classes > 0, classes + 1.0, 0.0).astype(np.float32)
    to_t1w = np.diag([1.25, 1.25, 1.25, 1.0])
    return segment_on_grid(volume, classes > 0, to_t1w, Oracle(classes), card, both_ways=False)


def likeness(units: nib.Nifti1Image, mean: nib.Nifti1Image) -> float:
    pair = (np.asarray(image.dataobj).ravel() for image in (units, mean))
    return float(np.corrcoef(*pair)[0, 1])


def test_a_brain_beside_its_place_is_brought_there(card, mean) -> None:
    found = found_at(egg(8.0, 1.15), card)
    tissue, affine = aligned(found, mean)
    assert likeness(tissue.units, mean) > 0.95 > 0.9 > likeness(found.tissue.units, mean)
    # A point of the mean brain leads to where the person has it.
    top = np.linalg.inv(found.to_t1w) @ affine @ [0, 0, 48, 1]
    assert top[:3] == pytest.approx([0, 8, 55.2], abs=1.5)
    regions = np.asarray(tissue.regions.dataobj)
    assert set(np.unique(regions)) <= {0, *card.labels.indices}
    assert (np.asarray(tissue.units.dataobj)[regions == 0] == 0).all()


def test_the_affine_is_that_of_the_images(card, mean) -> None:
    found = found_at(egg(5.0), card)
    tissue, affine = aligned(found, mean)
    again = apply_xfm(found.tissue.units, mean, np.linalg.inv(found.to_t1w) @ affine)
    inside = np.asarray(tissue.regions.dataobj) > 0
    assert np.asarray(tissue.units.dataobj)[inside] == pytest.approx(
        np.asarray(again.dataobj)[inside], abs=1e-4
    )


def test_a_brain_at_its_place_stays_there(card, mean) -> None:
    found = found_at(egg(), card)
    tissue, affine = aligned(found, mean)
    assert affine == pytest.approx(found.to_t1w, abs=0.05)
    assert likeness(tissue.units, found.tissue.units) > 0.999


def test_a_brain_elsewhere_is_left_to_the_registration(card, mean) -> None:
    found = found_at(egg(60.0), card)
    assert np.array_equal(aligned(found, mean).affine, found.to_t1w)


def test_nothing_is_moved_where_there_is_no_brain(card) -> None:
    found = found_at(np.zeros(SHAPE, dtype=int), card)
    tissue, affine = aligned(found, load_mean_tissue(card))
    assert np.array_equal(affine, found.to_t1w)
    assert not np.asarray(tissue.units.dataobj).any()


def test_a_mean_that_was_altered_is_refused(card, tmp_path) -> None:
    path = tmp_path / "tiny_tissue.nii.gz"
    path.write_bytes(card.weights[1].path.read_bytes() + b"x")
    other = dataclasses.replace(card.weights[1], path=path)
    with pytest.raises(ResourceError, match=r"tiny_tissue\.nii\.gz.*the card says"):
        load_mean_tissue(dataclasses.replace(card, weights=(card.weights[0], other)))
    path.unlink()
    with pytest.raises(ResourceError, match="missing"):
        load_mean_tissue(dataclasses.replace(card, weights=(card.weights[0], other)))


def test_the_embedded_mean_is_symmetric_and_whole() -> None:
    mean = np.asarray(load_mean_tissue(find_segmentation()).dataobj)
    assert np.array_equal(mean, mean[::-1])
    assert 0 <= mean.min() < mean.max() <= 2
    assert 150_000 < (mean > 0.5).sum() < 250_000  # voxels of 8 microlitres: 1.2 to 2 litres
