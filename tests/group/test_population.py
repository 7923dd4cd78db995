"""Maps of every voxel over people."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.names import output_path, parse_name, sidecar_path
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group import population
from bidsapp_brainage.group.collect import ModelResult, collect
from bidsapp_brainage.imaging.transforms import write_affine, write_xfm
from bidsapp_brainage.io import load_nifti
from bidsapp_brainage.stats.running import RunningMean
from tests.derivatives import MODEL, TEMPLATE, prediction, write_image, write_table

SHAPE = (12, 14, 12)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = (-24, -28, -20)
CENTRE = (6, 7, 5)


def scan_of(person, session=""):
    return (("sub", f"{person:02d}"), *((("ses", session),) if session else ()))


def write_transforms(root, scan, shift_mm=(0.0, 0.0, 0.0)):
    """A T1w space that is turned and larger, and a warp that moves everything by as much."""
    way = {"from_": "T1w", "to": TEMPLATE, "mode": "image"}
    affine = np.array([[1.1, 0.1, 0, 5], [-0.1, 1.1, 0, -3], [0, 0, 0.9, 8], [0, 0, 0, 1.0]])
    write_affine(output_path(root, "affine", scan, **way), affine)
    # ITK's displacements are in LPS
    field = np.broadcast_to(np.array(shift_mm) * [-1, -1, 1], (*SHAPE, 3))
    image = nib.Nifti1Image(np.ascontiguousarray(field), AFFINE)
    write_xfm(output_path(root, "transform", scan, **way), affine=affine, field=image)


def write_map(root, scan, key, value, shift=(0, 0, 0)):
    """A blob of this height that lies some voxels off the centre."""
    data = np.zeros(SHAPE, np.float32)
    data[tuple(np.add(CENTRE, shift))] = value
    image = nib.Nifti1Image(data, AFFINE)
    return write_image(root, key, image, scan, space=TEMPLATE, res="4")


def write_people(root, people, key="noise_map"):
    """Predictions and maps of (person, session, age, value, shift in voxels)."""
    for person, session, age, value, shift in people:
        scan = scan_of(person, session)
        write_table(root, "brainage", prediction(scan, age, 50.0, None), scan)
        write_map(root, scan, key, value, shift)
        write_transforms(root, scan, np.multiply(shift, 4.0))
    (model,) = collect(root).models
    return model


def written(root, model):
    notes = population.write_population_maps(root, model, model.brainage)
    paths = population.stored_maps(root, MODEL)
    return notes, {(parse_name(p).get("cohort", ""), parse_name(p)["desc"]): p for p in paths}


def test_running_mean_is_that_of_all_at_once():
    values = np.random.default_rng(0).normal(5, 2, (40, 3))
    parts = [RunningMean((3,)) for _ in range(4)]
    for number, row in enumerate(values):
        parts[number % 3].add(row)  # the last one stays empty
    whole = RunningMean.merged(parts)
    assert whole.n == 40
    np.testing.assert_allclose(whole.mean, values.mean(axis=0))
    np.testing.assert_allclose(whole.standard_error, values.std(axis=0, ddof=1) / np.sqrt(40))
    assert RunningMean((3,)).standard_error is None


def test_people_are_brought_to_the_template_and_weigh_the_same(tmp_path):
    """Each blob lies elsewhere, and the warp leads it to the centre; scans are averaged first."""
    people = [
        (1, "1", 25.0, 1.0, (1, 0, 0)),
        (1, "2", 26.0, 3.0, (0, -2, 1)),
        (2, "1", 28.0, 4.0, (0, 0, -1)),
        (3, "1", 65.0, 9.0, (-1, 1, 0)),
    ]
    model = write_people(tmp_path, people)
    notes, maps = written(tmp_path, model)
    assert notes == []
    assert set(maps) == {
        *(("", f"{MODEL}{kind}") for kind in ("mean", "se")),
        *(("20to30", f"{MODEL}{kind}") for kind in ("mean", "se")),
    }  # one person of 60 to 70 makes no mean
    mean = load_nifti(maps["", f"{MODEL}mean"])
    np.testing.assert_allclose(mean.affine, AFFINE)
    expected = np.zeros(SHAPE)
    expected[CENTRE] = (2 + 4 + 9) / 3
    np.testing.assert_allclose(mean.get_fdata(), expected, atol=1e-4)
    error = load_nifti(maps["", f"{MODEL}se"]).get_fdata()[CENTRE]
    assert error == pytest.approx(np.std([2, 4, 9], ddof=1) / np.sqrt(3), rel=1e-4)
    young = maps["20to30", f"{MODEL}mean"]
    assert young.parent == tmp_path / f"tpl-{TEMPLATE}/cohort-20to30/anat"
    assert load_nifti(young).get_fdata()[CENTRE] == pytest.approx(3, rel=1e-4)
    facts = json.loads(sidecar_path(young).read_text())
    assert facts["NumberOfParticipants"] == 2
    assert facts["AgeGroup"] == "20-30 years"
    assert facts["SpatialReference"] == TEMPLATE
    whole = json.loads(sidecar_path(maps["", f"{MODEL}mean"]).read_text())
    assert whole["NumberOfParticipants"] == 3
    assert len(whole["Sources"]) == 4
    assert whole["Units"] == "1"


def test_grids_of_each_person_meet_on_that_of_the_atlas(tmp_path):
    """A card whose box follows the brain, with shears: the affine of the map says where it is."""
    people = [(1, "", 30.0, 2.0, (0, 0, 0)), (2, "", 31.0, 4.0, (0, 0, 0))]
    model = write_people(tmp_path, people, key="lrp_map")
    labels = nib.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE)
    where = {"tpl": TEMPLATE, "res": "4", "atlas": "Blocks"}
    write_image(tmp_path, "labels_grid", labels, (), **where)
    path = model.maps["lrp_map"]["sub-02"]
    moved = AFFINE.copy()
    moved[:3, 3] += (4.0, 0, -8.0)
    moved[0, 1] = 0.4  # a shear that leaves the voxel of the blob where it is
    moved[0, 3] -= 0.4 * CENTRE[1]
    data = np.zeros(SHAPE, np.float32)
    data[CENTRE[0] - 1, CENTRE[1], CENTRE[2] + 2] = 4.0
    nib.save(nib.Nifti1Image(data, moved), path)
    _, maps = written(tmp_path, model)
    mean = load_nifti(maps["", f"{MODEL}mean"])
    np.testing.assert_allclose(mean.affine, AFFINE)
    assert mean.get_fdata()[CENTRE] == pytest.approx(3, rel=1e-3)


def test_a_scan_without_transforms_is_left_out_and_named(tmp_path):
    people = [(n, "", 30.0, float(n), (0, 0, 0)) for n in (1, 2, 3)]
    model = write_people(tmp_path, people)
    way = {"from_": "T1w", "to": TEMPLATE, "mode": "image"}
    output_path(tmp_path, "transform", scan_of(2), **way).unlink()
    (note,), maps = written(tmp_path, model)
    assert "sub-02" in note.sentence
    assert "run the participant level again" in note.sentence
    assert load_nifti(maps["", f"{MODEL}mean"]).get_fdata()[CENTRE] == pytest.approx(2, rel=1e-4)
    for person in (1, 3):
        output_path(tmp_path, "transform", scan_of(person), **way).unlink()
    (note,), maps = written(tmp_path, model)
    assert "no scan has its transforms" in note.sentence
    assert maps == {}  # those of the run before are gone


def test_maps_by_cubes_keep_apart_and_one_person_has_no_error(tmp_path):
    model = write_people(tmp_path, [(1, "", None, 2.0, (0, 0, 0))], key="cubes_map")
    _, maps = written(tmp_path, model)
    assert set(maps) == {("", f"{MODEL}cubesmean")}
    assert parse_name(maps["", f"{MODEL}cubesmean"])["suffix"] == "occlusionmap"


def test_without_maps_nothing_is_written(tmp_path):
    model = ModelResult(MODEL, {}, ())
    table = pd.DataFrame({"participant_id": ["sub-01"], "chronological_age": [30.0]})
    assert population.write_population_maps(tmp_path, model, table) == []
    assert not list(tmp_path.iterdir())


def test_a_broken_map_is_named(tmp_path):
    model = write_people(tmp_path, [(1, "", 30.0, 2.0, (0, 0, 0))])
    path = model.maps["noise_map"]["sub-01"]
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=path.name):
        population.average(tmp_path, model.maps["noise_map"], {})
