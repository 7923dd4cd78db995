"""What He et al. report of ages, against samples in which it is so and in which it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.group.regional import literature
from bidsapp_brainage.group.regional.age_claims import age_claims
from bidsapp_brainage.group.regional.contributions import age_groups
from bidsapp_brainage.group.regional.levels import Level, scaled_importance

NAMES = ["Left thalamus", "Left middle frontal gyrus", "Left fusiform gyrus", "Left hippocampus",
         *(f"Other {i}" for i in range(14)), "Left frontal white matter", "empty"]  # fmt: skip
LOBES = {"Left middle frontal gyrus": "Frontal", "Left fusiform gyrus": "Temporal",
         "Left frontal white matter": "White matter"}  # fmt: skip
AGES = np.linspace(8, 80, 84)
PEOPLE = [f"sub-{n:02d}" for n in range(len(AGES))]
KNOWN = pd.Series(AGES, index=PEOPLE)


def level(name, matrix, importance=None):
    """A level with these contributions (people by regions or groups)."""
    key = "index" if name == "region" else "name"
    long = matrix.rename_axis(index="participant_id", columns=key).stack(future_stack=True)
    rows = long.rename("delta_age").reset_index()
    values = matrix.abs() if importance is None else importance
    rows["nosa_importance"] = values.stack(future_stack=True).to_numpy()
    rows = rows.assign(scan=rows["participant_id"], baseline="background")
    titles = NAMES[: matrix.shape[1]] if name == "region" else list(matrix.columns)
    lobes = [LOBES.get(title) for title in titles]
    return Level(name, rows, matrix, pd.DataFrame({"name": titles, "lobe": lobes}))


def region_level(*, temporal=1.0, frontal_young=9.0):
    """Thalamus always strong; frontal cortex in the young; temporal regions change with age."""
    rng = np.random.default_rng(1)
    values = 1 + 0.1 * rng.random((len(AGES), len(NAMES)))
    values[:, 0] = 8
    values[:, 1] = np.where(AGES < 20, frontal_young, 0.5)
    values[:, 2:4] = 1 + temporal * (AGES[:, None] - 44) / 80
    values[:, -2] = 20  # white matter is no frontal cortex
    values[:, -1] = np.nan
    return level("region", pd.DataFrame(-values, index=PEOPLE, columns=range(1, len(NAMES) + 1)))


def network_level(shape, name="network"):
    """Importance of the frontoparietal network over age, between two others that do not change."""
    rng = np.random.default_rng(2)
    middle = 1 - ((AGES - 44) / 36) ** 2
    values = {"inverted": middle, "u": 1 - middle, "none": np.full(len(AGES), 0.5)}[shape]
    noise = 0.02 * rng.standard_normal(len(AGES))
    table = pd.DataFrame(
        {"Visual": 0.0, "FrontoParietal": 4 * (0.1 + 0.8 * values + noise), "Limbic": 4.0},
        index=PEOPLE,
    )
    return level(name, -table, importance=table)


def found(levels, measure="absolute mean contribution"):
    rows = pd.DataFrame(
        age_claims({group.name.removesuffix("_mean"): group for group in levels}, KNOWN)
    )
    return rows[rows["measure"].str.contains(measure, regex=False)]


@pytest.mark.parametrize("measure", ["absolute mean contribution", "published NOSA importance"])
def test_structures_are_compared_within_the_age_groups(measure):
    rows = found([region_level()], measure)
    frontal = rows[rows["claim"].str.startswith("regions of the frontal")].set_index("age_group")
    assert frontal["verdict"].to_dict() == {
        "8-20": "agrees", "60-70": "differs", "70-80": "differs"
    }  # fmt: skip
    assert set(frontal["regions"]) == {"Left middle frontal gyrus"}
    thalamus = rows[rows["claim"].str.startswith("thalamus")]
    assert len(thalamus) == 7
    assert set(thalamus["verdict"]) == {"agrees"}
    assert thalamus["n_ranked"].eq(len(NAMES) - 1).all()


@pytest.mark.filterwarnings("error")
def test_regions_are_found_by_name_where_no_lobe_is_known():
    of_region = region_level()
    rows = found([replace(of_region, labels=of_region.labels.assign(lobe=np.nan))])
    frontal = rows[rows["claim"].str.startswith("regions of the frontal")]
    assert set(frontal["regions"]) == {"Left middle frontal gyrus"}


def test_signs_that_differ_in_an_age_group_tell_nothing_there():
    """With another baseline the frontal cortex of the young has the other sign."""
    of_region = region_level()
    other = of_region.matrix.copy()
    other.loc[KNOWN < 20, 2] *= -1
    rows = found([replace(of_region, others=(other,))])
    frontal = rows[rows["claim"].str.startswith("regions of the frontal")].set_index("age_group")
    assert frontal["n_stable"].to_dict() == {"8-20": 0, "60-70": 1, "70-80": 1}
    assert frontal.loc["8-20", "verdict"] == "cannot tell"
    assert frontal.loc["60-70", "verdict"] == "differs"


@pytest.mark.parametrize(("slope", "verdict"), [(1.0, "agrees"), (-1.0, "differs")])
def test_temporal_regions_over_age(slope, verdict):
    rows = found([region_level(temporal=slope)])
    (row,) = rows[rows["claim"].str.startswith("lateral and medial temporal")].to_dict("records")
    assert row["verdict"] == verdict
    assert np.sign(row["value"]) == slope
    assert row["regions"] == "Left fusiform gyrus; Left hippocampus"


@pytest.mark.parametrize(
    ("shape", "verdict"), [("inverted", "agrees"), ("u", "differs"), ("none", "cannot tell")]
)
def test_shape_of_networks_by_the_published_measure(shape, verdict):
    rows = found([region_level(), network_level(shape)], "p of curvature")
    (row,) = rows.to_dict("records")
    assert (row["regions"], row["verdict"]) == ("FrontoParietal", verdict)
    assert "mean over their regions" not in row["measure"]
    (row,) = found([region_level(), network_level(shape, "network_mean")], "curvature").to_dict(
        "records"
    )
    assert "mean over their regions" in row["measure"]


def test_few_people_tell_nothing():
    of_region = region_level()
    young = of_region.matrix[AGES < 15]
    few = Level("region", of_region.rows[of_region.rows["participant_id"].isin(young.index)], young,
                of_region.labels)  # fmt: skip
    rows = found([few])
    assert set(rows["verdict"]) == {"cannot tell"}
    assert set(rows["age_group"].dropna()) == {"8-20"}


def test_scaled_importance_runs_from_0_to_1_in_every_person():
    scaled = scaled_importance(network_level("none"))
    assert scaled["Visual"].eq(0).all()
    assert scaled["Limbic"].eq(1).all()
    assert scaled["FrontoParietal"].between(0.3, 0.7).all()
    flat = pd.DataFrame(1.0, index=PEOPLE[:2], columns=["a", "b"])
    assert scaled_importance(level("network", flat)).isna().all(axis=None)
    table = age_groups([network_level("inverted")], KNOWN).tables["agegroups"]
    middle = table[table["name"] == "FrontoParietal"].set_index("age_group")
    values = middle["mean_nosa_importance_scaled"]
    assert values["40-50"] == values.max()
    assert values["40-50"] > 0.8 > 0.5 > values["70-80"]


def test_studies_are_compared_by_their_own_method_where_it_was_used():
    """Relevance finds the fluid around the brain, learned noise the hippocampus."""
    names = ["Left sulcal cerebrospinal fluid", "Left hippocampus", *(f"o {i}" for i in range(18))]
    fluid = np.where(np.arange(20) == 0, 9.0, np.arange(20) / 20)
    common = {"name": names, "n_participants": 20, "age_group": "all"}
    opinions = pd.concat([
        pd.DataFrame({**common, "method": "lrp", "mean_importance": fluid}),
        pd.DataFrame({**common, "method": "lrp", "age_group": "20-30", "mean_importance": 1.0}),
        pd.DataFrame({**common, "method": "noise", "mean_importance_per_ml": np.roll(fluid, 1)}),
    ])  # fmt: skip
    empty = pd.DataFrame(columns=["level", "name", "n_participants", *literature.MEASURES.values()])
    got = literature.literature_table(empty, None, None, attributions=opinions)
    got = got.dropna(subset=["best_rank"]).set_index(["study", "claim"])
    assert (
        got.loc[(literature.HOFMANN, "subarachnoid spaces among the most important"), "verdict"]
        == "agrees"
    )
    assert (
        got.loc[(literature.HOFMANN, "hippocampus among the most important"), "verdict"]
        == "differs"
    )
    assert (
        got.loc[(literature.BINTSI, "hippocampus among the most important"), "verdict"] == "agrees"
    )
    assert set(got["measure"]) == {"mean relevance", "mean importance by learned noise, per mL"}
