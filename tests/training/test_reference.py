"""What training people are like, and who is left out to find the limit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.training import reference


def people(n=120, seed=0, scanner="A"):
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 80, n)
    shared = rng.normal(size=n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{scanner}{i:03d}" for i in range(n)],
            "scanner": scanner,
            "predicted_age": age,
            "input_p50": 1 + 0.01 * age + 0.1 * shared,
            "input_p95": 2 + 0.1 * shared + 0.02 * rng.normal(size=n),
            "tissue_csf": -2 + 0.0002 * (age - 20) ** 2 + 0.1 * rng.normal(size=n),
        }
    )


def test_ledoit_wolf_is_that_of_scikit_learn():
    values = np.random.default_rng(0).normal(size=(30, 8)) @ np.diag(np.arange(1.0, 9.0))
    values -= values.mean(axis=0)
    expected, share = sklearn_ledoit_wolf(values, assume_centered=True)
    assert 0 < share < 1
    assert reference.ledoit_wolf(values) == pytest.approx(expected)


def test_few_of_new_people_lie_beyond_the_limit():
    card, left_out = reference.fit_reference(people(), "test")
    assert (left_out > 1).mean() <= reference.BEYOND
    new = reference.distances(people(4000, seed=1), card)
    assert 0.005 <= (new > 1).mean() <= 0.08


def test_age_alone_makes_nobody_unusual():
    card, _ = reference.fit_reference(people(), "test")
    new = people(4000, seed=1)
    far = reference.distances(new, card)
    assert abs(np.corrcoef(far, new.predicted_age)[0, 1]) < 0.1


@pytest.mark.parametrize("change", [{"input_p50": 5.0}, {"tissue_csf": -0.5}, {"input_p95": 1.5}])
def test_unusual_numbers_and_unusual_combinations_lie_beyond(change):
    """``input_p95`` of 1.5 is 5 SD; with ``input_p50`` as usual the combination is 20."""
    card, _ = reference.fit_reference(people(), "test")
    assert (reference.distances(people(50, seed=2).assign(**change), card) > 1.5).all()


def test_a_scanner_is_left_out_whole_unless_it_is_most_of_the_people():
    both = pd.concat([people(60), people(20, 1, "B")], ignore_index=True)
    parts = list(reference.left_out_parts(both, 40))
    tested = np.concatenate([test for _, test in parts])
    assert sorted(tested) == list(range(80))
    assert all(not set(fit) & set(test) for fit, test in parts)
    whole = [test for _, test in parts if set(both.scanner[test]) == {"B"}]
    assert len(whole) == 1
    assert len(parts) == 11


def test_features_of_an_encoder_become_few_axes():
    rng = np.random.default_rng(0)
    table = people()
    hidden = rng.normal(size=(len(table), 2))
    values = hidden @ rng.normal(size=(2, 30)) + 0.05 * rng.normal(size=(len(table), 30))
    named = {f"encoder_{i:03d}": values[:, i] for i in range(30)}
    card, _ = reference.fit_reference(table.assign(**named), "test")
    assert np.shape(card["encoder"]["components"]) == (6, 30)
    odd = table.head(5).assign(**{name: 3 * rng.normal(size=5) for name in named})
    assert (reference.distances(odd, card) > 2).all()


def test_too_few_people_and_no_features_are_refused():
    with pytest.raises(DataError, match="needs 20"):
        reference.fit_reference(people(19), "test")
    with pytest.raises(DataError, match="lack columns"):
        reference.fit_reference(people()[["participant_id", "scanner", "predicted_age"]], "test")


def test_volumes_of_the_same_scan_are_found(tmp_path):
    for scan, csf in (("sub-1_ses-1_run-1", 0.1), ("sub-1_ses-1_run-2", 0.3)):
        table = pd.DataFrame({"name": ["CSF"], "kind": ["total"], "fraction": [csf]})
        table.to_csv(tmp_path / f"{scan}_desc-x_volumes.tsv", sep="\t", index=False)
    image = tmp_path / "sub-1_ses-1_run-2_space-T_desc-xinput_T1w.nii.gz"
    assert reference.tissue_beside(image) == {"csf": 0.3}
    assert reference.tissue_beside(tmp_path / "sub-2_desc-xinput_T1w.nii.gz") is None
