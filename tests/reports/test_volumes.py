"""Volumes in the page: packed without loss, placed rightly, as fine as there is room."""

from __future__ import annotations

import base64
import json
import zlib

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import save_nifti, write_tsv
from bidsapp_brainage.reports.figures.mosaic import Volume
from bidsapp_brainage.reports.viewers import groups, scans
from bidsapp_brainage.reports.viewers.groups import group_viewer
from bidsapp_brainage.reports.viewers.layers import Measure, centres, region_layer
from bidsapp_brainage.reports.viewers.packing import pack_grey, pack_labels
from bidsapp_brainage.reports.viewers.scans import ScanImages, scan_volumes

MEASURES = (Measure("delta_age", "contribution", "years"),)
SIZES = (1.0, 1.25, 2.0)
ROOM = 10**6


def _unpacked(packed, shape):
    """What the page makes of a volume; the script of the page does the same, voxel by voxel."""
    raw = zlib.decompress(base64.b64decode(packed.data))
    values = np.frombuffer(raw, f"<u{packed.width}").reshape(shape, order="F").astype(int)
    if not packed.predicted:
        return values
    for x, y, z in np.ndindex(*shape):
        left = values[x - 1, y, z] if x else 0
        up = values[x, y - 1, z] if y else 0
        corner = values[x - 1, y - 1, z] if x and y else 0
        low, high = sorted((left, up))
        guess = low if corner >= high else high if corner <= low else left + up - corner
        values[x, y, z] = (values[x, y, z] + guess) % 256
    return values


SMALL = arrays.array_shapes(min_dims=3, max_dims=3, max_side=5)


@given(arrays.arrays(np.uint8, SMALL))
def test_grey_levels_are_packed_without_loss(levels):
    assert (_unpacked(pack_grey("x", levels), levels.shape) == levels).all()


@given(arrays.arrays(np.int32, SMALL, elements=st.sampled_from([-1, 0, 1, 255, 256, 70_000])))
def test_labels_are_packed_without_loss_and_as_narrow_as_they_can_be(labels):
    packed = pack_labels("x", labels)
    assert (_unpacked(packed, labels.shape) == np.maximum(labels, 0)).all()
    assert packed.width == (1 if labels.max() < 256 else 2 if labels.max() < 65536 else 4)


@pytest.fixture
def head(tmp_path):
    """Files of a head with a box as brain, of two regions, far from the border."""
    shape = (60, 50, 40)
    affine = np.diag([*SIZES, 1.0])
    affine[:3, 3] = (-30, -40, -45)
    values = np.random.default_rng(0).uniform(0, 500, shape)
    brain = np.zeros(shape)
    brain[20:40, 18:32, 14:26] = 1
    labels = np.where(brain > 0, 7, 0)
    labels[30:] *= 300
    paths = {}
    for name, data in (("t1w", values), ("mask", brain), ("labels", labels), ("dseg", brain * 3)):
        paths[name] = tmp_path / f"{name}.nii.gz"
        save_nifti(nib.Nifti1Image(data.astype(np.float32), affine), paths[name])
    paths["table"] = tmp_path / "dseg.tsv"
    write_tsv(paths["table"], pd.DataFrame({"index": [3], "name": ["A"], "color": ["#ff0000"]}))
    images = ScanImages(
        paths["t1w"], paths["mask"], paths["dseg"], paths["table"], {"Two": paths["labels"]}
    )
    return images, values, brain > 0, labels, affine


def _parts(made):
    volumes = {part.identifier: part for part in (*made.packed, *made.packed_labels.values())}
    shape = made.grid.shape
    return {name: _unpacked(part, shape) for name, part in volumes.items()}


def test_intensities_are_those_of_the_file_up_to_half_a_level(head):
    images, values, brain, labels, _ = head
    made = scan_volumes("s", images, ROOM)
    found, grey = _parts(made), made.layers["grey"]
    cut = made.grid.cut(values)
    kept = found["s-t1w"] > 0
    known = grey["least"] + grey["step"] * (found["s-t1w"] - 1)
    inner = kept & (found["s-t1w"] < grey["last"])
    assert np.abs(known - cut)[inner].max() <= grey["step"] / 2 + 1e-3
    assert (cut[kept & ~inner] >= known[kept & ~inner] - grey["step"]).all()
    assert kept[made.grid.cut(brain)].all()
    assert (found["s-mask"] == made.grid.cut(brain)).all()
    assert (found["s-labels-0"] == made.grid.cut(labels)).all()
    assert (found["s-dseg"] == 3 * made.grid.cut(brain)).all()


def test_what_is_far_from_the_brain_is_not_in_the_page(head):
    """The face must not be."""
    images, _, brain, _, _ = head
    made = scan_volumes("s", images, ROOM)
    kept = _parts(made)["s-t1w"] > 0
    there = np.argwhere(brain) * SIZES
    voxels = np.argwhere(kept) + made.grid.first
    distance = np.maximum(there.min(axis=0) - voxels * SIZES, voxels * SIZES - there.max(axis=0))
    outside = np.maximum(distance, 0).max(axis=1)
    assert scans.MARGIN_MM - 4 <= outside.max() <= scans.MARGIN_MM + 4


def test_voxels_keep_their_place_in_file_and_space(head):
    images, _, _, labels, affine = head
    for room in (ROOM, 20_000):  # the second is enough for a thinned volume only
        made = scan_volumes("s", images, room)
        facts = made.grid.facts()
        spot = np.argwhere(_parts(made)["s-labels-0"] == 2100)[5]
        voxel = facts["first"] + facts["thin"] * spot
        assert labels[tuple(voxel)] == 2100
        to_mm = np.array(facts["affine"])
        assert to_mm[:, :3] @ spot + to_mm[:, 3] == pytest.approx(
            nib.affines.apply_affine(affine, voxel), abs=0.01
        )
        assert facts["sizes"] == pytest.approx(np.multiply(SIZES, facts["thin"]))


def _size(made):
    return sum(len(part.data) for part in (*made.packed, *made.packed_labels.values()))


def test_with_less_room_a_scan_gets_coarser_and_at_last_nothing(head):
    images = head[0]
    best = scan_volumes("s", images, ROOM)
    assert (best.grid.thin, best.layers["grey"]["last"]) == scans.QUALITIES[0]
    seen = []
    for share in (0.9, 0.6, 0.08):
        room = int(share * _size(best))
        made = scan_volumes("s", images, room)
        assert _size(made) <= room
        seen.append(scans.QUALITIES.index((made.grid.thin, made.layers["grey"]["last"])))
    assert seen == sorted(set(seen))
    assert scan_volumes("s", images, 100) is None


def test_an_empty_mask_keeps_the_whole_image(head, tmp_path):
    empty = tmp_path / "empty.nii.gz"
    save_nifti(nib.Nifti1Image(np.zeros((60, 50, 40), "f4"), head[4]), empty)
    made = scan_volumes("s", ScanImages(head[0].t1w, empty), ROOM)
    assert made.grid.shape == (60, 50, 40)
    assert (_parts(made)["s-t1w"] > 0).all()


def test_another_grid_is_a_clear_error(head, tmp_path):
    save_nifti(nib.Nifti1Image(np.ones((5, 4, 4), "f4"), np.eye(4)), tmp_path / "m.nii.gz")
    with pytest.raises(DataError, match="not on the grid"):
        scan_volumes("s", ScanImages(head[0].t1w, tmp_path / "m.nii.gz"), ROOM)


def test_centres_lie_in_their_regions():
    labels = np.zeros((6, 6, 6), int)
    labels[:, 0, 0] = 9  # a rod: its centre is in it
    labels[3:, 3:, 3:] = 4
    labels[4, 4, 4] = 0
    found = centres(labels, [4, 5, 9])
    assert found[1] is None
    assert labels[tuple(found[0])] == 4
    assert labels[tuple(found[2])] == 9


def test_measures_without_numbers_are_left_out_and_missing_values_stay():
    rows = pd.DataFrame({"index": [1, 2], "name": ["A", "B"], "delta_age": [0.123456789, None]})
    none = Measure("z_null", "z")
    layer = region_layer("v", np.ones((2, 2, 2), int), rows.assign(z_null=None), [*MEASURES, none])
    assert [measure["values"] for measure in layer["measures"]] == [[0.123457, None]]


def test_a_fine_grid_of_a_group_is_thinned_out_and_keeps_its_place(monkeypatch):
    monkeypatch.setattr(groups, "_LARGEST", 1000)
    labels = np.zeros((30, 30, 30), np.int32)
    labels[10:20, 5:25, 8:28] = 8
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-15, -10, -12)
    rows = pd.DataFrame({"index": [8], "name": ["A"], "delta_age": [0.5]})
    viewer = group_viewer("x", Volume(labels, affine), None, rows, MEASURES)
    facts = json.loads(viewer.facts)
    found = _unpacked(viewer.volumes[1], facts["shape"])
    assert found.size <= 2000
    where = np.argwhere(found == 8)
    to_mm = np.array(facts["affine"])
    millimetres = where @ to_mm[:, :3].T + to_mm[:, 3]
    assert millimetres.min(axis=0) == pytest.approx([-5, -5, -4], abs=facts["thin"])
    assert facts["regions"]["centres"][0] in where.tolist()
