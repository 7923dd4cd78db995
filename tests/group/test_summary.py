"""Summaries of a sample."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group import analyses, outputs, repeats, sample
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.io import load_nifti, read_tsv
from tests.group.derivatives import write_derivatives


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 99)


def summarise(root):
    (model,) = collect(root).models
    return analyses.summarise(model, read_tsv(root / "participants.tsv"), seed=1)


def said(got, topic):
    return [note.sentence for note in got.notes if note.topic == topic]


def test_sample_with_flags_and_unknown_ages(tmp_path):
    write_derivatives(tmp_path, n_participants=14, unknown_age=(0,), flagged=(3,))
    got = summarise(tmp_path)
    metrics = got.tables["metrics"].set_index(["prediction", "subset", "metric"])
    assert metrics.loc[("raw", "all", "mae"), "n_scans"].item() == 13
    assert metrics.loc[("raw", "unflagged", "mae"), "n_scans"].item() == 12
    assert ("raw", "sex=F", "mae") in metrics.index
    assert ("raw", "site=B", "mean_gap") in metrics.index
    assert ("corrected", "all", "bias_slope") in metrics.index
    assert ("corrected", "all", "mae") not in metrics.index
    assert got.tables["group_brainage"]["flagged"].sum() == 1
    brainage = got.tables["group_brainage"].set_index("scan")
    assert brainage.loc["sub-04", "verdict"] == "look closer"
    assert "Quality checks: " in brainage.loc["sub-04", "verdict_reasons"]
    outliers = got.tables["outliers"]
    assert ("sub-04", "snr") in set(zip(outliers["scan"], outliers["metric"], strict=True))
    assert got.tables["exclusions"]["reason"].tolist() == ["chronological age unknown"]
    assert any("not reported" in text and "age " in text for text in said(got, "metrics"))


def test_what_raters_say_changes_the_verdict_and_nothing_else_of_a_scan():
    names = ["chronological_age", "ci95_lower", "ci95_upper", "predicted_age"]
    scans = pd.DataFrame([[50.0, 40.0, 60.0, 52.0]] * 3, columns=names)
    scans = scans.assign(scan=["sub-01", "sub-02", "sub-03"], flags="none", qc_flag="pass")
    qc = pd.DataFrame({"scan": ["sub-02"], "decision": "warn", "decision_reason": "coarse voxels"})
    ratings = {"sub-02": [{"rating": 4}], "sub-03": [{"rating": 1, "rater": "AB"}]}
    before, after = sample.verdicts(scans, qc), sample.verdicts(scans, qc, ratings)
    assert list(before["verdict"]) == ["usable", "look closer", "usable"]
    assert list(after["verdict"]) == ["usable", "usable", "do not use"]
    assert list(after["verdict_reasons"]) == [None, None, "Rated 1, exclude by AB"]


def test_nobody_has_an_age(tmp_path):
    write_derivatives(tmp_path, n_participants=2, unknown_age=(0, 1))
    got = summarise(tmp_path)
    assert got.tables["metrics"].empty
    assert "known age" in said(got, "metrics")[0]
    assert len(got.atlas_tables[0]["occlusionstats"]) > 12
    assert said(got, "occlusionstats")


def test_participants_file_is_optional(tmp_path):
    write_derivatives(tmp_path, n_participants=5)
    (model,) = collect(tmp_path).models
    got = analyses.summarise(model, pd.DataFrame(), seed=1)
    assert got.tables["group_brainage"][["sex", "site"]].isna().all(axis=None)


def test_mean_map_weighs_people_not_scans(tmp_path):
    paths = {}
    for name, value in {"sub-1_ses-1": 1.0, "sub-1_ses-2": 3.0, "sub-2_ses-1": 4.0}.items():
        paths[name] = tmp_path / f"{name}.nii"
        nib.save(nib.Nifti1Image(np.full((2, 2, 2), value, "f4"), np.eye(4)), paths[name])
    kept = tmp_path / "kept"
    image, n_people = outputs.mean_map(paths, tmp_path, kept)
    assert n_people == 2
    assert (image.get_fdata() == 3.0).all()
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 3), "f4"), np.eye(4)), paths["sub-2_ses-1"])
    with pytest.raises(DataError, match="grid"):
        outputs.mean_map(paths, tmp_path, kept)
    assert load_nifti(paths["sub-1_ses-1"]).shape == (2, 2, 2)


def test_a_map_that_did_not_change_is_read_once(tmp_path, monkeypatch):
    def write(name, value, size=2):
        paths[name] = tmp_path / f"{name}.nii"
        nib.save(nib.Nifti1Image(np.full((2, 2, size), value, "f4"), np.eye(4)), paths[name])

    def read(path):
        opened.append(path.stem)
        return load_nifti(path)

    def mean():
        opened.clear()
        image, _ = outputs.mean_map(paths, tmp_path, tmp_path / "kept")
        return float(image.get_fdata().mean()), set(opened)

    paths, opened = {}, []
    monkeypatch.setattr("bidsapp_brainage.bids.pooled.map_sums._PEOPLE_PER_SUM", 2)
    monkeypatch.setattr(outputs, "load_nifti", read)
    for number in range(1, 5):
        write(f"sub-{number}", number)
    assert mean() == (2.5, set(paths))
    assert mean() == (2.5, {"sub-1"})  # for its grid
    write("sub-4", 8.0)
    assert mean() == (3.5, {"sub-1", "sub-3", "sub-4"})
    next((tmp_path / "kept").glob("sub-1*")).write_bytes(b"broken")
    assert mean() == (3.5, {"sub-1", "sub-2"})
    del paths["sub-3"], paths["sub-4"]
    assert mean() == (1.5, {"sub-1"})
    assert len(list((tmp_path / "kept").iterdir())) == 1
    write("sub-1", 1.0, size=3)
    with pytest.raises(DataError, match="grid"):
        mean()


def test_people_with_several_scans_have_a_pace_and_a_note_where_two_scans_say_little():
    random = np.random.default_rng(0)
    rows = [
        {"participant_id": f"sub-{k:02d}", "scan": f"sub-{k:02d}_ses-{n}", "gap": 0.0,
         "chronological_age": age + 2 * n, "predicted_age": 0.7 * age + 1.4 * n + noise}
        for k, age in enumerate(random.uniform(30, 70, 12))
        for n, noise in enumerate(random.normal(0, 0.1, 2))
    ]  # fmt: skip
    got = repeats.pace(pd.DataFrame(rows), "")
    assert set(got.tables) == {"pace", "pacepower"}
    assert got.tables["pace"]["estimate"].iloc[0] == pytest.approx(0.7, abs=0.1)
    assert ["the least" in note.sentence for note in got.notes] == [True]
    assert repeats.pace(pd.DataFrame(rows[::2]), "").tables == {}
