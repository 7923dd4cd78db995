"""Linear models: errors against their formula, planted effects, terms given up by small samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.stats.meta_analysis import effectsize_smd

from bidsapp_brainage.stats import linear
from bidsapp_brainage.stats.design import POOLED, make_design


def cohort(n, seed=0, n_sites=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.uniform(20, 80, n),
            "sex": rng.choice(["F", "M"], n),
            "group": rng.choice(["control", "patient"], n, p=[0.6, 0.4]),
            "brain_volume": rng.normal(1400, 100, n),
            "quality": rng.normal(3, 0.4, n),
            "site": np.arange(n) % n_sites,
        },
        index=[f"sub-{i}" for i in range(n)],
    )


def test_hc3_by_its_formula():
    """MacKinnon and White (1985): residuals over one minus leverage."""
    people = cohort(60)
    design, notes = make_design(people, reference="control")
    assert notes == []
    assert design.formula == "age + age_squared + sex_F + group_patient + quality + brain_volume"
    outcome = pd.Series(np.random.default_rng(1).normal(0, people["age"] / 20), people.index)
    x = design.matrix(people.index).to_numpy()
    bread = np.linalg.inv(x.T @ x)
    residual = outcome - x @ (bread @ x.T @ outcome)
    leverage = np.einsum("ij,jk,ik->i", x, bread, x)
    meat = (x * ((residual / (1 - leverage)) ** 2).to_numpy()[:, None]).T @ x
    expected = np.sqrt(np.diag(bread @ meat @ bread))[1:]
    got = linear.fit(outcome, design)
    np.testing.assert_allclose(got["se"], expected, rtol=1e-8)
    assert set(got["method"]) == {"OLS_HC3"}
    assert (got["df"] == 60 - 7).all()


def test_planted_effects_are_recovered():
    people = cohort(600, seed=2)
    decades = (people["age"] - people["age"].mean()) / 10
    noise = np.random.default_rng(3).normal(0, 1, 600)
    outcome = -0.5 * decades + 0.1 * decades**2 + 0.8 * (people["group"] == "patient") + noise
    design, _ = make_design(people, reference="control")
    got = linear.fit(outcome, design).set_index("term")
    for term, truth in (("age", -0.5), ("age_squared", 0.1), ("group_patient", 0.8)):
        assert got.loc[term, "ci95_lower"] < truth < got.loc[term, "ci95_upper"]
        assert got.loc[term, "p"] < 0.001
    for term in ("sex_M", "brain_volume", "quality"):
        name = term if term in got.index else "sex_F"
        assert got.loc[name, "p"] > 0.01


def test_false_positives_at_the_nominal_rate_with_unequal_variances():
    rng = np.random.default_rng(4)
    positive = 0
    for seed in range(300):
        people = cohort(60, seed)[["age", "group"]]
        design, _ = make_design(people, reference="control")
        outcome = pd.Series(rng.normal(0, people["age"] / 30), people.index)
        found = linear.fit(outcome, design).set_index("term")
        positive += found.loc["group_patient", "p"] < 0.05
    assert 5 <= positive <= 27


def test_hedges_g_of_a_textbook():
    """Borenstein et al. (2009), Introduction to Meta-Analysis, chapter 4: g 0.5924, V 0.0411."""

    def sample(mean, sd, n):
        values = np.random.default_rng(5).normal(0, 1, n)
        return mean + sd * (values - values.mean()) / values.std(ddof=1)

    values = np.concatenate([sample(103, 5.5, 50), sample(100, 4.5, 50)])
    index = [f"sub-{i}" for i in range(100)]
    people = pd.DataFrame({"group": np.repeat(["treated", "control"], 50)}, index=index)
    design, _ = make_design(people, reference="control")
    row = linear.fit(pd.Series(values, index), design).iloc[0]
    assert row["hedges_g"] == pytest.approx(0.5924, abs=0.0005)
    half = (row["hedges_g_ci95_upper"] - row["hedges_g_ci95_lower"]) / 2
    # The book multiplies the variance by J squared, statsmodels does not.
    assert half == pytest.approx(1.96 * np.sqrt(0.0411) / 0.9923, abs=0.001)
    assert row["estimate"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("n", "formula"),
    [
        (40, "age + age_squared + sex_M + quality + brain_volume"),
        (22, "age + age_squared + sex_M"),
        (17, "age + sex_M"),
        (11, "age"),
        (9, None),
    ],
)
def test_small_samples_have_smaller_models_and_say_so(n, formula):
    people = cohort(n).drop(columns=["group", "site"])
    people["sex"] = np.where(np.arange(n) % 3, "F", "M")
    design, notes = make_design(people)
    assert (design.formula if design else None) == formula
    assert bool(notes) == (n < 40)


def test_sites_are_fixed_if_few_random_if_many_and_pooled_if_small():
    people = cohort(90, n_sites=3)
    design, _ = make_design(people)
    assert design.formula.endswith("+ site")
    assert "site_2" in design.matrix(people.index)
    rng = np.random.default_rng(6)
    people = cohort(240, n_sites=8)
    design, _ = make_design(people)
    assert design.mixed
    offsets = rng.normal(0, 5, 8)[people["site"]]
    outcome = pd.Series(people["age"] / 10 + offsets + rng.normal(0, 1, 240), people.index)
    got = linear.fit(outcome, design).set_index("term")
    assert set(got["method"]) == {"mixed_site"}
    assert got.loc["age", "estimate"] == pytest.approx(1, abs=0.15)
    small = cohort(60)
    small["site"] = ["A"] * 40 + ["B"] * 4 + ["C"] * 16
    design, notes = make_design(small)
    assert set(design.sites) == {"A", "C", POOLED}
    assert any("pooled" in note for note in notes)


def test_what_is_missing_constant_or_redundant_is_said():
    people = cohort(80).assign(dose=1.0, twin=lambda table: table["age"] * 2)
    people.loc[people.index[:30], "quality"] = np.nan
    people.loc[people.index[:5], "brain_volume"] = np.nan
    design, notes = make_design(people, covariates=["dose", "twin"])
    text = " ".join(notes)
    assert "quality is unknown for 38%" in text
    assert "dose does not vary" in text
    assert "who lack a covariate and are not in the linear models: 5." in text
    assert "twin is a combination" in text
    assert "quality" not in design.terms
    assert len(design.terms) == 75


def test_requested_terms_are_not_given_up():
    people = cohort(12)[["group"]].assign(centre=[*"abcdefghijkl"])
    design, notes = make_design(people, covariates=["centre"])
    assert design is None
    assert "No linear models" in notes[-1]


def test_max_t_over_regions_finds_the_planted_one():
    people = cohort(80, n_sites=2)
    outcomes = pd.DataFrame(np.random.default_rng(7).normal(0, 1, (80, 30)), people.index)
    outcomes[4] += 2.0 * (people["group"] == "patient")
    outcomes.loc[people.index[0], 9] = np.nan
    design, _ = make_design(people, reference="control")
    halves = [outcomes, outcomes.iloc[:, :2]]
    got, of_few = linear.max_t(halves, design, n_permutations=199)
    alone = linear.max_t(halves[1:], design, n_permutations=199)[0]
    pd.testing.assert_frame_equal(of_few, alone)
    assert got.loc[4, "group_patient"] <= 0.05
    assert (got["group_patient"].drop(index=[4, 9]) > 0.05).all()
    assert np.isnan(got.loc[9, "group_patient"])


def test_an_outcome_of_too_few_people_has_no_rows():
    people = cohort(60)
    design, _ = make_design(people)
    sparse = pd.Series(np.arange(60.0), people.index).where(np.arange(60) < 10)
    assert linear.fit(sparse, design).empty
    assert linear.fit(pd.Series(1.0, people.index), design).empty


def test_many_outcomes_at_once_have_the_numbers_of_statsmodels():
    """Every column of the table, also of outcomes that some people lack."""
    people = cohort(70, n_sites=3)
    outcomes = pd.DataFrame(np.random.default_rng(8).normal(0, 1, (70, 4)), people.index)
    outcomes.loc[people.index[:5], 1] = np.nan
    outcomes[3] = 2.0  # does not vary: no rows
    design, _ = make_design(people, reference="control")
    got = linear.fit_each(outcomes, design)
    assert list(got["place"].unique()) == [0, 1, 2]
    for place, rows in got.groupby("place"):
        values = outcomes[place].dropna()
        theirs = sm.OLS(values, design.matrix(values.index)).fit(cov_type="HC3", use_t=True)
        names = rows["term"].tolist()
        assert names == list(design.terms)
        bounds = theirs.conf_int(0.05).loc[names]
        expected = {"estimate": theirs.params, "se": theirs.bse, "statistic": theirs.tvalues}
        expected |= {"p": theirs.pvalues, "ci95_lower": bounds[0], "ci95_upper": bounds[1]}
        for name, wanted in expected.items():
            np.testing.assert_allclose(rows[name], wanted[names], rtol=1e-9, atol=1e-12)
        assert set(rows["df"]) == {theirs.df_resid}
        of_group = rows.set_index("term").loc["group_patient"]
        is_patient = people.loc[values.index, "group"] == "patient"
        facts = values[is_patient].agg(["mean", "std", "count"])
        others = values[~is_patient].agg(["mean", "std", "count"])
        g, variance = effectsize_smd(*facts, *others)
        assert of_group["hedges_g"] == pytest.approx(g)
        assert of_group["hedges_g_ci95_upper"] == pytest.approx(g + 1.959964 * np.sqrt(variance))


def test_contrasts_and_joint_tests_are_those_of_statsmodels():
    rng = np.random.default_rng(9)
    matrix = np.column_stack([np.ones(50), rng.normal(0, 1, (50, 3))])
    outcomes = matrix @ rng.normal(0, 1, (4, 2)) + rng.normal(0, 1, (50, 2))
    ours = linear.least_squares(matrix, outcomes)
    contrast = np.array([0.0, 1, -1, 0])
    f, p = ours.joint([1, 3])
    for number, values in enumerate(outcomes.T):
        theirs = sm.OLS(values, matrix).fit(cov_type="HC3", use_t=True)
        joint = theirs.f_test(np.eye(4)[[1, 3]])
        np.testing.assert_allclose([f[number], p[number]], [joint.fvalue, joint.pvalue], rtol=1e-9)
        tested = theirs.t_test(contrast)
        row = ours.contrast(contrast).iloc[number]
        np.testing.assert_allclose(row["se"], tested.sd.item(), rtol=1e-9)
        np.testing.assert_allclose(row["p"], tested.pvalue.item(), rtol=1e-9)
