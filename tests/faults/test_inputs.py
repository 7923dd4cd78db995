"""An image that is not there when its turn comes: the failure of its scan, and of no other."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import nipype.pipeline.engine as pe
import numpy as np
import pytest

from bidsapp_brainage.interfaces.images import Conform
from bidsapp_brainage.running.outcome import explain


def test_the_others_are_processed(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((40, 40, 40), np.float32)
    image = nib.Nifti1Image(voxels, np.diag([4.0, 4.0, 4.0, 1.0]))
    workflow = pe.Workflow("wf", base_dir=str(tmp_path / "work"))
    workflow.config["execution"] = {
        "crashdump_dir": str(tmp_path),
        "crashfile_format": "txt",
        "hash_method": "content",
        "create_report": "false",
    }
    for name in ("gone", "link", "there"):
        path = tmp_path / f"{name}.nii"
        nib.save(image, path)
        workflow.add_nodes([pe.Node(Conform(in_file=str(path)), name=name)])
    (tmp_path / "gone.nii").unlink()
    (tmp_path / "link.nii").unlink()
    (tmp_path / "link.nii").symlink_to(tmp_path / "annex")
    with pytest.raises(RuntimeError):
        workflow.run(plugin="Linear")
    crashes = sorted(tmp_path.glob("crash-*.txt"))
    reasons = sorted(explain(crash.read_text()) for crash in crashes)
    assert len(reasons) == 2
    assert reasons[0].endswith("gone.nii does not exist.")
    assert "datalad get" in reasons[1]
    assert list((tmp_path / "work/wf/there").glob("conformed_T1w.nii.gz"))
