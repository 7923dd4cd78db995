"""Ages of images and the group level as calls, with a stand-in for the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bidsapp_brainage as ba
from bidsapp_brainage import errors
from bidsapp_brainage.api import results
from tests.derivatives import as_class_model, write_table


def test_one_image(run, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = ba.predict(scans / "good.nii.gz", age=46, sex="F", output_dir=out, explain="none")
    assert (found.label, found.file, found.model) == ("sub-good", "good.nii.gz", "sfcn2mm")
    assert (found.predicted_age, found.interval) == (50.0, (38.0, 62.0))
    assert (found.age, found.gap, found.gap_corrected) == (46.0, 4.0, 3.0)
    assert found.verdict.level == "look closer"
    (flag,) = found.flags
    assert flag.key == "edge_mass"
    assert "wider range" in flag.remedy
    assert found.row["predicted_age_sd"] == 6.0
    assert found.report() == out / "sub-good.html"
    ((level, options),) = run.asked
    assert (level, options["explain"]) == ("participant", ("none",))


def test_an_image_without_an_age_has_no_gap(run, scans: Path, tmp_path: Path) -> None:
    found = ba.predict(scans / "good.nii.gz", output_dir=tmp_path / "out")
    assert (found.age, found.gap, found.gap_corrected) == (None, None, None)


def test_an_image_that_cannot_be_used_is_an_error_with_its_name(run, scans, tmp_path) -> None:
    with pytest.raises(errors.DataError) as caught:
        ba.predict(scans / "bad.nii.gz", output_dir=tmp_path / "out")
    assert str(caught.value) == (
        f"{scans / 'bad.nii.gz'}: every voxel has the same value (0). Convert it again."
    )
    assert caught.value.exit_code == 65


def test_of_several_images_the_others_go_on(run, scans: Path, tmp_path: Path) -> None:
    people = pd.DataFrame({"file": ["good.nii.gz"], "age": [46.5]})
    found = ba.predict_all(scans, people=people, output_dir=tmp_path / "out")
    assert [each.age for each in found.results] == [46.5]
    ((path, error),) = found.failed.items()
    assert path == str(scans / "bad.nii.gz")
    assert isinstance(error, errors.DataError)
    assert found.table()[["file", "gap"]].to_numpy().tolist() == [["good.nii.gz", 3.5]]


@pytest.mark.parametrize(("cluster", "beside"), [("slurm", True), ("local", False)])
def test_links_lie_where_other_machines_see_them(
    run, scans: Path, tmp_path: Path, cluster: str, beside: bool
) -> None:
    out = tmp_path / "deep" / "out"
    ba.predict(scans / "good.nii.gz", output_dir=out, cluster=cluster)
    ((_, options),) = run.asked
    scratch = options["work_dir"].parent
    assert (scratch.parent == out.parent) == beside
    assert not scratch.exists()
    assert list(out.parent.iterdir()) == [out]


def test_what_failed_now_is_not_answered_by_an_earlier_run(run, scans, tmp_path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(errors.DataError):
            ba.predict(scans / "bad.nii.gz", output_dir=out)
        write_table(out, "brainage", [{"predicted_age": 50.0}], (("sub", "bad"),))


def test_a_participant_of_a_dataset_is_not_replaced(run, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_table(out, "brainage", [{"predicted_age": 33.0}], (("sub", "good"),))
    assert ba.predict(scans / "good.nii.gz", output_dir=out).label == "sub-goodx2"
    assert [each.predicted_age for each in ba.read(out, participants=["good"])] == [33.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"age": -3}, "age -3: give years"),
        ({"age": float("nan")}, "give years"),
        ({"sex": "x"}, "give F, M or O"),
        ({"modle": "x"}, "'model'"),
        ({"participant_label": "01"}, "no option 'participant_label' here"),
        ({"nprocs": 0}, "nprocs"),
    ],
)
def test_impossible_options_are_told_first(run, scans, tmp_path, options, words) -> None:
    with pytest.raises(errors.UsageError, match=words):
        ba.predict(scans / "good.nii.gz", output_dir=tmp_path / "out", **options)
    assert not run.asked
    assert not (tmp_path / "out").exists()


def test_contributions_of_the_atlas_that_was_asked_for(run, scans, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "_atlas_name", lambda options: options["atlas"])
    image = scans / "good.nii.gz"
    found = ba.predict(image, output_dir=tmp_path / "out", nprocs=1, models_dir=tmp_path)
    regions = found.explain(atlas="BrainageDemo", occlusion_baseline="mean")
    assert regions["delta_age"].tolist() == [2.0]
    level, options = run.asked[-1]
    assert level == "participant"
    assert options["explain_only"]
    assert options["participant_label"] == ("good",)
    assert (options["nprocs"], options["models_dir"]) == (1, tmp_path)
    assert options["occlusion_baseline"] == ("mean",)
    with pytest.raises(errors.NoInputError, match="no contributions of Schaefer"):
        found.explain(atlas="Schaefer")


def test_a_model_may_be_the_path_of_its_card(run, scans, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "_atlas_name", lambda options: "BrainageDemo")
    card = str(tmp_path / "cards/sfcn2mm.json")
    found = ba.predict(scans / "good.nii.gz", output_dir=tmp_path / "out", model=card)
    assert found.model == "sfcn2mm"
    found.explain()
    assert [options["model"] for _, options in run.asked] == [card, card]


def test_the_figure_is_that_of_the_report(run, scans: Path, tmp_path: Path) -> None:
    figure = ba.predict(scans / "good.nii.gz", age=46, output_dir=tmp_path / "out").plot()
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "predicted 50.0" in words
    assert "gap +4.0 years" in words


def test_results_of_any_run_are_read(run, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ba.predict_all(scans, output_dir=out)
    scan = (("sub", "01"), ("ses", "1"))
    write_table(out, "brainage", [{"predicted_age": 33.0}], scan)
    assert [(each.label, each.file) for each in ba.read(out)] == [
        ("sub-01_ses-1", ""),
        ("sub-good", "good.nii.gz"),
    ]
    assert ba.read(out, model="other") == ()


def test_the_group_level_is_a_call_whatever_was_imported(run, scans, tmp_path) -> None:
    out = tmp_path / "out"
    ba.predict(scans / "good.nii.gz", age=46, output_dir=out)
    found = ba.group(out, group_column="diagnosis")
    assert run.asked[-1] == ("group", {"group_column": "diagnosis"})
    assert (found.models, found.complete) == (("sfcn2mm",), True)
    assert len(found.table("metrics")) == 1
    assert found.report().name == "group_desc-sfcn2mm_brainage.html"
    with pytest.raises(errors.NoInputError, match="known: brainage, metrics"):
        found.table("gaps")
    with pytest.raises(errors.NoInputError, match="predict ages first"):
        ba.group(tmp_path / "nowhere")


@pytest.mark.parametrize("before", ["pass", "import bidsapp_brainage.group.notes"])
def test_the_package_is_cheap_and_its_group_can_be_called(before: str) -> None:
    code = (
        "import sys, bidsapp_brainage as ba\n"
        "heavy = {'numpy', 'pandas', 'argparse', 'bidsapp_brainage.settings'} & set(sys.modules)\n"
        f"{before}\n"
        "print(heavy, callable(ba.group), set(ba.__all__) <= set(dir(ba)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() True True"


def test_other_names_are_none_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'predcit'"):
        ba.predcit  # noqa: B018


def test_all_targets_are_read(run, scans: Path, tmp_path: Path) -> None:
    ba.predict(scans / "good.nii.gz", age=46, output_dir=tmp_path / "ages")
    (alone,) = ba.read(tmp_path / "ages")
    (row,) = alone.predictions.to_dict("records")
    assert (row["target"], row["value"]) == ("age", alone.predicted_age)
    as_class_model(tmp_path / "ages", {alone.label: "CN"})
    (found,) = ba.read(tmp_path / "ages")
    assert found.predicted_age is None
    assert found.interval is None
    assert found.predictions["class"].tolist() == ["AD", "CN"]
    assert found.predictions["value"].sum() == pytest.approx(1)
    with pytest.raises(errors.NoInputError, match="predicts no age to draw"):
        found.plot()
