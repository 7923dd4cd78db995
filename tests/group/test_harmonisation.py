"""Sites harmonised on their reference people, from finished participants to tables and page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.cli.run import main
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.regional.harmonisation import harmonise
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


def test_the_group_level_adds_columns_tables_and_a_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 49)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)
    monkeypatch.setattr(drawing, "DPI", 72)
    root = write_derivatives(tmp_path, n_participants=16, maps=False)
    people = read_tsv(root / "participants.tsv")
    people["diagnosis"] = np.where(np.arange(16) % 8 == 7, "patient", "control")
    write_tsv(root / "participants.tsv", people)
    command = [str(tmp_path / "raw"), str(root), "group", "--group-column", "diagnosis"]
    command += ["--reference-group", "control"]
    assert main([*command, "--harmonise", "combat"]) == 0
    table = read_tsv(root / "group_desc-sfcn2mm_brainage.tsv")
    assert table["gap_harmonised"].notna().all()
    assert not np.allclose(table["gap"], table["gap_harmonised"])
    rows = read_tsv(root / "group_desc-sfcn2mm_harmonisation.tsv")
    assert len(rows) == 2 * 3
    assert rows.loc[rows["site"] == "all", "n_reference"].tolist() == [14, 14]
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
