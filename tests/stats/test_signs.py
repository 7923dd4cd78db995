"""Signs over baselines, and the verdict about them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bidsapp_brainage.catalogue.explanation_columns import NEGLIGIBLE_YEARS
from bidsapp_brainage.stats.regional.signs import (
    N_LEADING,
    conjunction,
    is_stable,
    same_sign,
    share_stable,
    signs,
    verdict,
)


def table(spread: float | None = 0.1, **baselines: list[float]) -> pd.DataFrame:
    """Contributions of regions 1, 2, ... by baseline, all with the same spread over members."""
    parts = [
        pd.DataFrame({"index": np.arange(1, len(values) + 1), "delta_age": values}).assign(
            baseline=name
        )
        for name, values in baselines.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows if spread is None else rows.assign(delta_age_sd_members=spread)


def test_a_sign_is_stable_where_all_baselines_agree_beyond_the_spread_of_the_members() -> None:
    found = signs(table(mean=[2.0, -1.0], blur=[0.3, -0.2], template=[1.0, -5.0]))
    assert found.to_dict() == {1: "stable", 2: "stable"}


def test_opposite_signs_that_are_certain_contradict_each_other() -> None:
    found = signs(table(mean=[2.0, -1.0], blur=[-0.3, 0.2]))
    assert found.to_dict() == {1: "opposite", 2: "opposite"}


def test_one_baseline_of_three_is_enough_to_contradict() -> None:
    assert signs(table(mean=[2.0], blur=[1.0], template=[-0.5])).to_dict() == {1: "opposite"}


@pytest.mark.parametrize("blur", [0.05, -0.05, 0.0])
def test_within_the_spread_of_the_members_a_sign_is_uncertain_and_contradicts_nothing(blur) -> None:
    assert signs(table(mean=[2.0], blur=[blur])).to_dict() == {1: "uncertain"}


def test_without_an_ensemble_only_the_sign_counts() -> None:
    rows = table(None, mean=[2.0, 2.0, 2.0], blur=[0.01, -0.01, 0.0])
    expected = {1: "stable", 2: "opposite", 3: "uncertain"}
    assert signs(rows).to_dict() == expected
    assert signs(rows.assign(delta_age_sd_members=np.nan)).to_dict() == expected


def test_negligible_contributions_never_contradict_but_may_agree() -> None:
    tiny = 0.9 * NEGLIGIBLE_YEARS
    rows = table(0.001, mean=[tiny, tiny, 2.0], blur=[-tiny, tiny, -tiny])
    assert signs(rows).to_dict() == {1: "negligible", 2: "stable", 3: "opposite"}


def test_with_one_baseline_or_an_empty_region_nothing_is_known() -> None:
    assert signs(table(mean=[2.0])).to_dict() == {1: None}
    rows = table(mean=[2.0, np.nan, 1.0], blur=[1.0, np.nan, np.nan])
    assert signs(rows).to_dict() == {1: "stable", 2: None, 3: None}


def test_the_column_has_three_values() -> None:
    words = pd.Series(["stable", "opposite", "uncertain", "negligible", None], index=range(1, 6))
    assert is_stable(words).tolist() == [True, False, False, None, None]


def test_the_verdict_is_about_the_leading_regions_of_the_first_baseline() -> None:
    few = 5
    size = np.linspace(9.0, 1.0, N_LEADING + few)
    other = np.where(np.arange(len(size)) < N_LEADING, -0.5, 0.5)
    said = verdict(table(mean=list(size), blur=list(other)))
    assert said.baselines == ("mean", "blur")
    assert said.n_leading == said.counts["opposite"] == N_LEADING
    assert (said.strongest, said.strongest_stable) == (1, N_LEADING + 1)
    turned = verdict(table(blur=list(other), mean=list(size)))
    assert turned.baselines == ("blur", "mean")
    assert turned.counts["stable"] < few + 1


def test_the_verdict_of_one_baseline_counts_nothing() -> None:
    said = verdict(table(mean=[1.0, -3.0]))
    assert (said.n_leading, said.strongest, said.strongest_stable) == (0, 2, None)


def test_the_verdict_of_an_empty_table_knows_nothing() -> None:
    said = verdict(table(mean=[1.0]).iloc[:0])
    assert (said.baselines, said.strongest, said.agreement) == ((), None, ())
    said = verdict(table(mean=[np.nan], blur=[np.nan]))
    assert (said.n_leading, said.strongest) == (0, None)


def test_the_verdict_reads_the_agreement_of_the_shown_explanation_only() -> None:
    pairs = pd.DataFrame(
        [
            ("occlusion_mean", "occlusion_blur", -0.1),
            ("lrp", "occlusion_mean", 0.8),
            ("occlusion_mean", "noise", np.nan),
            ("occlusion_blur", "lrp", 0.3),
        ],
        columns=["explanation_a", "explanation_b", "spearman"],
    )
    said = verdict(table(mean=[1.0], blur=[1.0]), pairs)
    assert said.agreement == (("occlusion_blur", -0.1), ("lrp", 0.8))


def test_people_count_once_and_only_where_their_sign_can_be_judged() -> None:
    scans = {
        ("sub-1", "sub-1_ses-1"): table(mean=[2.0, 2.0], blur=[1.0, np.nan]),
        ("sub-1", "sub-1_ses-2"): table(mean=[2.0, 2.0], blur=[-1.0, np.nan]),
        ("sub-2", "sub-2"): table(mean=[2.0, 0.01], blur=[1.0, -0.01]),
        ("sub-3", "sub-3"): table(mean=[2.0, 2.0], blur=[0.05, np.nan]),
    }
    rows = pd.concat(
        part.assign(participant_id=person, scan=scan) for (person, scan), part in scans.items()
    )
    share = share_stable(rows)
    assert share[1] == pytest.approx((0.5 + 1 + 0) / 3)
    assert np.isnan(share[2])


def test_one_sign_of_estimates() -> None:
    values = pd.DataFrame(
        {"mean": [1.0, 1.0, 0.0, 1.0, np.nan], "blur": [2.0, -2.0, 1.0, np.nan, np.nan]}
    )
    assert same_sign(values).tolist() == [True, False, False, None, None]


def test_the_test_of_a_common_sign_is_as_weak_as_its_weakest_baseline() -> None:
    means = pd.DataFrame({"mean": [1.0, 1.0, 1.0, 1.0], "blur": [2.0, -2.0, 1.0, np.nan]})
    p = pd.DataFrame({"mean": [0.01, 0.01, 0.01, 0.01], "blur": [0.04, 0.001, np.nan, np.nan]})
    np.testing.assert_array_equal(conjunction(means, p), [0.04, 1.0, np.nan, np.nan])


def test_the_test_of_a_common_sign_keeps_its_level_without_selection() -> None:
    """Where one baseline has no effect and the other a large one, p is as in a single test."""
    rng = np.random.default_rng(0)
    n_regions, n_people = 4000, 12
    people = rng.normal(size=(n_people, n_regions, 1))
    values = people + rng.normal([3.0, 0.0], 1.0, size=(n_people, n_regions, 2))
    test = stats.ttest_1samp(values, 0)
    means, p = (pd.DataFrame(part) for part in (values.mean(axis=0), test.pvalue))
    found = (conjunction(means, p) <= 0.05).mean()
    assert 0.01 < found < 0.05
