"""The whole participant level: killed, resumed, one participant broken, complete, identical."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.methods import METHODS
from tests.e2e.app import App, Story, copied, digests

GOLDEN = Path(__file__).parent / "outputs.txt"

pytestmark = pytest.mark.slow


def of_cards() -> Iterator[str]:
    """Names of the files of the methods of explanation, and of the pictures of their maps.

    Without those that only other inputs or networks have.
    """
    space = {"space": "MNI152NLin2009aSym"}
    others = {each.key for method in METHODS if method.architecture for each in method.outputs}
    for output in (*lookup.method_outputs(), *lookup.map_figures()):
        if output.key.removesuffix("_figure") in others or not output.always:
            continue
        labels = space | {"atlas": "BrainageDemo", "res": "8"}
        labels = {key: value for key, value in labels.items() if key in output.required}
        path = output_path(Path(), output.key, (("sub", "01"),), model="tiny", **labels)
        yield path.as_posix()
        if output.level == "subject":
            yield sidecar_path(path).as_posix()


def test_terminated_run_leaves_nothing_behind(app: App, story: Story) -> None:
    code, log = story.terminated
    assert code == 143, log
    assert not [name for name in story.files_after_termination if ".tmp" in name]
    assert "sub-01/anat/sub-01_desc-tiny_brainage.tsv" not in story.files_after_termination
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(app.root) in " ".join(process.info["cmdline"] or [])
    ]


def test_rerun_resumes(story: Story) -> None:
    _, log = story.resumed
    assert "sub-01: affine registration done (from an earlier run)" in log
    assert "sub-01: occlusion done" in log


def test_broken_participant_is_told_and_the_other_is_complete(app: App, story: Story) -> None:
    code, log = story.resumed
    assert code == 1, log
    assert "1 of 2 scans are complete." in log
    table = log[log.index("Not complete:") :]
    assert "sub-02  conform" in table
    assert "truncated" in table
    assert "sub-01" not in table.split("Details:")[0]
    assert (app.out / "sub-01.html").is_file()
    assert "truncated" in (app.out / "sub-02.html").read_text()
    crashes = [path.name for path in app.out.glob("sub-02/log/*/crash-*.txt")]
    assert crashes
    assert all(name.split("-")[3] == "conform" for name in crashes), "a login name is in the way"


def test_golden_list_of_files(app: App, story: Story) -> None:
    """Names that were published stay; what a new card adds needs no line in the list."""
    golden = set(GOLDEN.read_text().split())
    assert golden <= set(app.outputs())
    assert set(app.outputs()) == golden | set(of_cards())


def test_numbers_make_sense(app: App, story: Story) -> None:
    anat = app.out / "sub-01/anat"
    row = pd.read_csv(anat / "sub-01_desc-tiny_brainage.tsv", sep="\t").iloc[0]
    assert row["gap"] == pytest.approx(row["predicted_age"] - row["chronological_age"], abs=1e-3)
    dist = pd.read_csv(anat / "sub-01_desc-tiny_agedist.tsv", sep="\t")
    assert dist["probability"].sum() == pytest.approx(1, abs=1e-4)
    stem = "sub-01_space-MNI152NLin2009aSym_atlas-BrainageDemo_desc-tiny_occlusion"
    regions = pd.read_csv(anat / f"{stem}.tsv", sep="\t")
    atlas = pd.read_csv(app.out / "atlas-BrainageDemo_dseg.tsv", sep="\t")
    assert regions["index"].tolist() == atlas["index"].tolist()
    assert (regions["n_voxels"] > 0).mean() > 0.9
    quality = pd.read_csv(anat / "sub-01_desc-tiny_qc.tsv", sep="\t").iloc[0]
    assert quality["mask_overlap_dice"] > 0.9
    assert {"Model", "Sources", "predicted_age"} <= set(
        json.loads((anat / "sub-01_desc-tiny_brainage.json").read_text())
    )


def test_no_path_of_this_machine_in_the_outputs(app: App, story: Story) -> None:
    for path in app.out.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".html", ".tsv", ".txt", ".toml", ".md"):
            assert str(app.root) not in path.read_text(), path


def test_validator_finds_no_error(app: App, story: Story) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.is_file():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([validator, app.out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_timings_of_every_stage(app: App, story: Story) -> None:
    tables = sorted(app.out.glob("sub-01/log/*/timings.tsv"))
    stages = pd.read_csv(tables[-1], sep="\t")
    assert stages["stage"].tolist()[0] == "conform"
    assert {"nonlinear registration", "prediction", "occlusion"} <= set(stages["stage"])
    assert (stages["peak_rss_mb"] > 50).all()


def test_another_computation_gives_the_same_bytes(app: App, story: Story, tmp_path: Path) -> None:
    another = copied(app, tmp_path, "bids", "models")
    code, log = another.run("--participant-label", "01")
    assert code == 0, log
    own = {name: digest for name, digest in digests(app).items() if name != "participants.tsv"}
    assert {name: digest for name, digest in digests(another).items() if name in own} == own


def test_reports_only_needs_no_raw_data(app: App, story: Story, tmp_path: Path) -> None:
    reader = copied(app, tmp_path, "bids", "models", "derivatives")
    page = reader.out / "sub-01.html"
    page.unlink()
    code, log = reader.run("--reports-only", "--participant-label", "01")
    assert code == 0, log
    assert page.is_file()


def test_explain_only_needs_no_raw_data_and_gives_the_same(
    app: App, story: Story, tmp_path: Path
) -> None:
    reader = copied(app, tmp_path, "models", "derivatives")
    one = ("--explain-only", "--participant-label", "01")
    before = digests(reader)
    code, log = reader.run(*one)
    assert code == 0, log
    assert "sub-01: explained by these choices before" in log
    table = next(reader.out.glob("sub-01/anat/*_occlusion.tsv"))
    table.unlink()
    code, log = reader.run(*one)
    assert code == 0, log
    assert "1 of 1 scans are explained." in log
    assert digests(reader) == before
    code, log = reader.run(*one, "--explain", "occlusion", "--occlusion-baseline", "mean")
    assert code == 0, log
    assert "removed, because other choices made them" in log
    told = json.loads(sidecar_path(table).read_text())
    assert told["Explanation"]["Baselines"] == ["mean"]
    prediction = "sub-01/anat/sub-01_desc-tiny_brainage.tsv"
    assert digests(reader)[prediction] == before[prediction]
    code, log = reader.run("--explain-only", "--participant-label", "01", "02")
    assert code == 1, log
    assert "sub-02  input  There is no prediction of model tiny" in log
