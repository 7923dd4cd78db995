"""Targets of every type at the group level, and models that predict no age."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.group import analyses, predictions
from bidsapp_brainage.io import read_json, read_tsv
from bidsapp_brainage.running.group import run_group
from bidsapp_brainage.settings import Settings
from bidsapp_brainage.stats.classes import area_under_curve, brier_losses, class_scores
from tests.derivatives import as_class_model
from tests.group.derivatives import write_derivatives


def rows(n: int = 40) -> pd.DataFrame:
    """A sex and a BMI of every person; the sex of the last two is none of the classes."""
    rng = np.random.default_rng(0)
    found = []
    for place in range(n):
        scan, male = f"sub-{place:02d}", place % 2
        chance = float(np.clip(0.5 + (male - 0.5) * 0.5 + rng.normal(0, 0.2), 0.02, 0.98))
        bmi = 25 + 4 * rng.normal()
        common = {"participant_id": scan, "scan": scan, "model": "m", "unit": "1"}
        sex = "O" if place >= n - 2 else "FM"[male]
        for label, value in (("F", 1 - chance), ("M", chance)):
            own = {"target": "sex", "class": label, "value": value, "true_value": sex}
            found.append({**common, **own})
        predicted = bmi + rng.normal()
        ends = {"ci95_lower": predicted - 2, "ci95_upper": predicted + 2, "unit": "kg/m2"}
        own = {"target": "bmi", "value": predicted, "true_value": bmi if place else None}
        found.append({**common, **own, **ends})
        found.append({**common, "target": "iq", "value": 100.0})
    return pd.DataFrame(found)


def test_every_target_is_scored_by_its_type():
    table = rows()
    found = predictions.targets(table, n_boot=99, seed=0)
    scores = found.tables["targets"].set_index(["target", "metric"]).sort_index()
    wide = table[(table["target"] == "sex") & (table["true_value"] != "O")]
    male = wide[wide["class"] == "M"]
    truth = (male["true_value"] == "M").to_numpy(float)
    chance = male["value"].to_numpy(float)
    one = scores.loc["sex"].set_index("class", append=True)["value"]
    assert one["auc", "M"] == pytest.approx(area_under_curve(truth, chance))
    assert one["probability_error", "M"] == pytest.approx((chance - truth).mean())
    brier = scores.loc[[("sex", "brier")]].iloc[0]
    assert brier["value"] == pytest.approx(((chance - truth) ** 2).mean())
    assert brier["ci95_lower"] < brier["value"] < brier["ci95_upper"]
    assert brier["n_participants"] == 38
    counts = found.tables["confusion"]
    assert counts["n_scans"].sum() == 38
    right = counts[counts["true_class"] == counts["predicted_class"]]
    shares = right["n_scans"].to_numpy() / counts.groupby("true_class")["n_scans"].sum().to_numpy()
    balanced = scores.loc[[("sex", "balanced_accuracy")]].iloc[0]["value"]
    assert balanced == pytest.approx(shares.mean())
    bmi = scores.loc["bmi"]
    assert {"mae", "rmse", "r2", "correlation", "mean_error", "coverage95"} <= set(bmi.index)
    assert bmi.loc["mae", "unit"] == "kg/m2"
    assert bmi.loc["coverage95", "value"] > 0.85
    assert bmi.loc["mae", "n_participants"] == 39
    said = " ".join(note.sentence for note in found.notes)
    assert (
        "2 scans are of class O by participants.tsv, which the model does not know (F, M)" in said
    )
    assert "No true value of iq is known" in said


def test_three_classes_have_an_area_each():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    logits = rng.normal(size=(60, 3)) + 2 * np.eye(3)[truth]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = ["AD", "CN", "MCI"]
    people = np.arange(60).astype(str)
    found = class_scores([names[k] for k in truth], chances, names, people, n_boot=0)
    areas = found[found["metric"] == "auc"]
    assert areas["class"].tolist() == names
    assert (areas["value"] > 0.7).all()
    sure = brier_losses(np.array([0.0, 1.0]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert sure.tolist() == [0.0, 1.0]


def test_a_model_without_an_age_has_targets_and_contributions(tmp_path, monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 49)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)
    root = write_derivatives(tmp_path, n_participants=8, groups=False, maps=False)
    people = {f"sub-{place:02d}": "AD" if place % 2 else "CN" for place in range(1, 9)}
    as_class_model(root, people | {"sub-08": None})
    assert run_group(Settings(tmp_path / "none", root, ("group",))) == 0
    written = {path.name for path in root.glob("group_*.tsv")}
    assert {"group_desc-sfcn2mm_targets.tsv", "group_desc-sfcn2mm_confusion.tsv"} <= written
    assert not {"group_desc-sfcn2mm_gaps.tsv", "group_desc-sfcn2mm_gapmodel.tsv"} & written
    assert read_tsv(root / "group_desc-sfcn2mm_metrics.tsv").empty
    scores = read_tsv(root / "group_desc-sfcn2mm_targets.tsv")
    assert (scores["n_participants"] == 7).all()
    (means,) = root.glob("group_atlas-*_occlusionstats.json")
    assert read_json(means)["mean_delta_age"]["Units"] == "percent"
    assert list((root / "figures").glob("*_targetdiagnosis.svg"))
    page = (root / "group_desc-sfcn2mm_brainage.html").read_text()
    assert "<title>Predicted probability of diagnosis AD of a sample" in page
    assert 'id="gap"' not in page
    regions = page[page.index("How to read it.") : page.index('id="quality"')]
    plain = re.sub(r'class="[^"]*"|data:[^"]*', "", regions)
    for word in ("years", "redicted age", "(year)", "look older", "look younger"):
        assert word not in plain, word
    assert "percentage points" in plain
