"""One reader of what the participant level wrote."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bidsapp_brainage import io
from bidsapp_brainage.bids.derivatives import Derivatives, scan_name
from bidsapp_brainage.bids.names import derivative_path, output_path

SCAN = (("sub", "01"), ("ses", "1"))
ATLAS = {"space": "MNI", "atlas": "A", "scale": "2"}


def write(root: Path, suffix: str, extension: str = ".tsv", **more: str) -> Path:
    path = derivative_path(root, SCAN, suffix=suffix, extension=extension, **more)
    if extension == ".tsv":
        io.write_tsv(path, pd.DataFrame({"x": [1]}))
    else:
        io.write_bytes(path, b"x")
    return path


def test_files_are_told_apart_by_their_cards(tmp_path):
    table = write(tmp_path, "occlusion", desc="sfcn", **ATLAS)
    write(tmp_path, "shapley", desc="sfcn", **ATLAS)
    grid = write(tmp_path, "occlusionmap", ".nii.gz", desc="sfcn", res="2", **ATLAS)
    write(tmp_path, "occlusionmap", ".nii.gz", desc="sfcn", **{**ATLAS, "space": "T1w"})
    cubes = write(tmp_path, "occlusionmap", ".nii.gz", desc="sfcncubes", space="MNI", res="2")
    write(tmp_path, "T1w", ".nii.gz", desc="preproc")
    write(tmp_path, "T1w", ".nii.gz", desc="nobodys", space="MNI")
    derivatives = Derivatives(tmp_path)
    keys = {"table", "shapley", "map_grid", "map_t1w", "cubes_map", "t1w_preproc"}
    assert {file.output.key for file in derivatives.files} == keys
    (found,) = derivatives.select("table", scan=SCAN, model="sfcn")
    assert found.path == table
    assert found.atlas == (("atlas", "A"), ("scale", "2"))
    assert scan_name(found.scan) == "sub-01_ses-1"
    assert [file.path for file in derivatives.select("map_grid", space="MNI")] == [grid]
    assert [(f.path, f.model) for f in derivatives.select("cubes_map")] == [(cubes, "sfcn")]
    assert not derivatives.select("table", model="other")
    assert not Derivatives(tmp_path, sessions=["2"]).files


def test_what_cannot_be_read_is_told_and_leaves_a_gap(tmp_path):
    table = write(tmp_path, "brainage", desc="sfcn")
    table.write_bytes(b"\xff\xfe\x00\x81")
    table.with_suffix(".json").write_text("{")
    derivatives = Derivatives(tmp_path)
    (file,) = derivatives.select("brainage")
    read = derivatives.table(file)
    assert read.rows is None
    assert read.first == {}
    assert read.sidecar == {}
    assert [str(table) in problem or ".json" in problem for problem in derivatives.problems] == [
        True,
        True,
    ]


def test_a_label_that_begins_like_another_is_another(tmp_path):
    for subject in ("01", "011"):
        for model in ("sfcn", "other"):
            path = output_path(tmp_path, "brainage", (("sub", subject), *SCAN[1:]), model=model)
            io.write_tsv(path, pd.DataFrame({"x": [1]}))
    found = Derivatives(tmp_path, participants=["01"]).select("brainage", model="sfcn")
    assert [file.path.name for file in found] == ["sub-01_ses-1_desc-sfcn_brainage.tsv"]
    assert len(Derivatives(tmp_path).select("brainage")) == 4
