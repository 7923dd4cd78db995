"""Prediction and occlusion on a tiny untrained network."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nipype.interfaces.base import isdefined

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.interfaces.occlusion import Agree, Attribute, Occlude, PaintMap
from bidsapp_brainage.interfaces.prediction import Predict
from bidsapp_brainage.model.cards import ModelCard
from tests.model.tiny import make_card


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return make_card(tmp_path_factory.mktemp("models"))


def network(card: ModelCard, folder: Path) -> dict:
    volume = np.random.default_rng(0).normal(size=card.shape).astype(np.float32)
    path = folder / "volume.nii.gz"
    io.save_nifti(nib.Nifti1Image(volume, np.array(card.input["affine"])), path)
    return {
        "card": str(card.folder / f"{card.name}.json"),
        "weights": [str(weight.path) for weight in card.weights],
        "volume": str(path),
        "age": 40.0,
    }


def quality(folder: Path, decision: str) -> str:
    path = folder / "qc.tsv"
    io.write_tsv(path, pd.DataFrame({"decision": [decision], "decision_reason": ["is noise"]}))
    return str(path)


def test_tables(card: ModelCard, tmp_path: Path) -> None:
    found = Predict(
        **network(card, tmp_path),
        identity={"participant_id": "sub-01"},
        age_source="participants.tsv",
        qc_table=quality(tmp_path, "warn"),
    ).run(cwd=str(tmp_path))
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    assert row["participant_id"] == "sub-01"
    assert row["qc_flag"] == "warn"
    assert row["gap"] == pytest.approx(row["predicted_age"] - 40, abs=1e-3)
    assert io.read_tsv(Path(found.outputs.agedist))["probability"].sum() == pytest.approx(1, 1e-4)


def test_no_age_for_an_image_that_failed_quality_control(card: ModelCard, tmp_path: Path) -> None:
    predict = Predict(
        **network(card, tmp_path),
        identity={"participant_id": "sub-01"},
        qc_table=quality(tmp_path, "fail"),
        label="sub-01/anat/sub-01_T1w.nii.gz",
    )
    with pytest.raises(DataError, match=r"sub-01_T1w.*is noise.*exclude it"):
        predict.run(cwd=str(tmp_path))


def test_occlusion_has_a_row_for_each_region_and_a_map(card: ModelCard, tmp_path: Path) -> None:
    labels = np.zeros(card.shape, np.int32)
    labels[8:12, 10:14, 8:12] = 3
    path = tmp_path / "labels.nii.gz"
    io.save_nifti(nib.Nifti1Image(labels, np.array(card.input["affine"])), path)
    table = tmp_path / "atlas.tsv"
    io.write_tsv(table, pd.DataFrame({"index": [3, 5], "name": ["here", "empty"]}))
    found = Occlude(**network(card, tmp_path), labels=str(path), atlas_table=str(table)).run(
        cwd=str(tmp_path)
    )
    rows = io.read_tsv(Path(found.outputs.table))
    assert rows["n_voxels"].tolist() == [64, 0]
    assert rows["volume_mm3"].tolist() == [64 * 8.0**3, 0]
    assert np.isfinite(rows.loc[0, "delta_age"])
    assert np.isnan(rows.loc[1, "delta_age"])
    painted = PaintMap(labels=str(path), table=found.outputs.table).run(cwd=str(tmp_path))
    values = np.asarray(io.load_nifti(Path(painted.outputs.out_file)).dataobj)
    assert values[labels == 0].tolist() == [0] * int((labels == 0).sum())
    assert values[9, 11, 9] == pytest.approx(rows.loc[0, "delta_age"], rel=1e-4)


def test_a_network_that_answers_with_one_number(tmp_path: Path) -> None:
    scalar = make_card(
        tmp_path / "models",
        architecture={"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 1}},
        output={"coding": "scalar", "offset": 50.0, "unit": "year"},
        calibration={},
    )
    inputs = network(scalar, tmp_path)
    found = Predict(**inputs, identity={"participant_id": "sub-01"}).run(cwd=str(tmp_path))
    assert not isdefined(found.outputs.agedist)
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    assert row[["predicted_age_sd", "entropy", "ci95_lower", "ci95_upper"]].isna().all()
    labels = np.zeros(scalar.shape, np.int32)
    labels[8:12, 10:14, 8:12] = 3
    labels[2:5, 10:14, 8:12] = 5
    path, table = tmp_path / "labels.nii.gz", tmp_path / "atlas.tsv"
    io.save_nifti(nib.Nifti1Image(labels, np.array(scalar.input["affine"])), path)
    io.write_tsv(table, pd.DataFrame({"index": [3, 5], "name": ["here", "there"]}))
    occluded = Occlude(
        **inputs, labels=str(path), atlas_table=str(table), baselines=["mean"], null_parcels=3
    ).run(cwd=str(tmp_path))
    rows = io.read_tsv(Path(occluded.outputs.table))
    assert np.isfinite(rows["delta_age"]).all()
    assert rows[["delta_entropy", "js_divergence"]].isna().all(axis=None)


def test_template_and_mask_reach_the_occlusion_and_agreement_compares_all(
    card: ModelCard, tmp_path: Path
) -> None:
    affine = np.array(card.input["affine"])
    files = {}
    inside = np.zeros(card.shape, np.float32)
    inside[4:16, 4:20, 4:16] = 1
    rng = np.random.default_rng(1)
    labels = inside * (1 + (np.arange(card.shape[0]) // 5)[:, None, None])
    template = rng.normal(5, 1, size=card.shape) * inside
    images = {"mask": inside, "labels": labels, "template": template, "template_mask": inside}
    for name, values in images.items():
        path = tmp_path / f"{name}.nii.gz"
        io.save_nifti(nib.Nifti1Image(values.astype(np.float32), affine), path)
        files[name] = str(path)
    table = tmp_path / "atlas.tsv"
    io.write_tsv(table, pd.DataFrame({"index": [1, 2, 3, 4], "name": list("abcd")}))
    common = network(card, tmp_path) | files | {"atlas_table": str(table)}
    common["baselines"] = ["background", "template"]
    occluded = Occlude(**common, null_parcels=3).run(cwd=str(tmp_path)).outputs
    controls = io.read_tsv(Path(occluded.controls)).set_index(["baseline", "control"])
    assert controls.loc[("background", "whole_brain"), "n_voxels"] == inside.sum()
    assert controls.loc[("background", "outside_brain"), "delta_age"] != 0  # noise is there
    attribution = Attribute(**common, method="ig", null_parcels=3)
    assert attribution.stage == "integrated gradients"
    found = attribution.run(cwd=str(tmp_path)).outputs
    assert io.load_nifti(Path(found.out_file)).shape == card.shape
    agreed = Agree(baselines=occluded.baselines, attributions=[found.table]).run(cwd=str(tmp_path))
    rows = io.read_tsv(Path(agreed.outputs.table))
    assert len(rows) == 6
    assert set(rows["explanation_b"]) == {"occlusion_template", "ig_background", "ig_template"}
