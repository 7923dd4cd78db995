"""Inputs of a new model, and packed people, from the app's derivatives."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.cli.models import main
from bidsapp_brainage.errors import ExitCode, NoInputError
from bidsapp_brainage.imaging.transforms import write_affine
from bidsapp_brainage.io import load_nifti, read_tsv, save_nifti
from bidsapp_brainage.segmentation import card as cards
from bidsapp_brainage.segmentation.segment import segment_on_grid
from bidsapp_brainage.training.data import prepare
from bidsapp_brainage.training.data.cohort import SIMULATED, regions_path
from bidsapp_brainage.training.data.prepare import find_prepared, prepare_inputs
from bidsapp_brainage.training.segmentation.subjects import load_subject, pack_people
from bidsapp_brainage.training.setup import read_recipe
from tests.segmentation.heads import raw_head, template_brain
from tests.segmentation.tiny import AFFINE, SHAPE, make_segmentation

SPEC = {
    "template": "MNI152NLin2009aSym", "registration": "affine", "skull_stripped": True,
    "orientation": "RAS", "resolution_mm": 8.0, "shape": list(SHAPE), "affine": AFFINE,
    "segmentation": "tiny",
    "intensity": {"scaling": "segmentation", "clip": [0.0, 2.5]},
    "background": 0.0,
}  # fmt: skip


@pytest.fixture
def derivatives(tmp_path):
    """One person with two runs, as the app leaves them, and its labels."""
    axes = np.meshgrid(*[8.0 * np.arange(n) - 92 for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    t1w = np.select([radius < 40, radius < 60, radius < 75], [100.0, 70.0, 20.0], 0.0)
    anat = tmp_path / "out" / "sub-1" / "anat"
    for run in ("1", "2"):
        stem = f"sub-1_run-{run}"
        image = nib.Nifti1Image(t1w.astype(np.float32), np.array(AFFINE))
        save_nifti(image, anat / f"{stem}_desc-preproc_T1w.nii.gz")
        mask = nib.Nifti1Image((radius < 75).astype(np.uint8), image.affine)
        save_nifti(mask, anat / f"{stem}_desc-brain_mask.nii.gz")
        write_affine(anat / f"{stem}_from-T1w_to-MNI_mode-image_desc-affine_xfm.txt", np.eye(4))
    labels = np.select([radius < 40, radius < 60, radius < 75], [81, 182, 1], 0)
    made = nib.Nifti1Image(labels.astype(np.uint8), np.array(AFFINE))
    save_nifti(made, tmp_path / "labels" / "sub-1_seg-MUSE_dseg.nii.gz")
    return tmp_path / "out"


@pytest.fixture
def segmentation(tmp_path, monkeypatch):
    """Every segmentation comes from a folder of tiny ones."""
    make_segmentation(tmp_path / "cards")
    monkeypatch.setattr(cards, "bundled_folder", lambda: tmp_path / "cards")


@pytest.mark.usefixtures("segmentation")
def test_inputs_and_their_versions_are_made_once(derivatives, tmp_path):
    out = tmp_path / "inputs"
    made = list(prepare_inputs(derivatives, out, SPEC, "new", simulated=2, seed=1))
    names = [path.name for path in made]
    assert names[0] == "sub-1_run-1_space-MNI152NLin2009aSym_desc-newinput_T1w.nii.gz"
    assert names[1] == f"sub-1{SIMULATED}1_run-1_space-MNI152NLin2009aSym_desc-newinput_T1w.nii.gz"
    assert len(names) == 6
    volumes = [np.asarray(load_nifti(path).dataobj) for path in made]
    assert all(volume.shape == SHAPE for volume in volumes)
    assert not np.allclose(volumes[1], volumes[2])
    assert np.allclose(volumes[0], volumes[3]), "the two runs are the same image"
    volumes_of = read_tsv(made[0].with_name("sub-1_run-1_volumes.tsv")).set_index("name")
    assert volumes_of.loc["Frontal_WM_R", "volume_ml"] >= 0
    assert len(list(out.glob("**/*_volumes.tsv"))) == 2, "versions have none"
    before = made[0].stat().st_mtime_ns
    assert list(prepare_inputs(derivatives, out, SPEC, "new", simulated=2, seed=1)) == made
    assert made[0].stat().st_mtime_ns == before


def test_a_model_on_intensities_needs_no_segmentation(derivatives, tmp_path):
    spec = {**SPEC, "intensity": {"scaling": "brain_zscore"}}
    del spec["segmentation"]
    made = list(prepare_inputs(derivatives, tmp_path / "in", spec, "new", simulated=0, seed=1))
    values = np.asarray(load_nifti(made[0]).dataobj)
    assert abs(values[values != 0].mean()) < 0.1


def test_a_model_on_intensities_may_ask_for_regions(derivatives, tmp_path, segmentation):
    spec = {**SPEC, "intensity": {"scaling": "brain_zscore"}}
    made, version, *_ = prepare_inputs(
        derivatives, tmp_path / "in", spec, "new", simulated=1, seed=1
    )
    values, others = (np.asarray(load_nifti(path).dataobj) for path in (made, version))
    assert abs(values[values != 0].mean()) < 0.1
    both = (values != 0) & (others != 0)
    assert np.corrcoef(values[both], others[both])[0, 1] < 0.99, "another scanner's image"
    regions = np.asarray(load_nifti(regions_path(made)).dataobj)
    assert 0 < (regions > 0).sum() < regions.size


def test_people_are_packed_with_labels_in_place(derivatives, tmp_path):
    facts = {"input": {"shape": list(SHAPE), "affine": AFFINE}}
    packed = pack_people(derivatives, tmp_path / "labels", tmp_path / "packed", facts)
    assert packed[0].name == "sub-1.npz"
    subject = load_subject(packed[0])
    assert np.allclose(subject.to_label_map, np.eye(4))
    white, fluid = subject.units[subject.label_map == 81], subject.units[subject.label_map == 1]
    assert np.median(white) > np.median(fluid) + 1


def test_without_derivatives_or_labels_the_remedy_is_said(derivatives, tmp_path, capsys):
    with pytest.raises(NoInputError, match="participant"):
        find_prepared(tmp_path / "labels")
    with pytest.raises(NoInputError, match="label map"):
        pack_people(derivatives, tmp_path, tmp_path / "packed", {"input": SPEC})
    code = main(["prepare", str(tmp_path / "labels"), str(tmp_path / "in")])
    assert code == ExitCode.NO_INPUT
    assert "participant" in capsys.readouterr().err


@pytest.mark.usefixtures("segmentation")
def test_images_of_other_modalities_are_prepared_beside_the_t1w(derivatives, tmp_path, monkeypatch):
    """Of run 1 as the app registered it, of run 2 from the raw dataset."""
    segmented = []

    def counted(*arguments, **options):
        segmented.append(arguments)
        return segment_on_grid(*arguments, **options)

    monkeypatch.setattr(prepare, "segment_on_grid", counted)
    anat = derivatives / "sub-1" / "anat"
    t1w = load_nifti(anat / "sub-1_run-1_desc-preproc_T1w.nii.gz")
    inverted = nib.Nifti1Image(
        np.where(t1w.get_fdata() > 0, 120 - t1w.get_fdata(), 0).astype(np.float32), t1w.affine
    )
    save_nifti(inverted, anat / "sub-1_run-1_space-T1w_desc-preproc_T2w.nii.gz")
    fine = inverted.get_fdata(dtype="float32").repeat(2, 0).repeat(2, 1).repeat(2, 2)
    halved = (
        inverted.affine
        @ np.diag([0.5, 0.5, 0.5, 1])
        @ nib.affines.from_matvec(np.eye(3), [-0.5] * 3)
    )
    raw = tmp_path / "raw" / "sub-1" / "anat" / "sub-1_run-2_T2w.nii.gz"
    save_nifti(nib.Nifti1Image(fine, halved), raw)
    (derivatives / "dataset_description.json").write_text('{"DatasetLinks": {"raw": "../raw"}}')
    zscore = {"scaling": "brain_zscore"}
    channels = [{"modality": "T1w"}, {"modality": "T2w", "intensity": zscore}]
    spec = SPEC | {"channels": channels}
    made = list(prepare_inputs(derivatives, tmp_path / "in", spec, "new", simulated=0, seed=1))
    assert [path.name[11:] for path in made] == [
        f"_space-MNI152NLin2009aSym_desc-newinput_{name}.nii.gz" for name in ("T1w", "T2w") * 2
    ]
    assert len(segmented) == 2  # each T1w once
    for t1w_input, t2w_input in (made[:2], made[2:]):
        first, second = (load_nifti(path).get_fdata() for path in (t1w_input, t2w_input))
        inside = np.asarray(load_nifti(regions_path(t1w_input)).dataobj) > 0
        assert np.corrcoef(first[inside], second[inside])[0, 1] < -0.5
        assert second[second != 0].std() == pytest.approx(1, abs=0.05)  # over the brain mask


def test_a_recipe_for_raw_images_prepares_a_raw_dataset(tmp_path, capsys):
    bids, out = tmp_path / "bids", tmp_path / "inputs"
    command = ["prepare", str(bids), str(out), "--recipe", "fast2mm"]
    assert main(command) == ExitCode.NO_INPUT
    save_nifti(raw_head(template_brain(), np.eye(4)), bids / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    assert main(command) == 0
    name = "sub-1_space-MNI152NLin2009aSym_desc-fast2mminput_T1w.nii.gz"
    made = out / "sub-1" / "anat" / name
    spec = read_recipe("fast2mm").card["input"]
    regions = np.asarray(load_nifti(regions_path(made)).dataobj)
    assert load_nifti(made).shape == regions.shape == tuple(spec["shape"])
    assert {81, 82, 51, 52, 59, 60} <= set(np.unique(regions))
    before = made.stat().st_mtime_ns
    noise = np.random.default_rng(0).rayleigh(20.0, (40, 40, 40)).astype(np.float32)
    broken = bids / "sub-2" / "anat" / "sub-2_T1w.nii.gz"
    save_nifti(nib.Nifti1Image(noise, np.diag([4.0, 4.0, 4.0, 1.0])), broken)
    capsys.readouterr()
    assert main(command) == ExitCode.DATA
    assert "sub-2_T1w.nii.gz: " in capsys.readouterr().err
    assert made.stat().st_mtime_ns == before, "who is there is not made again"
