"""The app on derivatives as sMRIPrep writes them, to a template that is not the model's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bidsapp_brainage import io
from tests.model.tiny import make_card
from tests.morphometry.freesurfer import VERSIONS, write_person
from tests.reuse.person import Person

pytestmark = pytest.mark.slow
CASYM = "MNI152NLin2009cAsym"


def test_derivatives_of_smriprep_with_freesurfer_inside(person: Person, tmp_path: Path) -> None:
    """One person: image, mask, tissue and transforms are taken over, and the surfaces are read."""
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
    out = tmp_path / "out"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bidsapp_brainage", str(tmp_path / "bids"), str(out)),
            *("participant", "--level", "minimal", "--model", "tiny", "--sloppy"),
            *("--models-dir", str(tmp_path / "models"), "--work-dir", str(tmp_path / "work")),
            *("-d", f"smriprep={tmp_path / 'smriprep'}", "--device", "cpu"),
            "--skip-bids-validation",
        ],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "TEMPLATEFLOW_HOME": str(home)},
    )
    log = done.stderr
    assert done.returncode == 0, log
    assert "are used for 1 of 1 scans" in log
    assert "sMRIPrep 0.15.0 preprocessed what is used here. The age may differ by years" in log
    assert "registration done" not in log
    anat = out / "sub-01/anat"
    quality = pd.read_csv(anat / "sub-01_desc-tiny_qc.tsv", sep="\t").iloc[0]
    assert abs(quality["mask_edge_mm"]) < 0.5
    assert quality["given_gm_ml"] > 100
    assert quality["mask_overlap_dice"] > 0.9
    sources = json.loads((anat / "sub-01_desc-preproc_T1w.json").read_text())["Sources"]
    assert sources == ["bids:smriprep:sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"]
    assert (anat / "sub-01_desc-fsridge_brainage.tsv").is_file()
    text = (out / "logs/CITATION.md").read_text()
    assert "*sMRIPrep 0.15.0*, to the template MNI152NLin2009cAsym" in " ".join(text.split())
    assert "fsridge" in text
