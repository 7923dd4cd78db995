"""The conversion of FLIRT's matrix on the page of models agrees with that of nitransforms."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nitransforms.io.fsl import FSLLinearTransform

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
RADIOLOGICAL, NEUROLOGICAL = np.diag([-1.0, 1.2, 1.1, 1.0]), np.diag([1.0, 1.2, 1.1, 1.0])


def _write(path: Path, affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    shifted = affine.copy()
    shifted[:3, 3] = (20.0, -30.0, -10.0)
    nib.Nifti1Image(np.zeros(shape, np.uint8), shifted).to_filename(path)


@pytest.mark.parametrize("t1w", [RADIOLOGICAL, NEUROLOGICAL])
@pytest.mark.parametrize("template", [RADIOLOGICAL, NEUROLOGICAL])
def test_flirts_matrix_becomes_the_affine_that_the_app_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, t1w: np.ndarray, template: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "T1w.nii.gz", t1w, (21, 25, 23))
    _write(tmp_path / "MNI152_T1_1mm_brain.nii.gz", template, (19, 22, 20))
    # RAS mm of the template to RAS mm of the T1w, as resampling needs it
    wanted = nib.affines.from_matvec(
        [[1.02, 0.1, 0], [-0.1, 0.97, 0.05], [0, 0.02, 1.1]], [3, 1, 2]
    )
    flirt = FSLLinearTransform.from_ras(
        wanted, moving="T1w.nii.gz", reference="MNI152_T1_1mm_brain.nii.gz"
    )
    np.savetxt("T1w_to_MNI.mat", flirt["parameters"])
    (code,) = (
        text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "FSL" in text
    )
    exec(code, {})
    assert np.loadtxt("affine.txt") == pytest.approx(wanted, abs=1e-6)
