"""A simulated cohort with planted effects, from derivatives to tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.bids.names import parse_name
from bidsapp_brainage.demo.study import Study
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.group import analyses, repeats
from bidsapp_brainage.group.regional import literature
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.running.group import run_group
from bidsapp_brainage.settings import GroupLevel, Processing, Settings
from tests.group.derivatives import write_derivatives


@pytest.fixture(scope="module", autouse=True)
def no_page():
    """The page has tests of its own; here are the tables."""
    with pytest.MonkeyPatch.context() as patch:
        page = "bidsapp_brainage.reports.group.page.write_group_report"
        patch.setattr(page, lambda root, *_, **__: root)
        yield


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    Study(root, seed=1).add(1, 80)
    chosen = GroupLevel("diagnosis", "control", "site", covariates=("snr",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyses, "N_BOOT", 99)
        patch.setattr(analyses, "N_PERMUTATIONS", 199)
        assert run_group(Settings(root / "raw", root, ("group",), group=chosen)) == 0
    return root


def table(root, kind):
    (path,) = root.glob(f"group_*_{kind}.tsv")
    return read_tsv(path)


def test_every_column_is_explained(cohort):
    names = sorted(path.name for path in cohort.glob("group_*.tsv"))
    assert len(names) == 23
    for name in names:
        columns = list(read_tsv(cohort / name).columns)
        assert undescribed(parse_name(cohort / name)["suffix"], columns) == [], name


def test_planted_effects_on_regions(cohort):
    """Limbic regions fall by 0.1 years in patients; the default network by 0.06 per decade."""
    got = table(cohort, "occlusionmodel")
    limbic = got[(got["level"] == "lobe") & (got["name"] == "Limbic")].set_index("term")
    assert (
        limbic.loc["group_patient", "ci95_lower"] < -0.1 < limbic.loc["group_patient", "ci95_upper"]
    )
    assert limbic.loc["group_patient", "p_maxt"] <= 0.05
    assert limbic.loc["group_patient", "hedges_g"] < -0.5
    default = got[(got["level"] == "network") & (got["name"] == "Default")].set_index("term")
    assert default.loc["age", "estimate"] == pytest.approx(-0.06, abs=0.02)
    assert default.loc["age", "q"] < 0.001
    regions = got[(got["level"] == "region") & (got["term"] == "sex_M")]
    regions = (
        regions if len(regions) else got[(got["level"] == "region") & (got["term"] == "sex_F")]
    )
    assert (regions["p_maxt"] < 0.05).sum() == 0
    assert regions["formula"].str.contains("snr").all()
    assert regions["formula"].str.endswith("+ site").all()


def test_planted_gap(cohort):
    """Patients look three years older; the raw gap falls by 0.25 years per year."""
    gaps = table(cohort, "gaps").set_index(["correction", "subset"])
    assert gaps.loc[("raw", "all"), "age_slope"] == pytest.approx(-0.25, abs=0.08)
    assert gaps.loc[("applied", "all"), "line_slope"] == pytest.approx(0.75, abs=1e-3)
    kfold = gaps.loc[("kfold", "group=control")]
    assert kfold["mean_gap"] == pytest.approx(0, abs=0.5)
    assert "below 100" in kfold["warning"]
    assert gaps.loc[("kfold", "group=patient"), "mean_gap"] == pytest.approx(3, abs=2.5)
    model = table(cohort, "gapmodel").set_index("term")
    assert model.loc["group_patient", "ci95_lower"] < 3 < model.loc["group_patient", "ci95_upper"]
    assert {"sex", "site", "group", "gap_kfold"} <= set(table(cohort, "brainage").columns)


def test_other_tables_of_the_cohort(cohort):
    curves = table(cohort, "lifespanstats").set_index(["level", "name"])
    assert curves.loc[("network", "Default"), "q_age"] < 0.001
    assert set(table(cohort, "agegroups")["age_group"]) <= {
        *("8-20", "20-30", "30-40", "40-50", "50-60", "60-70", "70-80"),
    }
    stable = table(cohort, "stability").set_index(["level", "measure"])["value"]
    assert stable["region", "split_half_spearman"] > 0.9
    changed = table(cohort, "sensitivity").set_index(["analysis", "measure"])["value"]
    assert changed["baseline=mean", "spearman"] > 0.9
    assert changed["unflagged", "spearman"] > 0.9
    assert ("unflagged", "mae") in changed.index
    assert changed["ensemble_members", "relative_sd_of_members"] > 0
    agreement = table(cohort, "agreementstats").set_index("measure")
    assert 0.6 < agreement.loc["spearman", "mean"] < 0.9
    people = table(cohort, "sample").set_index("subset")
    assert people.loc["group=control", "n_participants"] > 40
    stats_table = table(cohort, "occlusionstats")
    assert set(stats_table["baseline"]) == {"background", "mean"}
    main = stats_table[
        (stats_table["level"] == "region") & (stats_table["baseline"] == "background")
    ]
    assert (main["rank_ci95_lower"] <= main["rank"]).mean() > 0.9
    assert (main["p_null_maxt"] <= 0.05).sum() > 20
    claims = table(cohort, "literature")
    assert set(claims["verdict"]) <= {"agrees", "partly", "differs", "cannot tell"}
    assert "leakage" not in set(table(cohort, "notes")["topic"])


def test_an_unknown_group_column_stops_with_a_remedy(cohort):
    chosen = GroupLevel(group_column="diagnose")
    with pytest.raises(UsageError, match="Did you mean 'diagnosis'"):
        run_group(Settings(cohort / "raw", cohort, ("group",), group=chosen))


def test_tables_that_the_sample_no_longer_supports_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 49)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)
    write_derivatives(tmp_path, n_participants=6, sessions=("1", "2"), maps=False)
    run_group(Settings(tmp_path / "raw", tmp_path, ("group",)))
    reliable = table(tmp_path, "reliability").set_index("measure")
    assert reliable.loc["gap", "n_sessions"] == 2
    assert reliable.loc["predicted_age", "years_between_mean"] == pytest.approx(2)
    assert np.isfinite(reliable.loc["predicted_age", "icc31"])
    assert len(table(tmp_path, "change")) == 6
    assert len(table(tmp_path, "occlusionreliability")) > 6
    for path in tmp_path.glob("sub-*/ses-2"):
        for name in path.rglob("*_brainage.tsv"):
            name.unlink()
    run_group(Settings(tmp_path / "raw", tmp_path, ("group",)))
    assert not list(tmp_path.glob("group_*_reliability.*"))
    assert "one scan" in " ".join(table(tmp_path, "notes")["sentence"])


@pytest.mark.parametrize("n", [1, 2, 4])
def test_tiny_samples_have_small_tables_and_reasons(tmp_path, monkeypatch, n):
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)
    write_derivatives(tmp_path, n_participants=n, maps=False)
    assert run_group(Settings(tmp_path / "raw", tmp_path, ("group",))) == 0
    kinds = {path.stem.rsplit("_", 1)[1] for path in tmp_path.glob("group_*.tsv")}
    assert not kinds & {"gapmodel", "occlusionmodel", "lifespan", "stability", "reliability"}
    topics = set(table(tmp_path, "notes")["topic"])
    assert {"gaps", "lifespan", "stability", "reliability", "metrics"} <= topics


def test_a_line_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)
    write_derivatives(tmp_path, n_participants=6, maps=False)
    line = tmp_path / "line.json"
    line.write_text('{"slope": 0.6, "intercept": 20}')
    chosen = Processing(bias_correction=f"file:{line}")
    run_group(Settings(tmp_path / "raw", tmp_path, ("group",), processing=chosen))
    gaps = table(tmp_path, "gaps").set_index(["correction", "subset"])
    applied, given = (gaps.loc[(name, "all")] for name in ("applied", "file"))
    assert given["source"] == "line.json"
    assert given["mean_gap"] == pytest.approx(applied["mean_gap"] + 2, abs=0.01)
    assert gaps.loc[("file", "all"), "line_intercept"] == 20


def test_change_per_year_needs_time_between_scans():
    scans = pd.DataFrame(
        {
            "participant_id": ["sub-1"] * 2 + ["sub-2"] * 2,
            "scan": ["a", "b", "c", "d"],
            "chronological_age": [50, 52, 60, 60.1],
            "predicted_age": [50, 56, 60, 61],
            "gap": [0, 4, 0, 0.9],
        }
    )
    got = repeats.change_table(scans).set_index("participant_id")
    assert got.loc["sub-1", "predicted_age_per_year"] == pytest.approx(3)
    assert got.loc["sub-1", "gap_per_year"] == pytest.approx(2)
    assert np.isnan(got.loc["sub-2", "gap_per_year"])
    assert got.loc["sub-2", "predicted_age_change"] == pytest.approx(1)


def claims(strong, n_participants=30, stable=None):
    names = ["Left lateral ventricle", "Left hippocampus", "Left parahippocampal gyrus"]
    names += ["Left thalamus", "Left anterior cingulate cortex", "Left middle frontal gyrus"]
    names += [f"Other {i}" for i in range(14)]
    size = np.where(np.array(names) == strong, 9.0, np.arange(20) / 10)
    rows = pd.DataFrame(
        {
            "level": "region",
            "name": names,
            "n_participants": n_participants,
            "mean_delta_age": -size,
            "mean_nosa_importance": np.nan,
            "mean_delta_age_per_ml": size,
            "mean_z_null": size,
            "stable": stable,
        }
    )
    got = literature.literature_table(rows, None, None)
    return got[got["measure"] == "absolute mean contribution"].set_index(["study", "claim"])


def test_literature_by_fixed_rules():
    got = claims("Left hippocampus")
    key = (literature.BINTSI, "hippocampus among the most important")
    assert got.loc[key, "verdict"] == "agrees"
    assert got.loc[key, "best_rank"] == 1
    assert got.loc[key, "regions"] == "Left hippocampus"
    assert got.loc[(literature.HE, "thalamus among the most important"), "verdict"] == "differs"
    assert set(claims("none", n_participants=4)["verdict"]) == {"cannot tell"}


def test_structures_whose_sign_depends_on_the_baseline_tell_nothing_about_literature():
    name = "hippocampus among the most important"
    key = (literature.BINTSI, name)
    assert claims("Left hippocampus", stable=True).loc[key, ["n_stable", "verdict"]].tolist() == [
        1, "agrees",
    ]  # fmt: skip
    turned = claims("Left hippocampus", stable=False).loc[key]
    assert turned[["n_stable", "verdict"]].tolist() == [0, "cannot tell"]
    assert turned["best_rank"] == 1
    assert np.isnan(claims("Left hippocampus").loc[key, "n_stable"])


def test_shapes_and_hemispheres_of_the_literature():
    curves = pd.DataFrame(
        {
            "level": "network",
            "name": ["Frontoparietal", "Default"],
            "q_nonlinear": [0.01, 0.02],
            "shape": ["inverted_u", "u"],
        }
    )
    age = np.arange(20.0, 60)
    sides = pd.DataFrame({"age": age, "difference": age / 10})
    known = ("level", "name", "n_participants", "stable", *literature.MEASURES.values())
    empty = pd.DataFrame(columns=list(known))
    got = literature.literature_table(empty, curves, sides)
    assert got["verdict"].tolist() == ["agrees", "differs", "agrees"]
    assert got["value"].iloc[2] == pytest.approx(1)
    unsure = literature.literature_table(empty, curves.assign(q_nonlinear=0.3), sides.iloc[:9])
    assert set(unsure["verdict"]) == {"cannot tell"}
