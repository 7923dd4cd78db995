"""Images without BIDS: the same files as from a dataset, to the last byte."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.app import App, Story

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loose(app: App, story: Story) -> tuple[Path, int, str]:
    """Output, exit code and messages of the images of the story, given as files."""
    out = app.root / "loose"
    images = sorted(app.root.glob("bids/sub-*/anat/*_T1w.nii.gz"))
    people = (app.root / "bids/participants.tsv").read_text().replace("participant_id", "file")
    people = people.replace("sub-01", "sub-01_T1w").replace("sub-02", "sub-02_T1w")
    (app.root / "people.tsv").write_text(people)
    code, said = _predict(app, out, *images, "--people", app.root / "people.tsv")
    return out, code, said


def _predict(app: App, out: Path, *arguments: object) -> tuple[int, str]:
    command = [
        *(sys.executable, "-m", "bidsapp_brainage", "predict", *map(str, arguments)),
        *("--output-dir", str(out), "--sloppy", "--device", "cpu", "--explain", "none"),
        *("--model", "tiny", "--models-dir", str(app.root / "models")),
    ]
    home = {"TEMPLATEFLOW_HOME": str(app.root / "templateflow"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **home}
    )
    return done.returncode, done.stdout + done.stderr


def test_the_bad_image_is_told_by_name(app: App, loose: tuple[Path, int, str]) -> None:
    _, code, said = loose
    assert code == 1, said
    assert f"{app.root}/bids/sub-02/anat/sub-02_T1w.nii.gz" in said
    assert "truncated" in said


def test_an_empty_image_alone_is_an_error_of_data(app: App, tmp_path: Path) -> None:
    image = tmp_path / "zeros.nii.gz"
    voxels = np.zeros((50, 50, 50), np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4.0, 4.0, 1.0])), image)
    code, said = _predict(app, tmp_path / "out", image)
    assert code == 65, said
    assert f"{image}: every voxel has the same value (0)." in said
    assert "convert it again or exclude it" in said
    assert not list((tmp_path / "out").rglob("*_brainage.tsv"))


def test_same_bytes_as_from_a_dataset(app: App, loose: tuple[Path, int, str]) -> None:
    out, _, said = loose
    made = [path for path in (out / "sub-01/anat").iterdir() if path.suffix != ".json"]
    assert "sub-01_desc-tiny_brainage.tsv" in {path.name for path in made}, said
    for path in made:
        theirs = app.out / "sub-01/anat" / path.name
        assert _digest(path) == _digest(theirs), path.name


def test_nothing_tells_where_the_images_lie(app: App, loose: tuple[Path, int, str]) -> None:
    out, _, _ = loose
    for path in out.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".html", ".tsv", ".txt", ".toml", ".md"):
            assert str(app.root) not in path.read_text(), path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
