"""Sites calibrated on their reference people, from finished participants to tables and page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.cli.run import main
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.calibration import calibrate_sites, calibrated
from bidsapp_brainage.io import read_tsv, write_tsv
from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.reports.figures import drawing
from tests.group.derivatives import write_derivatives

HOME = BiasCorrection(slope=0.76, intercept=11.4, source="its own scanner", residual_sd=6.4)
PAGE = "group_desc-sfcn2mm_brainage.html"
NEW = ["predicted_age_site", "gap_site", "ci95_lower_site", "ci95_upper_site", "gap_z_site"]
NEW += ["flags_site", "flag_reasons_site"]


def sample(n=30, sites=("A", "B"), seed=0):
    """People of sites: at A ten years too old, at B on half of the scale; half are patients."""
    rng = np.random.default_rng(seed)
    site = np.repeat(sites, n)
    age = rng.uniform(20, 80, len(site))
    expected = np.where(site == "A", 21.4 + 0.76 * age, 20 + 0.5 * age)
    predicted = expected + rng.normal(0, 5, len(site))
    names = [f"sub-{i:03d}" for i in range(len(site))]
    scans = pd.DataFrame(
        {
            "participant_id": names,
            "scan": names,
            "site": site,
            "chronological_age": age,
            "predicted_age": predicted,
            "gap": predicted - age,
            "ci95_lower": predicted - 12,
            "ci95_upper": predicted + 12,
            "qc_flag": "pass",
        }
    )
    return scans, pd.Series(np.arange(len(site)) % 2 == 0, index=scans.index)


def test_offset_and_scale_of_every_site_are_mended():
    scans, _ = sample(200)
    new, _ = sample(2000, seed=1)
    everything = pd.concat([scans, new.assign(participant_id="new-" + new["participant_id"])])
    everything = everything.reset_index(drop=True)
    reference = pd.Series(everything.index < 400)
    got = calibrate_sites(everything, reference, HOME)
    values = everything.join(got.values)[400:]
    for site, part in values.groupby("site"):
        assert part["gap_site"].mean() == pytest.approx(0, abs=1.2), site
        assert np.polyfit(part["chronological_age"], part["gap_site"], 1)[0] == pytest.approx(
            0, abs=0.06
        )
        inside = part["chronological_age"].between(part["ci95_lower_site"], part["ci95_upper_site"])
        assert 0.92 < inside.mean() < 0.98
        assert part["gap_z_site"].std() == pytest.approx(1, abs=0.1)
    table = got.table.set_index("site")
    assert table.loc["A", "offset"] == pytest.approx(21.4 - 0.24 * 50, abs=1)
    assert (table["mae_after"] < table["mae_mean_age"]).all()
    assert table.loc["B", "mae_after"] < table.loc["B", "mae_before"]
    assert table["coverage95"].between(0.92, 0.99).all()


def test_a_controls_own_age_changes_no_line_of_this_control():
    scans, reference = sample()
    before = calibrate_sites(scans, reference, HOME).values
    changed = scans.copy()
    changed.loc[0, "chronological_age"] += 25
    after = calibrate_sites(changed, reference, HOME).values
    same = ["predicted_age_site", "ci95_lower_site", "ci95_upper_site"]
    pd.testing.assert_series_equal(after.loc[0, same], before.loc[0, same])
    assert after.loc[0, "gap_site"] != before.loc[0, "gap_site"]
    others = scans.index[(scans["site"] == "A") & (scans.index > 0)]
    assert (after.loc[others, same] != before.loc[others, same]).all(axis=None)
    elsewhere = scans.index[scans["site"] == "B"]
    pd.testing.assert_frame_equal(after.loc[elsewhere], before.loc[elsewhere])


def test_patients_and_failed_scans_are_not_fitted_on():
    scans, reference = sample()
    before = calibrate_sites(scans, reference, HOME)
    patients = scans.index[~reference]
    scans.loc[patients, "predicted_age"] += 30
    after = calibrate_sites(scans, reference, HOME)
    pd.testing.assert_frame_equal(after.values[reference], before.values[reference])
    assert (after.values.loc[patients, "gap_site"] > 15).all()
    scans.loc[0, "qc_flag"] = "fail"
    without = calibrate_sites(scans, reference, HOME)
    assert without.table.set_index("site").loc["A", "n_reference"] == 14
    assert np.isfinite(without.values.loc[0, "gap_site"])


def test_all_scans_of_a_person_are_left_out_together():
    scans, reference = sample()
    twice = pd.concat([scans, scans.assign(scan=scans["scan"] + "_ses-2")], ignore_index=True)
    reference = pd.concat([reference, reference], ignore_index=True)
    twice.loc[len(scans), ["predicted_age", "chronological_age"]] += [40, 3]
    got = calibrate_sites(twice, reference, HOME)
    once = calibrate_sites(scans, reference[: len(scans)], HOME)
    assert got.table["n_reference"].tolist() == [15, 15]
    pd.testing.assert_series_equal(got.values.loc[0], once.values.loc[0])


def test_without_sites_the_sample_is_one_and_people_of_unknown_site_are_told():
    scans, reference = sample()
    whole = calibrate_sites(scans.assign(site=None), reference, None)
    assert whole.table["site"].tolist() == ["all"]
    scans.loc[3, "site"] = None
    got = calibrate_sites(scans, reference, HOME)
    assert got.refused == {"sub-003": "the site of these people is not known"}
    assert got.values.loc[3].isna().all()
    assert calibrated(scans.join(got.values)).loc[3, ["predicted_age", "gap"]].isna().all()
    (warning,) = (note for note in got.notes if note.severity == "warning")
    assert "Site unknown is not calibrated" in warning.sentence


def test_unknown_ages_have_a_calibrated_age_but_no_gap():
    scans, reference = sample()
    scans.loc[1, ["chronological_age", "gap"]] = np.nan
    values = calibrate_sites(scans, reference, HOME).values
    assert np.isfinite(values.loc[1, "predicted_age_site"])
    assert values.loc[1, ["gap_site", "gap_z_site"]].isna().all()


def test_flags_about_the_age_are_judged_again_and_others_stay():
    scans, reference = sample()
    scans["flags"], scans["flag_reasons"] = "none", None
    both = "stripped_source,implausible_gap"
    scans.loc[5, ["flags", "flag_reasons"]] = both, "stripped before; 20 years above"
    scans.loc[7, "predicted_age"] += 60
    got = calibrate_sites(scans, reference, HOME).values
    assert got.loc[5, ["flags_site", "flag_reasons_site"]].tolist() == [
        "stripped_source",
        "stripped before",
    ]
    assert got.loc[7, "flags_site"] == "implausible_gap,age_outside_interval"
    words = "SD of reference people of the site; chronological age"
    assert words in got.loc[7, "flag_reasons_site"]
    assert (got.drop(index=[5, 7])["flags_site"] == "none").mean() > 0.85


def test_no_site_with_enough_controls_is_an_error_with_reason_and_remedy():
    scans, reference = sample(16)
    with pytest.raises(DataError) as caught:
        calibrate_sites(scans, reference, HOME)
    words = str(caught.value)
    assert "site A: 8 reference people" in words
    assert "site B: 8 reference people" in words
    assert "`site_column`" in words
    assert caught.value.exit_code == 65


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 49)
    monkeypatch.setattr(drawing, "DPI", 72)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)


def group(root, *more):
    nowhere = Path(os.devnull) / "raw data are not needed"
    return main([str(nowhere), str(root), "group", *more])


def table(root, kind):
    return read_tsv(root / f"group_desc-sfcn2mm_{kind}.tsv")


def finished(root, n):
    """Predictions of finished participants, without explanations."""
    write_derivatives(root, n_participants=n, maps=False, groups=False, n_regions=4)
    for path in root.rglob("*_occlusion.*"):
        path.unlink()


@pytest.fixture
def run(tmp_path, few_resamples):
    """A finished run: site A has six people and is refused, site B is calibrated."""
    finished(tmp_path, 40)
    people = read_tsv(tmp_path / "participants.tsv")
    kind = np.where(np.arange(40) % 3, "control", "patient")
    write_tsv(tmp_path / "participants.tsv", people.assign(diagnosis=kind))
    of_people = {path: path.read_bytes() for path in tmp_path.rglob("sub-*/anat/*")}
    chosen = ["--group-column", "diagnosis", "--reference-group", "control"]
    assert group(tmp_path, *chosen, "--bias-correction", "reference") == 0
    assert {path: path.read_bytes() for path in of_people} == of_people
    return tmp_path


def test_through_the_command_line(run):
    tmp_path = run
    assert_tables(tmp_path)
    page = (tmp_path / PAGE).read_text()
    for words in ("Calibrated for the site", "Site A is not calibrated", "Calibration of the sites",
                  "Predicted age, calibrated for the site, against"):  # fmt: skip
        assert words in page
    (tmp_path / PAGE).unlink()
    assert group(tmp_path, "--reports-only") == 0
    assert "Calibrated for the site" in (tmp_path / PAGE).read_text()

    assert group(tmp_path) == 0  # without the option nothing of it is left
    assert not (tmp_path / "group_desc-sfcn2mm_sitecalibration.tsv").exists()
    assert not set(NEW) & set(table(tmp_path, "brainage").columns)
    assert set(table(tmp_path, "metrics")["prediction"]) == {"raw", "corrected"}
    assert "Calibrated for the site" not in (tmp_path / PAGE).read_text()


def assert_tables(tmp_path):
    assert {path.stem.rsplit("_", 1)[1] for path in tmp_path.glob("group_*.tsv")} == {
        *("brainage", "exclusions", "gapmodel", "gaps", "metrics", "notes", "outliers", "qc"),
        *("sample", "sitecalibration", "grouppairs", "groupseparation", "grouproc"),
    }
    sites = table(tmp_path, "sitecalibration").set_index("site")
    assert sites["calibrated"].tolist() == [False, True]
    assert sites.loc["A", "remark"].startswith("4 reference people of known age")
    assert sites.loc["B", "n_reference"] == 22
    scans = table(tmp_path, "brainage").set_index("participant_id")
    assert scans.loc[scans["site"] == "A", NEW].isna().all(axis=None)
    raw = scans["predicted_age"] - scans["chronological_age"]
    np.testing.assert_allclose(scans["gap"], raw, atol=1e-3)  # as predicted, under its old name
    assert (scans["predicted_age_site"] != scans["predicted_age"]).all()
    metrics = table(tmp_path, "metrics")
    n = metrics[(metrics["metric"] == "mae") & (metrics["subset"] == "all")]
    assert dict(zip(n["prediction"], n["n_scans"], strict=True)) == {"raw": 40, "site": 34}
    gaps = table(tmp_path, "gaps").set_index(["correction", "subset"])
    assert {"raw", "applied", "kfold", "site"} == set(gaps.index.get_level_values(0))
    assert gaps.loc[("site", "group=control"), "mean_gap"] == pytest.approx(0, abs=0.5)
    assert gaps.loc[("site", "all"), "line_slope"] == sites.loc["B", "line_slope"]
    assert set(table(tmp_path, "gapmodel")["outcome"]) == {"gap_site"}
    left_out = table(tmp_path, "exclusions")
    assert (left_out["left_out_of"] == "calibrated results").sum() == 6
    phenotype = read_tsv(tmp_path / "phenotype" / "brainage.tsv")
    np.testing.assert_allclose(phenotype["predicted_age"], scans["predicted_age"])
    for path in tmp_path.glob("group_*.tsv"):
        suffix = path.stem.rsplit("_", 1)[1]
        assert undescribed(suffix, list(read_tsv(path).columns)) == [], path.name
    sidecar = json.loads((tmp_path / "group_desc-sfcn2mm_metrics.json").read_text())
    assert any("calibrated" in sentence for sentence in sidecar["Notes"])


def test_too_few_controls_stop_the_run_and_write_nothing(tmp_path, few_resamples, capsys):
    finished(tmp_path, 12)
    assert group(tmp_path, "--bias-correction", "reference:all") == 65
    said = capsys.readouterr().err
    assert "no site can be calibrated" in said
    assert "--site-column" in said
    assert not list(tmp_path.glob("group_*"))
