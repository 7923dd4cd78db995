"""The app on derivatives as sMRIPrep writes them, to a template that is not the model's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage import io
from tests.model.tiny import make_card
from tests.morphometry.freesurfer import VERSIONS, write_person
from tests.reuse.person import Person

pytestmark = pytest.mark.slow
CASYM = "MNI152NLin2009cAsym"


def run_app(place: Path, home: Path, name: str, *more: str) -> tuple[Path, str]:
    """Output folder, and what the run said."""
    out = place / name
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bidsapp_brainage", str(place / "bids"), str(out)),
            *("participant", "--level", "minimal", "--model", "tiny", "--sloppy"),
            *("--models-dir", str(place / "models"), "--work-dir", str(place / f"{name}_work")),
            *("--device", "cpu", "--skip-bids-validation", *more),
        ],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "TEMPLATEFLOW_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def sources(sidecar: Path) -> list[str]:
    return json.loads(sidecar.read_text())["Sources"]


def test_derivatives_of_smriprep_with_freesurfer_inside(person: Person, tmp_path: Path) -> None:
    """One person: transforms are taken over, mask and tissue compared, and the surfaces read.

    The age is that of a run without them, whatever their image looks like.
    """
    home = tmp_path / "templateflow"
    for kind, path in zip(("T1w", "desc-brain_mask"), person.other, strict=True):
        target = home / f"tpl-{CASYM}" / f"tpl-{CASYM}_res-01_{kind}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copytree(person.root, tmp_path / "smriprep")
    write_person(tmp_path / "smriprep/sourcedata/freesurfer/sub-01", VERSIONS[1])
    raw = tmp_path / "bids/sub-01/anat/sub-01_T1w.nii.gz"
    io.save_nifti(person.anatomy.t1w, raw)
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    make_card(tmp_path / "models")
    theirs = tmp_path / "smriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"
    image = nib.load(theirs)
    fade = np.linspace(0.5, 1.5, image.shape[1])[:, None]  # another program's bias correction
    io.save_nifti(nib.Nifti1Image(image.get_fdata() * fade, image.affine), theirs)
    given = ("-d", f"smriprep={tmp_path / 'smriprep'}", "--output-spaces", CASYM)
    out, log = run_app(tmp_path, home, "out", *given)
    assert "are used for 1 of 1 scans" in log
    assert "Of sMRIPrep 0.15.0, transforms are used for regions and spaces" in log
    assert "as they are" not in log
    assert log.count("nonlinear registration done") == 1
    assert log.count("transforms from derivatives done") == 2
    alone, _ = run_app(tmp_path, home, "alone")
    ages = [
        pd.read_csv(folder / "sub-01/anat/sub-01_desc-tiny_brainage.tsv", sep="\t").iloc[0]
        for folder in (out, alone)
    ]
    assert ages[0]["predicted_age"] == ages[1]["predicted_age"]
    anat = out / "sub-01/anat"
    quality = pd.read_csv(anat / "sub-01_desc-tiny_qc.tsv", sep="\t").iloc[0]
    assert abs(quality["given_mask_edge_mm"]) < 0.5
    assert 0.0 < quality["given_xfm_mm"] < 5.0
    assert quality["given_gm_ml"] > 100
    assert quality["mask_overlap_dice"] > 0.9
    assert sources(anat / "sub-01_desc-preproc_T1w.json") == [
        "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"
    ]
    xfm = f"sub-01_from-T1w_to-{CASYM}_mode-image_xfm"
    assert f"bids:smriprep:sub-01/anat/{xfm}.h5" in sources(anat / f"{xfm}.json")
    assert (anat / "sub-01_desc-fsridge_brainage.tsv").is_file()
    text = (out / "logs/CITATION.md").read_text()
    assert "computed before by *sMRIPrep 0.15.0*" in " ".join(text.split())
    assert "fsridge" in text
