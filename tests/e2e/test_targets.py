"""Models of several targets, and of none that is an age, through both levels of the app."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.io import read_tsv, write_tsv
from tests.e2e.sessions import Runs

pytestmark = pytest.mark.slow

WANTED = ("--participant-label", "01", "02")
MORE = 12  # people with the results of these two, a little changed


@pytest.fixture(scope="module")
def done(runs: Runs) -> subprocess.CompletedProcess[str]:
    """Both models on two people, and the group level on them and on more people like them."""
    for model in ("tinytargets", "tinyclass"):
        code, said = runs.participant(model, *WANTED)
        assert code == 0, said
    _multiply(runs.app.out)
    return runs.group()


def _multiply(out: Path) -> None:
    """Copy tables and sidecars of both people under new labels, with other numbers."""
    rng = np.random.default_rng(0)
    for number in range(MORE):
        old, new = f"sub-{number % 2 + 1:02d}", f"sub-{number + 11}"
        for path in (out / old / "anat").glob("*_desc-tiny[tc]*.[tj]s*"):
            copy = out / new / "anat" / path.name.replace(old, new)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                copy.write_bytes(path.read_bytes())
                continue
            rows = read_tsv(path)
            if "participant_id" in rows:
                rows["participant_id"] = new
            if path.name.endswith("_predictions.tsv"):
                rows = _other_answers(rows, rng)
            write_tsv(copy, rows)


def _other_answers(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Other numbers, and other probabilities of classes that still sum to 1."""
    rows = rows.copy()
    for _, part in rows.groupby("target"):
        numbers = part.index[part["class"].isna()]
        rows.loc[numbers, "value"] += rng.normal(0, 2, len(numbers))
        classes = part.index[part["class"].notna()]
        if len(classes):
            chances = rng.dirichlet(np.ones(len(classes)))
            rows.loc[classes, "value"] = chances
            rows.loc[classes, "predicted"] = chances == chances.max()
    return rows


@pytest.mark.usefixtures("done")
def test_every_target_of_a_person_is_written(runs: Runs) -> None:
    rows = runs.table("02", "desc-tinytargets_predictions.tsv").set_index(["target", "class"])
    assert list(rows.index.get_level_values("target")) == ["age", "sex", "sex", "bmi"]
    sex = rows.loc["sex"]
    assert list(sex.index) == ["F", "M"]
    assert sex["value"].sum() == pytest.approx(1, abs=1e-4)
    assert set(sex["true_value"]) == {"M"}
    bmi = rows.loc["bmi"].iloc[0]
    assert bmi["ci95_upper"] - bmi["ci95_lower"] == pytest.approx(2 * 9.5, abs=1e-3)
    assert (bmi["unit"], float(bmi["true_value"])) == ("kg/m2", 31.0)
    age = rows.loc["age"].iloc[0]
    known = runs.table("02", "desc-tinytargets_brainage.tsv").iloc[0]
    assert age["value"] == pytest.approx(known["predicted_age"], abs=1e-3)
    assert float(age["true_value"]) == known["chronological_age"] == 60
    page = runs.page("02")
    for words in ("All that the network predicts", "kg/m2", "Predicted probability of diagnosis"):
        assert words in page


@pytest.mark.usefixtures("done")
def test_a_model_without_an_age_has_none(runs: Runs) -> None:
    row = runs.table("01", "desc-tinyclass_brainage.tsv").iloc[0]
    assert row["target"] == "diagnosis"
    assert row[["predicted_age", "gap", "ci95_lower"]].isna().all()
    rows = runs.table("01", "desc-tinyclass_predictions.tsv")
    assert rows["class"].tolist() == ["AD", "CN", "MCI"]
    assert rows["explained"].tolist().count(True) == 1
    regions = runs.table("01", "desc-tinyclass_occlusion.tsv")
    assert regions["delta_age"].abs().max() > 0


def test_the_group_level_scores_every_target_by_its_type(
    runs: Runs, done: subprocess.CompletedProcess[str]
) -> None:
    assert done.returncode == 0, done.stderr
    out = runs.app.out
    scores = read_tsv(out / "group_desc-tinytargets_targets.tsv").set_index(["target", "metric"])
    assert {"mae", "r2", "coverage95"} <= set(scores.loc["bmi"].index)
    assert {"balanced_accuracy", "auc", "brier"} <= set(scores.loc["sex"].index)
    answers = read_tsv(out / "group_desc-tinytargets_predictions.tsv")
    bmi = answers[answers["target"] == "bmi"]
    errors = (bmi["value"].astype(float) - bmi["true_value"].astype(float)).abs()
    assert scores.loc[("bmi", "mae"), "value"] == pytest.approx(errors.mean(), abs=1e-3)
    counts = read_tsv(out / "group_desc-tinytargets_confusion.tsv")
    assert counts["n_scans"].sum() == 2 + MORE
    for target in ("sex", "bmi"):
        assert (out / f"figures/group_desc-tinytargets_target{target}.svg").is_file()
    assert read_tsv(out / "group_desc-tinytargets_metrics.tsv")["metric"].eq("mae").any()
    page = (out / "group_desc-tinytargets_brainage.html").read_text()
    for words in ("Balanced accuracy", "kg/m2", 'id="gap"'):
        assert words in page, words


def test_the_group_level_of_classes_alone(
    runs: Runs, done: subprocess.CompletedProcess[str]
) -> None:
    out = runs.app.out
    assert done.returncode == 0, done.stderr
    scores = read_tsv(out / "group_desc-tinyclass_targets.tsv")
    assert set(scores["target"]) == {"diagnosis"}
    counts = read_tsv(out / "group_desc-tinyclass_confusion.tsv")
    assert set(counts["predicted_class"]) == {"AD", "CN", "MCI"}
    assert (out / "figures/group_desc-tinyclass_targetdiagnosis.svg").is_file()
    assert not (out / "group_desc-tinyclass_gaps.tsv").exists()
    page = (out / "group_desc-tinyclass_brainage.html").read_text()
    assert "Predicted probability of diagnosis AD of a sample" in page
