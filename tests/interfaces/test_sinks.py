"""The sink: names, sidecars, atomic and idempotent writing."""

from __future__ import annotations

import json
from pathlib import Path

from bidsapp_brainage.interfaces.metering import read_timing
from bidsapp_brainage.interfaces.sinks import DerivativeSink

ENTITIES = [("sub", "01"), ("ses", "1")]


def run(tmp_path: Path, **inputs):
    work = tmp_path / "node"
    work.mkdir(exist_ok=True)
    sink = DerivativeSink(output_dir=str(tmp_path / "out"), entities=ENTITIES, **inputs)
    return Path(sink.run(cwd=str(work)).outputs.out_file), work


def test_image_and_sidecar(tmp_path: Path) -> None:
    source = tmp_path / "x.nii.gz"
    source.write_bytes(b"voxels")
    out, work = run(
        tmp_path,
        in_file=str(source),
        key="t1w_preproc",
        metadata={"Sources": ["bids:raw:sub-01/anat/x.nii.gz"]},
        skull_stripped=False,
    )
    assert out == tmp_path / "out/sub-01/ses-1/anat/sub-01_ses-1_desc-preproc_T1w.nii.gz"
    assert out.read_bytes() == b"voxels"
    sidecar = json.loads((out.parent / "sub-01_ses-1_desc-preproc_T1w.json").read_text())
    assert sidecar == {"Sources": ["bids:raw:sub-01/anat/x.nii.gz"], "SkullStripped": False}
    assert {"wall_s", "cpu_s", "peak_rss_mb"} <= set(read_timing(work))


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    source = tmp_path / "x.svg"
    source.write_text("<svg/>")
    out, _ = run(tmp_path, in_file=str(source), key="mask_figure")
    before = out.stat().st_mtime_ns
    run(tmp_path, in_file=str(source), key="mask_figure")
    assert out.stat().st_mtime_ns == before
    assert not list(out.parent.glob("*.json"))
    assert not list(out.parent.glob(".*"))


def test_table_gets_its_dictionary(tmp_path: Path) -> None:
    source = tmp_path / "x.tsv"
    source.write_text("age_lower\tprobability\n20\t1\n")
    out, _ = run(
        tmp_path,
        in_file=str(source),
        key="agedist",
        labels={"model": "tiny"},
        metadata={"Software": {"Name": "bidsapp_brainage"}},
        predicted=48.17086583552,
    )
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert sidecar["PredictedAge"] == 48.1709
    assert sidecar["age_lower"]["Units"] == "year"
    assert sidecar["Software"] == {"Name": "bidsapp_brainage"}


def test_a_deleted_output_comes_back() -> None:
    assert DerivativeSink._always_run
