"""People of folders of recon-all, FastSurfer and fMRIPrep, and what is refused of them."""

from __future__ import annotations

import shutil

import pytest

from bidsapp_brainage.errors import DataError, NoInputError, UsageError
from bidsapp_brainage.morphometry.subjects import find_subjects, read_morphometry

from .freesurfer import DESTRIEUX, VERSIONS, aparc_text, aseg_text, write_person

SIX, SEVEN, _, FAST = VERSIONS


@pytest.mark.parametrize(
    "place", ["", "sourcedata/freesurfer", "freesurfer"], ids=["recon-all", "fmriprep", "old"]
)
def test_people_are_found_in_every_layout(tmp_path, place):
    for name in ("sub-02_ses-1", "sub-01", "fsaverage", "sub-01.long.base", "fsaverage5"):
        write_person(tmp_path / "out" / place / name, SEVEN)
    (tmp_path / "out" / place / "sub-03").mkdir()
    found = find_subjects(tmp_path / "out")
    assert [one.identity for one in found] == [
        {"participant_id": "sub-01", "session_id": None},
        {"participant_id": "sub-02", "session_id": "ses-1"},
    ]


def test_older_fmriprep_has_them_beside_its_derivatives(tmp_path):
    write_person(tmp_path / "freesurfer" / "sub-01", SEVEN)
    (tmp_path / "fmriprep").mkdir()
    assert [one.participant for one in find_subjects(tmp_path / "fmriprep")] == ["01"]
    (tmp_path / "other").mkdir()
    with pytest.raises(NoInputError, match="no folder stats"):
        find_subjects(tmp_path / "other")


def test_the_folder_of_one_person_will_do_and_names_become_labels(tmp_path):
    write_person(tmp_path / "bert_test.1", SEVEN)
    (found,) = find_subjects(tmp_path / "bert_test.1")
    assert found.participant == "berttest1"


def test_a_session_is_told_where_the_name_of_the_person_is_no_label(tmp_path):
    write_person(tmp_path / "sub-bert_test_ses-1", SEVEN)
    (found,) = find_subjects(tmp_path)
    assert (found.participant, found.session) == ("berttest", "1")


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        find_subjects(tmp_path / "missing")


def test_two_names_that_give_one_label_are_refused(tmp_path):
    for name in ("a_1", "a-1"):
        write_person(tmp_path / name, SEVEN)
    with pytest.raises(DataError, match="would both be sub-a1"):
        find_subjects(tmp_path)


def read(folder, **kwargs):
    (subject,) = find_subjects(folder)
    return read_morphometry(subject, **kwargs)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.key)
def test_measures_of_every_version(tmp_path, version):
    found = read(write_person(tmp_path / "sub-01", version))
    assert found.software == version.written
    assert found.parcellation == ("dkt" if version.fastsurfer else "desikan")
    assert found.values["Left-Hippocampus"] == 4112.9
    assert found.values["BrainSegVolNotVent"] == 1107684.526061
    assert found.values["rh_caudalmiddlefrontal_volume"] in (2410, 2420)
    assert ("lh_bankssts_thickness" in found.values) != version.fastsurfer


def test_dkt_under_the_name_of_desikan_is_told_by_its_regions(tmp_path):
    stats = write_person(tmp_path / "sub-01", FAST) / "stats"
    for side in ("lh", "rh"):
        (stats / f"{side}.aparc.stats").symlink_to(f"{side}.aparc.DKTatlas.mapped.stats")
    assert read(tmp_path / "sub-01").parcellation == "dkt"
    with pytest.raises(DataError, match="parcellation dkt, not of desikan"):
        read(tmp_path / "sub-01", parcellation="desikan")


def test_a_parcellation_that_was_asked_for_is_read(tmp_path):
    stats = write_person(tmp_path / "sub-01", SEVEN) / "stats"
    for side in ("lh", "rh"):
        text = aparc_text(SEVEN, side, DESTRIEUX, "aparc.a2009s")
        (stats / f"{side}.aparc.a2009s.stats").write_text(text)
    found = read(tmp_path / "sub-01", parcellation="destrieux")
    assert found.parcellation == "destrieux"
    assert found.values["lh_G&S_frontomargin_thickness"] == 2.0
    with pytest.raises(DataError, match=r"lh.aparc.DKTatlas.stats does not exist"):
        read(tmp_path / "sub-01", parcellation="dkt")


def test_mixed_versions_are_refused_but_fastsurfer_may_call_freesurfer(tmp_path):
    stats = write_person(tmp_path / "sub-01", SEVEN) / "stats"
    (stats / "aseg.stats").write_text(aseg_text(SIX))
    with pytest.raises(DataError, match=r"files of FreeSurfer 6 and 7.3.2. Run recon-all"):
        read(tmp_path / "sub-01")
    (stats / "aseg.stats").write_text(aseg_text(FAST))
    assert read(tmp_path / "sub-01").software == "FastSurfer 2.4.2"


def test_swapped_hemispheres_and_kinds_are_refused(tmp_path):
    stats = write_person(tmp_path / "sub-01", SEVEN) / "stats"
    left = (stats / "lh.aparc.stats").read_text()
    (stats / "rh.aparc.stats").write_text(left)
    with pytest.raises(DataError, match="of the lh, though its name says rh"):
        read(tmp_path / "sub-01")
    (stats / "rh.aparc.stats").write_text(aparc_text(SEVEN, "rh", DESTRIEUX))
    with pytest.raises(DataError, match="other parcellations"):
        read(tmp_path / "sub-01")
    shutil.copy(stats / "lh.aparc.stats", stats / "aseg.stats")
    with pytest.raises(DataError, match="of the lh, not of volumes"):
        read(tmp_path / "sub-01")


def test_a_missing_hemisphere_is_refused(tmp_path):
    stats = write_person(tmp_path / "sub-01", SEVEN) / "stats"
    (stats / "rh.aparc.stats").unlink()
    with pytest.raises(DataError, match=r"rh.aparc.stats does not exist"):
        read(tmp_path / "sub-01")
