"""`--level fast` with the model that comes with the app: a raw head, an age, a page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.io import read_tsv
from tests.e2e.app import make_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Derivatives of a synthetic head; the image of a second person is cut short."""
    root = tmp_path_factory.mktemp("fast")
    bids, out = make_dataset(root / "bids"), root / "out"
    (bids / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\n")
    command = [
        *(sys.executable, "-m", "bidsapp_brainage", str(bids), str(out), "participant"),
        *("--level", "fast", "--work-dir", str(root / "work"), "--device", "cpu"),
        "--skip-bids-validation",
    ]
    home = {"TEMPLATEFLOW_HOME": str(root / "templateflow"), "OMP_NUM_THREADS": "1"}
    (root / "templateflow").mkdir()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **home}
    )
    assert done.returncode == 1, done.stderr  # one of two has failed
    assert "sub-02/anat/sub-02_T1w.nii.gz" in done.stderr
    return out


def test_there_is_an_age_with_its_interval(out: Path) -> None:
    (row,) = read_tsv(out / "sub-01/anat/sub-01_desc-fast2mm_brainage.tsv").to_dict("records")
    assert 18 < row["predicted_age"] < 82
    assert row["ci95_lower"] < row["predicted_age"] < row["ci95_upper"]
    assert row["model"] == "fast2mm"


def test_the_brain_lies_where_the_network_looks(out: Path) -> None:
    stem = out / "sub-01/anat/sub-01_space-MNI152NLin2009aSym_res-2_desc-fast2mminput"
    volume, regions = (
        np.asarray(nib.load(f"{stem}_{suffix}.nii.gz").dataobj) for suffix in ("T1w", "dseg")
    )
    assert volume.shape == regions.shape
    assert 1500 < np.count_nonzero(regions) * 0.008 < 2500  # mL, in the space of the template
    assert not volume[regions == 0].any()


def test_the_page_shows_age_and_input(out: Path) -> None:
    page = (out / "sub-01.html").read_text()
    assert "fast2mm" in page
    figures = {path.name for path in (out / "sub-01/figures").iterdir()}
    assert {"sub-01_desc-fast2mminput_T1w.svg", "sub-01_desc-fast2mm_agedist.svg"} <= figures


def test_a_warning_about_both_names_each_on_their_own_page(out: Path) -> None:
    page = (out / "sub-01.html").read_text()
    assert "No age for sub-01: the brain-age gap will be n/a." in page
    assert "--age-file" in page
    assert "sub-02" not in page.split("What was processed")[0].split("No age for")[1]
