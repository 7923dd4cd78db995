"""ComBat: the numbers of the reference implementation, planted effects, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from bidsapp_brainage.stats.correction.combat import share_of_sites, site_effects


def cohort(n=240, n_measures=40, seed=0):
    """Values with effects of age and of sites, sites and covariates."""
    rng = np.random.default_rng(seed)
    sites = np.array(["A", "B", "C"])[np.arange(n) % 3]
    x = np.column_stack([rng.uniform(20, 80, n), rng.integers(0, 2, n)]).astype(float)
    slopes = rng.normal(0, 0.03, n_measures)
    values = x[:, :1] * slopes + rng.normal(0, 1, (n, n_measures))
    values[sites == "B"] = 1.5 * values[sites == "B"] + 1
    return values, sites, x, slopes


def test_the_numbers_are_those_of_neuroharmonize():
    """neuroHarmonize 2.5.2: harmonizationLearn on the first twenty, harmonizationApply to all."""
    row, column = np.mgrid[:24, :4]
    values = np.sin(row * 1.7 + column * 2.3) + row / 10
    sites = np.array(["A", "B"])[np.arange(24) % 3 // 2]
    values[sites == "B"] *= 2
    x = np.column_stack([(np.arange(24.0) * 7) % 11, np.arange(24) % 5 % 2])
    found = site_effects(values[:20], sites[:20], x[:20]).removed(values, sites, x)
    expected = np.array(EXPECTED)
    np.testing.assert_allclose(found[[0, 2, 23]], expected, atol=2e-3)


EXPECTED = [
    [0.1071, 1.0963, -0.8017, 0.6886],
    [-0.1574, -0.7396, 1.5441, -0.8785],
    [4.8738, 2.4522, 2.8934, 4.6279],
]


@pytest.mark.parametrize("scales", [True, False])
def test_planted_effects_of_sites_go_and_that_of_age_stays(scales):
    values, sites, x, slopes = cohort()
    found = site_effects(values, sites, x, scales=scales).removed(values, sites, x)
    before, after = (share_of_sites(part, sites, x).mean() for part in (values, found))
    assert before > 0.1
    assert after < 0.02
    of_age = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), found)[0][1]
    assert np.polyfit(slopes, of_age, 1)[0] == pytest.approx(7 / 6, abs=0.1)  # a third has 1.5
    ratio = found[sites == "B"].std(axis=0) / found[sites == "A"].std(axis=0)
    assert np.median(ratio) == pytest.approx(1 if scales else 1.5, abs=0.12)


def test_people_who_were_not_fitted_on_keep_what_is_theirs():
    """Patients are 2 SD of their site lower; effects are fitted on the others."""
    values, sites, x, _ = cohort()
    patient = np.arange(len(values)) % 4 == 0
    without = values.copy()
    values[patient] -= np.where(sites == "B", 3, 2)[patient, None]
    effects = site_effects(values[~patient], sites[~patient], x[~patient])
    found, expected = (effects.removed(part, sites, x) for part in (values, without))
    together = np.sqrt((1 + 1 + 1.5**2) / 3)
    for name in "ABC":
        lost = (expected - found)[patient & (sites == name)].mean()
        assert lost == pytest.approx(2 * together, abs=0.2)
    alone = effects.removed(values[patient], sites[patient], x[patient])
    np.testing.assert_allclose(alone, found[patient])


def test_small_sites_are_shrunk_towards_what_they_do_to_all_measures():
    values, sites, x, _ = cohort()
    few = (sites != "B") | (np.arange(len(sites)) < 12)  # four people
    widths = []
    for rows in (few, np.ones(len(sites), bool)):
        alone, shrunk = (
            site_effects(values[rows], sites[rows], x[rows], pooled=pooled).shift[1].std()
            for pooled in (False, True)
        )
        widths.append(shrunk / alone)
    assert widths[0] < widths[1] < 1


def test_one_measure_has_the_level_and_spread_of_its_site():
    values, sites, x, _ = cohort(n_measures=1)
    effects = site_effects(values, sites, x)
    rest = effects.standardised(effects.removed(values, sites, x), x)
    for name in "ABC":
        assert rest[sites == name].mean() == pytest.approx(0, abs=1e-9)
        assert rest[sites == name].std(ddof=1) == pytest.approx(1)


def test_sites_that_nobody_was_fitted_on_have_no_values():
    values, sites, x, _ = cohort()
    effects = site_effects(values, sites, x)
    found = effects.removed(values[:3], np.array(["A", "Z", ""]), x[:3])
    assert np.isnan(found[1:]).all() and np.isfinite(found[0]).all()


def test_a_site_of_one_sex_each_cannot_be_told_from_sex():
    values, sites, x, _ = cohort()
    x[:, 1] = sites == "B"
    with pytest.raises(ValueError, match="told apart"):
        site_effects(values, sites, x)
