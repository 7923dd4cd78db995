"""Sites harmonised on their reference people, from finished participants to tables and page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.cli.run import main
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.regional.harmonisation import harmonise, volume_table
from bidsapp_brainage.group.regional.levels import Level
from bidsapp_brainage.io import read_tsv, write_tsv
from bidsapp_brainage.reports.figures import drawing
from tests.group.derivatives import write_derivatives

PAGE = "group_desc-sfcn2mm_brainage.html"


def sample(n=40, seed=0):
    """Scans at three sites; B adds eight years, and every fourth person is a patient (+ 3)."""
    rng = np.random.default_rng(seed)
    site = np.repeat(["A", "B", "C"], n)
    age = rng.uniform(20, 80, len(site))
    patient = np.arange(len(site)) % 4 == 0
    gap = 10 - 0.2 * age + rng.normal(0, 4, len(site)) + 8 * (site == "B") + 3 * patient
    names = [f"sub-{i:03d}" for i in range(len(site))]
    scans = pd.DataFrame({"participant_id": names, "scan": names, "site": site, "gap": gap})
    scans["chronological_age"] = age
    scans["sex"] = rng.choice(["F", "M"], len(site))
    scans["qc_flag"] = "pass"
    return scans, pd.Series(~patient)


def test_the_gap_loses_its_site_and_keeps_its_age():
    scans, reference = sample()
    got = harmonise(scans, reference, [], "offset")
    rows = got.table.set_index("site")
    assert rows.loc["B", "offset_before"] > 0.8
    assert rows.loc["B", "offset_after"] == 0
    assert rows.loc["all", "site_share_before"] > 0.3
    assert rows.loc["all", "site_share_after"] < 1e-6
    assert rows.loc["all", "age_slope_after"] == pytest.approx(
        rows.loc["all", "age_slope_before"], rel=1e-6
    )
    means = got.gap.groupby([scans["site"], reference]).mean().unstack()
    assert (means[False] - means[True]).mean() == pytest.approx(3, abs=1.5)
    assert len(got.notes) == 1


def test_what_is_not_known_is_said_and_has_no_values():
    scans, reference = sample()
    scans.loc[80:, "chronological_age"] = np.nan
    scans.loc[:1, "site"] = None
    scans.loc[2, "sex"] = None
    got = harmonise(scans, reference, [], "combat")
    assert got.gap.isna().tolist() == [i < 3 or i >= 80 for i in range(120)]
    row = got.table.set_index("site").loc["C"]
    assert row["harmonised"] == "false"
    assert "0 reference people" in row["remark"]
    assert any("Site C is not harmonised" in note.sentence for note in got.notes)


def test_sites_that_cannot_be_told_from_age_or_are_alone_are_refused_or_doubted():
    scans, reference = sample()
    with pytest.raises(DataError, match="site_column"):
        harmonise(scans[:40], reference[:40], [], "combat")
    only_b = reference & (scans["site"] == "B")
    with pytest.raises(DataError, match="fewer than two sites"):
        harmonise(scans, only_b, [], "combat")
    with pytest.raises(DataError, match="cannot be told"):
        harmonise(
            scans.assign(sex=np.where(scans["site"] == "B", "F", "M")), reference, [], "combat"
        )
    older = scans.assign(chronological_age=scans["chronological_age"] + 70 * (scans["site"] == "C"))
    words = [note.sentence for note in harmonise(older, reference, [], "combat").notes]
    assert any("Site C" in sentence and "may be age" in sentence for sentence in words)


def test_controls_of_one_sex_and_sites_without_contributions_are_no_obstacle():
    scans, reference = sample()
    reference &= scans["sex"] == "F"
    matrix = pd.DataFrame(np.random.default_rng(1).normal(size=(120, 5)), index=scans["scan"])
    rows = matrix.rename(columns=lambda n: n + 1).stack().rename("delta_age").reset_index()
    rows = rows.set_axis(["scan", "index", "delta_age"], axis="columns")
    rows = rows[rows["scan"] < "sub-082"]
    labels = pd.DataFrame({"index": range(1, 6), "name": list("abcde")})
    level = Level("region", rows, matrix.rename(columns=lambda n: n + 1), labels)
    got = harmonise(scans, reference, [("Five", level)], "combat")
    assert got.gap.notna().all()
    table = got.table.set_index(["measure", "site"])["harmonised"]
    assert table["gap", "C"] == "true"
    assert table["contributions (Five)", "C"] == "false"
    assert list(got.contributions[0].index) == list(scans["scan"][:80])
    assert any("Site C, contributions" in note.sentence for note in got.notes)


def test_volumes_lose_the_scanner_and_keep_age_and_disease():
    """Site B measures a tenth more; a patient loses 2 mL of the first region."""
    scans, reference = sample()
    rng = np.random.default_rng(2)
    thalamus = 14 - 0.03 * scans["chronological_age"] - 2 * ~reference + rng.normal(0, 0.5, 120)
    volumes = pd.DataFrame({"scan": scans["scan"], "thalamus": thalamus})
    volumes["brain"] = 1300 - 2 * scans["chronological_age"] + rng.normal(0, 30, 120)
    volumes["ventricles"] = 20 + rng.normal(0, 3, 120)
    volumes.loc[scans["site"] == "B", ["thalamus", "brain", "ventricles"]] *= 1.1
    long = volumes.melt("scan", var_name="name", value_name="volume_ml")
    got = harmonise(scans, reference, [], "combat", long[long["scan"] != "sub-005"])
    row = got.table.set_index(["measure", "site"]).loc[("volumes", "all")]
    assert row["n_measures"] == 3
    assert row["site_share_before"] > 0.3
    assert row["site_share_after"] < 0.1 * row["site_share_before"]
    assert row["age_slope_after"] == pytest.approx(row["age_slope_before"], rel=0.1)
    assert "sub-005" not in got.volumes.index
    now = got.volumes["thalamus"].set_axis(scans["scan"].drop(5).index)
    means = now.groupby([scans["site"], reference]).mean().unstack()
    assert (means[False] - means[True]).mean() == pytest.approx(-2, abs=0.4)
    table = volume_table(long, got.volumes, scans).set_index(["scan", "name"])
    assert len(table) == 3 * 119
    one = table.loc[("sub-041", "brain")]
    assert one["volume_ml"] == volumes.loc[41, "brain"]
    assert one["volume_ml_harmonised"] == got.volumes.loc["sub-041", "brain"] < one["volume_ml"]


def _write_volumes(root):
    """Volumes of 16 people, larger at the second site."""
    rng = np.random.default_rng(0)
    kinds = {"Thalamus_L": "region", "Thalamus_R": "region", "brain": "total", "GM": "total"}
    for person in range(1, 17):
        sizes = np.round(np.array([7, 7, 1300, 700]) * rng.normal(1, 0.05, 4), 2)
        sizes *= 1 if person < 7 else 1.1
        sizes[0] = 7.3 if person == 3 else sizes[0]
        rows = pd.DataFrame({"name": kinds.keys(), "kind": kinds.values(), "volume_ml": sizes})
        rows = rows.assign(index=[60, 59, None, None], hemisphere=["L", "R", None, None])
        rows = rows.reindex(columns=columns_of("volumes"))
        write_tsv(root / f"sub-{person:02d}/anat/sub-{person:02d}_volumes.tsv", rows)


def test_the_group_level_adds_columns_tables_and_a_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 49)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)
    monkeypatch.setattr(drawing, "DPI", 72)
    root = write_derivatives(tmp_path, n_participants=16, maps=False)
    people = read_tsv(root / "participants.tsv")
    people["diagnosis"] = np.where(np.arange(16) % 8 == 7, "patient", "control")
    write_tsv(root / "participants.tsv", people)
    _write_volumes(root)
    command = [str(tmp_path / "raw"), str(root), "group", "--group-column", "diagnosis"]
    command += ["--reference-group", "control"]
    assert main([*command, "--harmonise", "combat"]) == 0
    table = read_tsv(root / "group_desc-sfcn2mm_brainage.tsv")
    assert table["gap_harmonised"].notna().all()
    assert not np.allclose(table["gap"], table["gap_harmonised"])
    rows = read_tsv(root / "group_desc-sfcn2mm_harmonisation.tsv")
    assert rows["measure"].drop_duplicates().tolist()[-1] == "volumes"
    assert len(rows) == 3 * 3
    assert rows.loc[rows["site"] == "all", "n_reference"].tolist() == [14, 14, 14]
    volumes = read_tsv(root / "group_desc-sfcn2mm_harmonisedvolumes.tsv")
    assert volumes.groupby("name")["scan"].nunique().tolist() == [16] * 4
    assert undescribed("harmonisedvolumes", list(volumes)) == []
    own = volumes[(volumes["scan"] == "sub-03") & (volumes["name"] == "Thalamus_L")].iloc[0]
    assert (own["participant_id"], own["hemisphere"], own["volume_ml"]) == ("sub-03", "L", 7.3)
    assert not np.allclose(volumes["volume_ml"], volumes["volume_ml_harmonised"])
    (path,) = root.glob("group_atlas-*_harmonised.tsv")
    long = read_tsv(path)
    assert len(long) == 16 * 11  # one region of twelve is empty
    raw = read_tsv(next(root.glob("group_atlas-*_occlusion.tsv")))
    both = long.merge(raw, on=["scan", "index"])
    np.testing.assert_allclose(both["delta_age_x"], both["delta_age_y"])
    assert "harmonised" in set(read_tsv(root / "group_desc-sfcn2mm_gaps.tsv")["correction"])
    assert undescribed("brainage", list(table)) == []
    assert undescribed("harmonisation", list(rows)) == undescribed("harmonised", list(long)) == []
    assert "Sites, before and after harmonising" in (root / PAGE).read_text("utf-8")
    assert main(command) == 0
    assert not list(root.glob("group_*harmonis*.tsv"))
    assert "gap_harmonised" not in read_tsv(root / "group_desc-sfcn2mm_brainage.tsv")
