"""The segmentation as a node: files, their headers, and what is left out."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import isdefined

from bidsapp_brainage import io
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.imaging.transforms import write_affine
from bidsapp_brainage.interfaces.prediction import ModelInput
from bidsapp_brainage.interfaces.segmentation import Segment
from tests.model.tiny import make_card
from tests.segmentation.tiny import AFFINE, SHAPE, make_segmentation

IMAGES = ("dseg", "probseg_gm", "probseg_wm", "probseg_csf")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("segment")
    card = make_segmentation(folder)
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -60.0
    image = np.random.default_rng(0).uniform(1, 100, (20, 20, 20)).astype(np.float32)
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[4:16, 4:16, 4:16] = 1
    io.save_nifti(nib.Nifti1Image(image, affine), folder / "t1w.nii.gz")
    io.save_nifti(nib.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    write_affine(folder / "affine.txt", np.eye(4))
    return {
        "card": str(card.path),
        "weights": str(card.weights[0].path),
        "t1w": str(folder / "t1w.nii.gz"),
        "mask": str(folder / "mask.nii.gz"),
        "affine": str(folder / "affine.txt"),
    }


def test_files(inputs: dict[str, str], tmp_path: Path) -> None:
    made = Segment(**inputs).run(cwd=str(tmp_path)).outputs
    t1w = io.load_nifti(Path(inputs["t1w"]))
    for name in IMAGES:
        image = io.load_nifti(Path(getattr(made, name)))
        assert image.shape == t1w.shape
        assert image.header["sform_code"] == 1
    assert io.load_nifti(Path(made.dseg)).get_data_dtype() == np.int16
    assert io.load_nifti(Path(made.units)).shape == SHAPE
    assert list(io.read_tsv(Path(made.volumes))) == columns_of("volumes")
    assert list(io.read_tsv(Path(made.dseg_table))) == columns_of("dseg_table")
    assert 0 <= made.facts["dice_mask_segmentation"] <= 1


def test_without_images(inputs: dict[str, str], tmp_path: Path) -> None:
    made = Segment(**inputs, images=False).run(cwd=str(tmp_path)).outputs
    assert not any(isdefined(getattr(made, name)) for name in IMAGES)
    assert Path(made.volumes).is_file()


def test_a_model_that_sees_tissue(inputs: dict[str, str], tmp_path: Path) -> None:
    made = Segment(**inputs, images=False).run(cwd=str(tmp_path)).outputs
    card = make_card(tmp_path / "models", shape=SHAPE)
    spec = {
        **card.input,
        "affine": AFFINE,
        "segmentation": "tiny",
        "intensity": {"scaling": "segmentation"},
    }
    card = make_card(tmp_path / "models", shape=SHAPE, input=spec)
    common = {name: inputs[name] for name in ("t1w", "mask", "affine")}
    seen = ModelInput(
        card=str(card.folder / "tiny.json"), units=made.units, regions=made.regions, **common
    ).run(cwd=str(tmp_path))
    volume, units = (io.load_nifti(Path(path)) for path in (seen.outputs.volume, made.units))
    assert np.allclose(volume.get_fdata(), units.get_fdata(), atol=1e-6)
