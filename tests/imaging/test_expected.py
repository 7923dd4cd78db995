"""Expected values of measures of quality."""

from __future__ import annotations

import numpy as np
import pytest

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.imaging.expected import (
    FAIL,
    REFERENCE,
    VOLUME_LIMITS,
    WARN,
    brain_volume_limits,
    expected,
    outside,
    reference_percentile,
)


@pytest.mark.parametrize(
    ("age", "sex", "volume", "unusual"),
    [
        (30, "F", 1390, False),  # means of FreeSurfer's MaskVol, ml
        (30, "M", 1560, False),
        (70, "F", 1320, False),
        (5, "F", 1300, False),
        (30, "M", 1050, True),  # usual in a woman
        (30, "F", 1050, False),
        (30, "F", 2000, True),  # usual in a man, and below the limit of all
        (30, "M", 2000, False),
        (5, "F", 1850, True),
        (30, "n/a", 1050, False),
        (None, "n/a", 2100, False),
        (None, "n/a", 2200, True),
        (None, "n/a", 850, True),
        (2, "F", 700, False),  # nothing is known of the youngest
    ],
)
def test_brain_volumes_are_judged_by_age_and_sex(age, sex, volume, unusual):
    assert outside(volume, brain_volume_limits(age, sex)) is unusual


def test_limits_change_smoothly_and_hold_beyond_the_oldest():
    ages = np.arange(3, 91, 0.5)
    for sex in ("F", "M"):
        limits = np.array([brain_volume_limits(age, sex) for age in ages])
        assert np.abs(np.diff(np.log(limits), axis=0)).max() < 0.02
        assert brain_volume_limits(95, sex) == brain_volume_limits(90, sex)
        widest = brain_volume_limits(None, sex)
        assert widest[0] == pytest.approx(limits.min(), rel=1e-9)
        assert widest[1] == pytest.approx(limits.max(), rel=1e-9)


def test_all_that_is_expected_is_measured():
    columns = set(columns_of("qc"))
    assert {*WARN, *FAIL, *REFERENCE, *VOLUME_LIMITS} <= columns
    for name, (low, _) in FAIL.items():
        assert low < WARN[name][0], "what fails is worse than what warns"
    assert expected({}, "brain_volume_ml") == (None, None)
    row = dict.fromkeys(VOLUME_LIMITS, 1000.0)
    assert expected(row, "brain_volume_ml") == (1000.0, 1000.0)


def test_a_value_has_its_place_among_the_reference_people():
    for name, quantiles in REFERENCE.items():
        assert list(quantiles) == sorted(quantiles)
        assert reference_percentile(name, quantiles[3]) == 50
        assert reference_percentile(name, quantiles[0] - 1) == 0
    assert reference_percentile("n_nan", 3) is None
