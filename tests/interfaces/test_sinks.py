"""The sink: names, sidecars, atomic and idempotent writing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bidsapp_brainage.interfaces.metering import read_timing
from bidsapp_brainage.interfaces.sinks import DerivativeSink, Kept

ENTITIES = [("sub", "01"), ("ses", "1")]


def run(tmp_path: Path, outputs: dict[str, Kept], **inputs):
    work = tmp_path / "node"
    work.mkdir(exist_ok=True)
    sink = DerivativeSink(outputs, output_dir=str(tmp_path / "out"), entities=ENTITIES, **inputs)
    return [Path(path) for path in sink.run(cwd=str(work)).outputs.out_files], work


def test_image_and_sidecar(tmp_path: Path) -> None:
    source = tmp_path / "x.nii.gz"
    source.write_bytes(b"voxels")
    told = {"Sources": ["bids:raw:sub-01/anat/x.nii.gz"]}
    image = Kept("t1w_preproc", metadata=told, told=("stripped",))
    (out,), work = run(tmp_path, {"image": image}, image=str(source), stripped=False)
    assert out == tmp_path / "out/sub-01/ses-1/anat/sub-01_ses-1_desc-preproc_T1w.nii.gz"
    assert out.read_bytes() == b"voxels"
    sidecar = json.loads((out.parent / "sub-01_ses-1_desc-preproc_T1w.json").read_text())
    assert sidecar == {**told, "SkullStripped": False}
    assert {"wall_s", "cpu_s", "peak_rss_mb"} <= set(read_timing(work))


def test_files_of_one_step_have_sidecars_of_their_own(tmp_path: Path) -> None:
    outputs = {
        "t1w_std": Kept("t1w_std", {"space": "X", "res": "1"}, {"Type": "a"}, ("stripped",)),
        "mask_std": Kept("mask_std", {"space": "X", "res": "1"}, {"Type": "Brain"}),
    }
    for name in outputs:
        (tmp_path / name).write_text(name)
    given = {name: str(tmp_path / name) for name in outputs}
    (image, mask), _ = run(tmp_path, outputs, stripped=True, **given)
    assert (image.read_text(), mask.read_text()) == ("t1w_std", "mask_std")
    facts = [
        json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        for path in (image, mask)
    ]
    assert facts == [{"Type": "a", "SkullStripped": True}, {"Type": "Brain"}]


def test_a_file_that_was_not_made_is_missed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mask"):
        run(tmp_path, {"mask": Kept("mask")})


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    source = tmp_path / "x.svg"
    source.write_text("<svg/>")
    outputs = {"figure": Kept("mask_figure")}
    (out,), _ = run(tmp_path, outputs, figure=str(source))
    before = out.stat().st_mtime_ns
    run(tmp_path, outputs, figure=str(source))
    assert out.stat().st_mtime_ns == before
    assert not list(out.parent.glob("*.json"))
    assert not list(out.parent.glob(".*"))


def test_table_gets_its_dictionary(tmp_path: Path) -> None:
    source = tmp_path / "x.tsv"
    source.write_text("age_lower\tprobability\n20\t1\n")
    told = {"Software": {"Name": "bidsapp_brainage"}}
    table = Kept("agedist", {"model": "tiny"}, told, ("predicted",))
    (out,), _ = run(tmp_path, {"agedist": table}, agedist=str(source), predicted=48.17086583552)
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert sidecar["PredictedAge"] == 48.1709
    assert sidecar["age_lower"]["Units"] == "year"
    assert sidecar["Software"] == {"Name": "bidsapp_brainage"}


def test_a_deleted_output_comes_back() -> None:
    assert DerivativeSink._always_run
