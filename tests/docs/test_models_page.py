"""What the page of models says about derivatives of others works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nitransforms.io.fsl import FSLLinearTransform

from bidsapp_brainage.model.cards import bundled_folder, load_card
from bidsapp_brainage.workflows.precomputed import collect_derivatives

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


def test_the_files_of_the_authors_are_found_under_the_names_on_the_page(tmp_path: Path) -> None:
    names = re.findall(r"^    (sub-01_\S+)", PAGE.read_text(), re.M)
    assert len(names) == 3
    for name in names:
        path = tmp_path / "sub-01" / "anat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    template = load_card(bundled_folder() / "midi.json").input["template"]
    found = collect_derivatives([("authors", tmp_path)], (("sub", "01"),), template)
    assert {path.name for path in (found.t1w, found.mask, found.affine) if path} == set(names)
