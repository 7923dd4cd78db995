"""FreeSurfer results among --derivatives: beside images, or alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.running.freesurfer import find_results, predict_freesurfer
from bidsapp_brainage.running.participant import run_participant
from bidsapp_brainage.settings import build_settings
from tests.morphometry.freesurfer import VERSIONS, write_person

SEVEN, FAST = VERSIONS[1], VERSIONS[3]


def scan(*labels: tuple[str, str], age: float = 30.0) -> Scan:
    entities = tuple(labels)
    return Scan(Path("x.nii.gz"), entities, Age(age, "participants.tsv"))


@pytest.fixture
def surfaces(tmp_path: Path) -> Path:
    """Two people in a SUBJECTS_DIR."""
    for name in ("sub-01", "sub-02", "fsaverage"):
        write_person(tmp_path / "surfaces" / name, SEVEN)
    return tmp_path / "surfaces"


def settings(tmp_path: Path, root: Path, *, name: str = "freesurfer"):
    raw = tmp_path / "bids"
    raw.mkdir(exist_ok=True)
    (raw / "participants.tsv").write_text("participant_id\tage\nsub-01\t31\nsub-02\t42\n")
    options = {"work_dir": tmp_path / "work", "derivatives": [[name, str(root)]]}
    return build_settings(raw, tmp_path / "out", ("participant",), options)


def ages(out: Path) -> dict[str, float]:
    files = Derivatives(out).select("brainage", model="fsridge")
    return {
        "_".join(f"{k}-{v}" for k, v in file.scan): read_tsv(file.path)["chronological_age"][0]
        for file in files
    }


def test_tables_lie_beside_those_of_the_image(tmp_path, surfaces):
    scans = [scan(("sub", "01"), ("acq", "mprage")), scan(("sub", "02"), ("run", "1"))]
    scans.append(scan(("sub", "02"), ("run", "2")))
    assert not predict_freesurfer(settings(tmp_path, surfaces), scans)
    assert ages(tmp_path / "out") == {"sub-01_acq-mprage": 30.0, "sub-02": 42.0}


def test_a_missing_person_is_named_and_the_others_go_on(tmp_path, surfaces, caplog):
    scans = [scan(("sub", "01")), scan(("sub", "07"))]
    (failure,) = predict_freesurfer(settings(tmp_path, surfaces), scans)
    assert failure.scan == "sub-07"
    assert "surfaces has no folder with stats of this participant" in failure.reason
    assert set(ages(tmp_path / "out")) == {"sub-01"}
    with caplog.at_level(logging.WARNING):
        assert not predict_freesurfer(settings(tmp_path, surfaces, name="other"), scans)
    assert "sub-07: no brain age from FreeSurfer" in caplog.text


def test_a_broken_person_is_named_and_the_others_go_on(tmp_path, surfaces):
    (surfaces / "sub-02/stats/lh.aparc.stats").unlink()
    scans = [scan(("sub", "01")), scan(("sub", "02"))]
    (failure,) = predict_freesurfer(settings(tmp_path, surfaces), scans)
    assert failure.scan == "sub-02"
    assert "lh.aparc.stats does not exist" in failure.reason
    assert set(ages(tmp_path / "out")) == {"sub-01"}


def test_results_inside_of_fmriprep_and_of_sessions(tmp_path):
    root = tmp_path / "fmriprep"
    for name in ("sub-01_ses-a", "sub-01_ses-b", "sub-01_ses-c"):
        write_person(root / "sourcedata/freesurfer" / name, FAST)
    scans = [scan(("sub", "01"), ("ses", label), age=age) for label, age in (("a", 20), ("b", 25))]
    assert not predict_freesurfer(settings(tmp_path, root, name="fmriprep"), scans)
    assert ages(tmp_path / "out") == {"sub-01_ses-a": 20.0, "sub-01_ses-b": 25.0}


def test_derivatives_without_results(tmp_path):
    (tmp_path / "empty").mkdir()
    assert not find_results([("fmriprep", tmp_path / "empty")])
    with pytest.raises(NoInputError, match="SUBJECTS_DIR"):
        find_results([("freesurfer", tmp_path / "empty")])


def test_without_any_image(tmp_path, surfaces, caplog):
    given = settings(tmp_path, surfaces)
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    with caplog.at_level(logging.WARNING):
        assert run_participant(given, logging.ERROR) == 0
    assert "There is no T1w image" in caplog.text
    assert ages(tmp_path / "out") == {"sub-01": 31.0, "sub-02": 42.0}
    page = (tmp_path / "out/sub-01.html").read_text()
    assert "_thickness" in page
    assert "0 T1w images" in page
    assert "This model saw measures of FreeSurfer" in page
    assert "fsridge" in (tmp_path / "out/logs/CITATION.md").read_text()
    assert "desc-fsridge" in (tmp_path / "out/descriptions.tsv").read_text()
