"""Groups of regions at the group level: occluded as one, or means that say so."""

from __future__ import annotations

import pandas as pd
import pytest

from bidsapp_brainage.catalogue.lookup import OUTPUTS
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.outputs import ALL_REGIONS
from bidsapp_brainage.io import read_tsv
from tests.group.derivatives import GROUP_EFFECT, write_derivatives


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 99)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 49)


def summarise(root):
    (model,) = collect(root).models
    return analyses.summarise(model, read_tsv(root / "participants.tsv"), seed=1)


def pooled(root, kind):
    return pd.concat(
        read_tsv(path).assign(person=path.name.split("_")[0])
        for path in sorted(root.rglob(f"sub-*_{kind}.tsv"))
    )


def about(got, topic):
    return " ".join(note.sentence for note in got.notes if note.topic == topic)


def test_a_network_is_what_was_occluded_as_one(tmp_path):
    write_derivatives(tmp_path, n_participants=8, sessions=("1", "2"), maps=False)
    got = summarise(tmp_path)
    (tables,) = got.atlas_tables
    groups = pooled(tmp_path, "occlusiongroups").query("level == 'network'")
    wanted = groups.groupby(["name", "person"])["delta_age"].mean().groupby("name").mean()
    stats = tables["occlusionstats"].set_index(["level", "name"])
    for name, value in wanted.items():
        whole, mean = (stats.loc[(level, name)] for level in ("network", "network_mean"))
        assert whole["mean_delta_age"] == pytest.approx(value, abs=1e-4)
        assert abs(whole["mean_delta_age"] - mean["mean_delta_age"]) > GROUP_EFFECT / 2
        assert whole["mean_nosa_importance"] > 0
    regions = pooled(tmp_path, "occlusion").query("n_voxels > 0 and network == 'Visual'")
    weights = regions["volume_mm3"]
    mean = (regions["delta_age"] * weights).sum() / weights.sum()
    assert stats.loc[("network_mean", "Visual"), "mean_delta_age"] == pytest.approx(mean, abs=1e-4)
    ages = tables["agegroups"]
    assert ages.loc[ages["level"] == "network", "mean_delta_age"].mean() > GROUP_EFFECT / 2
    for kind in ("agegroups", "occlusionreliability"):
        assert set(tables[kind]["level"]) == {"region", "network", "hemisphere"}, kind
    assert "by itself" not in about(got, "occlusionstats")


def test_older_derivatives_fall_back_to_means_that_say_so(tmp_path):
    write_derivatives(tmp_path, n_participants=8, maps=False, groups=False)
    got = summarise(tmp_path)
    (tables,) = got.atlas_tables
    levels = {"region", "network_mean", "hemisphere_mean"}
    for kind in ("occlusionstats", "agegroups"):
        assert set(tables[kind]["level"]) == levels, kind
    assert "network_mean, hemisphere_mean are means over their regions" in about(
        got, "occlusionstats"
    )


def test_scans_without_groups_are_missing_and_not_mixed_in(tmp_path):
    write_derivatives(tmp_path, n_participants=8, maps=False)
    next(tmp_path.rglob("sub-03_*_occlusiongroups.tsv")).unlink()
    got = summarise(tmp_path)
    stats = got.atlas_tables[0]["occlusionstats"].set_index(["level", "name"])
    assert stats.loc[("network", "Visual"), "n_participants"] == 7
    assert stats.loc[("network_mean", "Visual"), "n_participants"] == 8
    assert "1 scan has no table of groups" in about(got, "occlusionstats")


def test_analyses_make_what_they_promise_and_nothing_twice(tmp_path):
    promised = [key for entry in analyses.ANALYSES for key in entry.outputs]
    cards = {card.key for card in OUTPUTS if card.level == "group" and card.is_table}
    assert sorted([*promised, analyses.NOTES, ALL_REGIONS]) == sorted(cards)
    write_derivatives(tmp_path, n_participants=6, sessions=("1", "2"), maps=False)
    got = summarise(tmp_path)
    made = {*got.tables, *got.atlas_tables[0]}
    assert made - {analyses.NOTES} <= set(promised)
    rows = got.tables[analyses.NOTES]
    assert set(rows["sentence"]) == {note.sentence for note in got.notes}


def test_estimates_that_turn_with_the_baseline_are_marked(tmp_path):
    turned = (1, 4)
    write_derivatives(tmp_path, n_participants=24, maps=False, turned=turned)
    (tables,) = summarise(tmp_path).atlas_tables
    means = tables["occlusionstats"].query("level == 'region' and n_participants > 0")
    assert means["baseline"].drop_duplicates().tolist() == ["background", "blur"]
    assert set(means.loc[~means["stable"].astype(bool), "index"]) == set(turned)
    assert (means.loc[means["index"].isin(turned), "p_stable"] == 1).all()
    for key in ("occlusionmodel", "lifespanstats"):
        of_regions = tables[key].query("level == 'region'")
        names = set(of_regions.loc[~of_regions["stable"].astype(bool), "name"])
        assert names == set(means.loc[means["index"].isin(turned), "name"]), key
        assert tables[key].query("level != 'region'")["stable"].isna().all()
    pairs = tables["asymmetry"]
    one_side_turned = pairs[pairs["index_left"].isin(turned) | pairs["index_right"].isin(turned)]
    assert len(one_side_turned) == len(turned)
    assert pairs.drop(one_side_turned.index)["stable"].all()
    assert tables["literature"]["n_stable"].isna().all()  # none of these regions is in a claim


def test_with_one_baseline_no_estimate_is_called_stable(tmp_path):
    write_derivatives(tmp_path, n_participants=24, maps=False)
    (tables,) = summarise(tmp_path).atlas_tables
    for key in ("occlusionstats", "occlusionmodel", "lifespanstats", "asymmetry"):
        assert tables[key]["stable"].isna().all(), key
