"""The group level from derivatives to files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.bids.names import parse_name
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.group import analyses
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.reports.figures import drawing
from bidsapp_brainage.running.group import run_group
from bidsapp_brainage.settings import Execution, GroupLevel, Selection, Settings
from tests.group.derivatives import write_derivatives

SAMPLE = (
    *("exclusions", "gaps", "metrics", "notes", "outliers", "qc", "sample", "sensitivity"),
    "gapmodel",
)
NOW = "2026-01-31T12:00:00Z"
ATLAS = (
    *("agegroups", "asymmetry", "literature", "occlusion", "occlusionmodel", "occlusionstats"),
    "stability",
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 99)
    monkeypatch.setattr(drawing, "DPI", 72)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 49)
    monkeypatch.setattr(io, "now", lambda: NOW)


def settings(root, *, reports_only=False, run="first", **selection):
    nowhere = Path(os.devnull) / "raw data are not needed"
    command = f"bidsapp-brainage {run}"
    execution = Execution(reports_only=reports_only, run_uuid=run, command_line=command)
    return Settings(
        nowhere, root, ("group",), selection=Selection(**selection), execution=execution
    )


def written(root):
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file()
        and not path.relative_to(root).as_posix().startswith(("sub-", "logs/", ".cache/"))
    } - {"participants.tsv", "dataset_description.json", "runs.html"}


def test_an_asymmetry_that_turns_with_the_image_is_the_brains(tmp_path):
    write_derivatives(tmp_path, n_participants=8)
    assert run_group(settings(tmp_path)) == 0
    table = read_tsv(next(tmp_path.rglob("*_asymmetry.tsv")))
    turned = -table["mean_difference"]
    np.testing.assert_allclose(table["mean_difference_flipped"], turned, atol=1e-6)
    np.testing.assert_allclose(table["brain_part"], table["mean_difference"], atol=1e-6)
    np.testing.assert_allclose(table["model_part"], 0, atol=1e-6)
    notes = read_tsv(next(tmp_path.rglob("*_notes.tsv")))
    assert not notes.astype(str).apply(lambda row: "mirrored" in " ".join(row), axis=1).any()


def test_all_files_with_dictionaries_and_the_same_bytes_again(tmp_path):
    write_derivatives(tmp_path, n_participants=12, flagged=(2,))
    assert run_group(settings(tmp_path)) == 0
    files = written(tmp_path)
    where = "tpl-MNI152NLin2009aSym/anat/tpl-MNI152NLin2009aSym_atlas-Blocks_scale-12_res-2"
    drawn = {name for name in files if name.startswith("figures/")}
    kinds = {parse_name(Path(name))["suffix"] for name in drawn}
    assert {"agescatter", "agegap", "agehistogram", "regioncontribution", "meanmap"} <= kinds
    assert len(drawn) == 2 * len(kinds)  # SVG and PNG
    assert files - drawn == {
        "index.html",
        *(f"group_desc-sfcn2mm_{k}.{e}" for k in SAMPLE for e in ("tsv", "json")),
        *(f"group_desc-sfcn2mm_brainage.{e}" for e in ("tsv", "json", "html")),
        *(
            f"group_atlas-Blocks_scale-12_desc-sfcn2mm_{k}.{e}"
            for k in ATLAS
            for e in ("tsv", "json")
        ),
        f"{where}_desc-sfcn2mmmean_occlusionmap.nii.gz",
        f"{where}_desc-sfcn2mmmean_occlusionmap.json",
        "phenotype/brainage.tsv",
        "phenotype/brainage.json",
    }
    for name in (name for name in files if name.endswith(".tsv")):
        columns = list(read_tsv(tmp_path / name).columns)
        assert undescribed(parse_name(Path(name))["suffix"], columns) == [], name
        described = json.loads((tmp_path / name).with_suffix(".json").read_text())
        assert set(columns) <= set(described)
        assert described["Model"]["Name"] == "sfcn2mm"
    before = {name: (tmp_path / name).read_bytes() for name in files}
    assert run_group(settings(tmp_path)) == 0
    assert {name: (tmp_path / name).read_bytes() for name in written(tmp_path)} == before


def test_reports_only_makes_the_page_again_from_the_tables(tmp_path, monkeypatch):
    write_derivatives(tmp_path, n_participants=6, flagged=(1,))
    assert run_group(settings(tmp_path)) == 0
    before = {name: (tmp_path / name).read_bytes() for name in written(tmp_path)}
    page = tmp_path / "group_desc-sfcn2mm_brainage.html"
    page.unlink()
    for table in tmp_path.glob("sub-*/anat/*.tsv"):  # nothing is computed again
        table.unlink()
    monkeypatch.setattr(analyses, "summarise", None)
    assert run_group(settings(tmp_path, reports_only=True, run="again")) == 0
    again = {name: (tmp_path / name).read_bytes() for name in written(tmp_path)}
    assert again | {"index.html": b""} == before | {"index.html": b""}  # it tells what lies there
    assert "page written 2026-01-31 12:00 UTC" in page.read_text()
    assert "bidsapp-brainage first" in page.read_text()  # and not the one that wrote it again
    table = tmp_path / "group_desc-sfcn2mm_metrics.tsv"
    table.write_text(table.read_text().replace("raw\tall\tmae\t", "raw\tall\tmae\t9"))
    assert run_group(settings(tmp_path, reports_only=True)) == 0
    assert page.read_bytes() != before[page.name]


def test_reports_only_without_tables_names_the_remedy(tmp_path):
    write_derivatives(tmp_path, n_participants=2, maps=False)
    with pytest.raises(NoInputError, match="without `reports_only` first"):
        run_group(settings(tmp_path, reports_only=True))


def test_a_mean_map_that_is_no_more_is_removed(tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    run_group(settings(tmp_path))
    (mean,) = tmp_path.glob("tpl-*/anat/*_occlusionmap.nii.gz")
    for path in tmp_path.glob("sub-*/anat/*_occlusionmap.nii.gz"):
        path.unlink()
    run_group(settings(tmp_path))
    assert not mean.exists()
    assert not list(tmp_path.glob("tpl-*/anat/*.json"))


def test_phenotype_only_with_one_image_per_participant(tmp_path, caplog):
    write_derivatives(tmp_path, n_participants=2, maps=False)
    run_group(settings(tmp_path))
    assert len(read_tsv(tmp_path / "phenotype/brainage.tsv")) == 2
    write_derivatives(tmp_path, n_participants=2, sessions=("1", "2"), maps=False)
    caplog.set_level("INFO")
    run_group(settings(tmp_path))
    assert not (tmp_path / "phenotype/brainage.tsv").exists()
    assert "several images" in caplog.text
    run_group(settings(tmp_path, session_label=("1",)))
    assert (tmp_path / "phenotype/brainage.json").exists()


def test_models_have_their_own_files(tmp_path, caplog):
    caplog.set_level("INFO")
    write_derivatives(tmp_path, n_participants=2, models=("one", "two"), maps=False)
    assert run_group(settings(tmp_path)) == 0
    for label in ("one", "two"):
        table = read_tsv(tmp_path / f"group_desc-{label}_brainage.tsv")
        assert set(table["model"]) == {label}
        assert (tmp_path / f"group_desc-{label}_brainage.html").exists()
    assert "2 models" in caplog.text
    assert "No occlusion maps" in caplog.text
    assert not list(tmp_path.glob("tpl-*"))


def test_unreadable_table_gives_exit_code_1_and_the_rest(tmp_path):
    write_derivatives(tmp_path, n_participants=5)
    (tmp_path / "sub-03/anat/sub-03_desc-sfcn2mm_brainage.tsv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "participants.tsv").unlink()
    assert run_group(settings(tmp_path)) == 1
    assert len(read_tsv(tmp_path / "group_desc-sfcn2mm_brainage.tsv")) == 4


def test_empty_folder_names_the_folder_and_the_remedy(tmp_path):
    with pytest.raises(NoInputError, match="participant level first") as caught:
        run_group(settings(tmp_path))
    assert caught.value.exit_code == 66
    assert str(tmp_path) in str(caught.value)


def test_needs_neither_torch_nor_nipype(tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    code = f"""
        import sys
        from pathlib import Path
        from bidsapp_brainage.running.group import run_group
        from bidsapp_brainage.settings import Settings
        code = run_group(Settings(Path("x"), Path({str(tmp_path)!r}), ("group",)))
        sys.exit(code or str({{"torch", "nipype", "niworkflows", "nilearn"}} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True
    )
    assert done.stderr.strip() == "set()"


def test_groups_and_factors(tmp_path):
    out = write_derivatives(tmp_path / "out", n_participants=44, maps=False)
    people = read_tsv(out / "participants.tsv")
    people["diagnosis"] = np.resize(["control"] * 2 + ["patient"] * 2, len(people))
    io.write_tsv(out / "participants.tsv", people)
    factors = people[["participant_id"]].assign(score=np.arange(44.0), same=1)
    io.write_tsv(tmp_path / "factors.tsv", factors)
    chosen = GroupLevel(
        group_column="diagnosis", reference_group="control", factors=tmp_path / "factors.tsv"
    )
    assert run_group(dataclasses.replace(settings(out), group=chosen)) == 0
    stem = out / "group_desc-sfcn2mm"
    found = read_tsv(Path(f"{stem}_factors.tsv")).set_index("factor")
    assert found.loc["score", "n_participants"] == 44
    assert found.loc["same", "remark"] == "it does not vary"
    (pair,) = read_tsv(Path(f"{stem}_grouppairs.tsv")).to_dict("records")
    assert (pair["group_a"], pair["n_a"], pair["n_b"]) == ("control", 22, 22)
    assert set(read_tsv(Path(f"{stem}_groupseparation.tsv"))["predictors"]) == {
        *("gap", "covariates", "covariates and gap"),
    }
    page = Path(f"{stem}_brainage.html").read_text()
    for key in ("grouppairs", "groupseparation", "factors"):
        assert f"group_desc-sfcn2mm_{key}.svg" in page
    for key in ("factors", "grouppairs", "groupseparation", "grouproc"):
        assert undescribed(key, read_tsv(Path(f"{stem}_{key}.tsv")).columns) == []
