"""A tiny TemplateFlow home, and the merged home with the embedded template (made once)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import prepare_home
from tests.atlas.boxes import brain, halves, image


@pytest.fixture
def tiny_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the template ``Tiny``: T1w, mask, and the atlas ``Box`` with its table."""
    home = tmp_path / "tfhome"
    folder = home / "tpl-Tiny"
    io.save_nifti(image(brain() * np.uint8(100)), folder / "tpl-Tiny_res-01_T1w.nii.gz")
    io.save_nifti(image(brain()), folder / "tpl-Tiny_res-01_desc-brain_mask.nii.gz")
    io.save_nifti(image(halves()), folder / "tpl-Tiny_res-01_atlas-Box_dseg.nii.gz")
    io.write_text(
        folder / "tpl-Tiny_atlas-Box_dseg.tsv",
        "index\tname\n0\tLeft Half\n1\tRight Half\n2\tRight Core\n",
    )
    io.write_json(folder / "template_description.json", {"Identifier": "Tiny"})
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def merged_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A merged home without any template of the user."""
    before = os.environ.get("TEMPLATEFLOW_HOME")
    os.environ["TEMPLATEFLOW_HOME"] = str(tmp_path_factory.mktemp("user") / "absent")
    try:
        return prepare_home(tmp_path_factory.mktemp("work"))
    finally:
        if before is None:
            del os.environ["TEMPLATEFLOW_HOME"]
        else:
            os.environ["TEMPLATEFLOW_HOME"] = before


@pytest.fixture(scope="session")
def shared_home() -> Path:
    root = Path(os.environ.get("BRAINAGE_SHARED", Path(__file__).parents[3] / "shared"))
    if not (root / "templateflow").is_dir():
        pytest.skip("the development data (BRAINAGE_SHARED) are not here")
    return root / "templateflow"
