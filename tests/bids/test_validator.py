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
from bidsapp_brainage.bids.dataset import Origin, write_atlas_files, write_dataset_files
from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import (
    derivative_path,
    extension_of,
    log_dir,
    parse_name,
    report_path,
    runs_path,
    sidecar_path,
)
from bidsapp_brainage.bids.run_records import run_folder
from bidsapp_brainage.catalogue.cards import Column
from bidsapp_brainage.catalogue.lookup import OUTPUTS
from tests.bids.output_names import NAMES, ROOT_NAMES

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


def columns(path: Path, suffix: str) -> tuple[Column, ...]:
    """Of the table with this name."""
    levels = {"sub": "subject", "gro": "group", "phe": "phenotype", "atl": "atlas"}
    start = path.name if path.parent.name != "phenotype" else "phenotype"
    return next(
        card.columns
        for card in OUTPUTS
        if (card.level, card.suffix) == (levels[start[:3]], suffix) and card.is_table
    )


def write_output(path: Path, entities: dict[str, str]) -> None:
    """Something valid under this name, with its sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    extension, suffix = extension_of(path), entities["suffix"]
    if extension == ".nii.gz":
        io.save_nifti(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), path)
        io.write_json(sidecar_path(path), image_sidecar(entities))
    elif extension == ".tsv":
        row = {column.name: next(iter(column.levels), 1) for column in columns(path, suffix)}
        table = pd.DataFrame([row]).astype(object)
        for name, value in (("participant_id", "sub-01"), ("name", "x"), ("color", "#ff0000")):
            if name in table:
                table[name] = value
        io.write_tsv(path, table)
        io.write_json(sidecar_path(path), sidecar(suffix, row))
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
    out = tmp_path / "out" / "bidsapp_brainage"
    facts = {"URL": "https://a.org"}
    write_dataset_files(Origin(raw, out, "0123abcd"), model="sfcn", atlas_facts=facts, scans=SCANS)
    write_citation(out / "logs", ["# Methods\n\nAs in [@sfcn]."])
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
        io.write_json(folder / "participant.json", {"Scans": []})
    whole = run_folder(out, "20250101-000000_x")
    io.write_text(whole / "app.toml", "[run]\n")
    io.write_json(whole / "participant.json", {"Scans": []})
    io.write_json(whole / "group.json", {"Scans": []})
    runs_path(out).write_text("<html></html>")
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
