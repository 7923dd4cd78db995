"""The whole output tree, with every name that we write, against the BIDS validator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.citation import write_citation
from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.bids.dataset import write_atlas_files, write_dataset_files
from bidsapp_brainage.bids.dictionaries import sidecar, undescribed
from bidsapp_brainage.bids.names import (
    derivative_path,
    extension_of,
    log_dir,
    parse_name,
    report_path,
    sidecar_path,
)
from bidsapp_brainage.settings import Settings
from tests.bids.output_names import NAMES, ROOT_NAMES

COLUMNS = {
    "brainage": "participant_id session_id run_id model chronological_age age_source predicted_age "
    "predicted_age_median predicted_age_mode predicted_age_sd entropy ci95_lower ci95_upper gap "
    "gap_corrected gap_z bias_model in_age_range ood_flag qc_flag n_tta",
    "agedist": "age_lower age_upper age_center probability",
    "occlusion": "index name hemisphere lobe network n_voxels volume_mm3 baseline delta_age "
    "abs_delta_age delta_age_per_ml delta_age_adj delta_age_sd_members nosa_importance "
    "nosa_importance_scaled null_mean null_sd z_null p_null percentile_null "
    "delta_age_mirrored rank "
    "delta_entropy js_divergence ood_flag",
    "occlusiongroups": "level name n_regions n_voxels volume_mm3 delta_age delta_age_sd_members "
    "delta_entropy js_divergence sum_of_regions",
    "occlusionbaselines": "baseline index name n_voxels delta_age delta_age_sd_members "
    "delta_age_per_ml rank delta_entropy js_divergence",
    "occlusioncontrols": "baseline control n_voxels volume_mm3 delta_age delta_age_sd_members "
    "js_divergence",
    "agreement": "explanation_a explanation_b n_regions spearman spearman_abs spearman_abs_per_ml",
    **dict.fromkeys(
        ("lrp", "ig", "noise"),
        "index name hemisphere lobe network n_voxels volume_mm3 method baseline delta_age "
        "delta_age_sd_members delta_age_per_ml importance importance_per_ml null_mean null_sd "
        "z_null p_null percentile_null rank ood_flag",
    ),
    "randomisation": "method step layer n_regions spearman spearman_abs spearman_abs_per_ml",
    "shapley": "index name hemisphere lobe network n_voxels delta_age shapley_age standard_error",
    "occlusioncurve": "ranking curve step index fraction_occluded predicted_age delta_age "
    "random_abs_delta_age js_divergence area random_area_mean random_area_sd area_between z_area",
    "occlusionpairs": "index_a name_a index_b name_b delta_a delta_b delta_both interaction",
    "qc": "cnr snr efc fber wm2max inhomogeneity brain_volume_ml mask_overlap_dice "
    "template_correlation registration_mi fov_clipped_fraction input_intensity_p1 p50 p99 "
    "edge_contact n_nan resolution_mm decision decision_reason",
    "dseg": "index name abbreviation color hemisphere lobe network n_voxels volume_mm3",
}
SCANS = [
    Scan(
        Path(f"sub-{subject}_ses-{session}_T1w.nii.gz"),
        (("sub", subject), ("ses", session)),
        Age(30.0 + int(session), "sessions.tsv"),
        "F",
    )
    for subject in ("01", "02")
    for session in ("1", "2")
]


@pytest.mark.parametrize("kind", COLUMNS)
def test_every_documented_column_is_explained(kind):
    assert undescribed(kind, COLUMNS[kind].split()) == []


def write_output(path: Path, entities: dict[str, str]) -> None:
    """Something valid under this name, with its sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    extension, suffix = extension_of(path), entities["suffix"]
    if extension == ".nii.gz":
        io.save_nifti(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), path)
        io.write_json(sidecar_path(path), image_sidecar(entities))
    elif extension == ".tsv":
        columns = COLUMNS.get(suffix, "participant_id value").split()
        if path.parent.name == "phenotype":
            columns = ["participant_id", "predicted_age"]
        table = pd.DataFrame([[1] * len(columns)], columns=columns).astype(object)
        for name, value in (("participant_id", "sub-01"), ("name", "x"), ("color", "#ff0000")):
            if name in table:
                table[name] = value
        io.write_tsv(path, table)
        io.write_json(sidecar_path(path), sidecar(suffix, columns))
    elif extension != ".json":
        path.write_bytes(b"x")


def image_sidecar(entities: dict[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"Sources": ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]}
    if entities["suffix"] == "T1w":
        facts["SkullStripped"] = False
    if entities["suffix"] == "mask":
        facts["Type"] = "Brain"
    if "res" in entities:
        facts["Resolution"] = "1 mm isotropic"
    if "space" in entities:
        facts["SpatialReference"] = "bids::sub-01/anat/sub-01_T1w.nii.gz"
    return facts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A complete output folder of two people with two sessions."""
    raw = tmp_path / "raw"
    io.write_json(raw / "dataset_description.json", {"Name": "R", "License": "CC0"})
    settings = Settings(raw, tmp_path / "out" / "bidsapp_brainage", ("participant", "group"))
    out = settings.output_dir
    card = SimpleNamespace(name="sfcn")
    write_dataset_files(settings, card=card, atlas_facts={"URL": "https://a.org"}, scans=SCANS)
    write_citation(settings, ["# Methods\n\nAs in [@sfcn]."])
    table = pd.DataFrame({"index": [1], "name": ["x"], "color": ["#ff0000"]})
    dseg = tmp_path / "labels.nii.gz"
    io.save_nifti(nib.Nifti1Image(np.ones((2, 2, 2), np.int16), np.diag([2, 2, 2, 1])), dseg)
    atlas = SimpleNamespace(
        name="A", dseg=dseg, seg=None, scale=246, table=table, description={"License": "X"}
    )
    write_atlas_files(out, atlas)
    write_atlas_files(out, SimpleNamespace(**{**vars(atlas), "seg": "7n", "scale": 100}))
    for scan in SCANS:
        for wanted, _ in NAMES:
            made = derivative_path(out, scan.entities, **{"extension": ".nii.gz", **wanted})
            write_output(made, parse_name(made))
        report_path(out, scan.subject).write_text("<html></html>")
        folder = log_dir(out, scan.subject, "20250101-000000_x")
        io.write_text(folder / "app.toml", "[run]\n")
        io.write_text(folder / "run.log", "x\n")
    for wanted, _ in ROOT_NAMES:
        made = derivative_path(out, (), **{"extension": ".nii.gz", **wanted})
        if wanted["suffix"] != "description" and not made.exists():
            write_output(made, parse_name(made))
    return out


def validator() -> str | None:
    name = "bids-validator-deno"
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix) / "bin"))


def test_the_tree_has_no_errors(tree):
    command = validator()
    assert command, "bids-validator-deno is not installed: pip install .[test]"
    finished = subprocess.run(
        [command, "--format", "json", str(tree)], capture_output=True, text=True, check=False
    )
    issues = json.loads(finished.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue["severity"] == "error"]
    assert errors == []
    assert finished.returncode == 0


def test_label_table_knows_the_sizes_of_regions(tree):
    table = io.read_tsv(tree / "atlas-A_scale-246_dseg.tsv")
    assert table["n_voxels"].tolist() == [8]
    assert table["volume_mm3"].tolist() == [64.0]


def test_no_path_of_the_machine_is_told(tree):
    for path in tree.rglob("*"):
        if path.suffix in (".json", ".tsv", ".md", ".toml"):
            assert str(tree.parent) not in path.read_text()
