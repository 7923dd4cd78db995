"""The fit of the demo's atrophy to a model, without the model."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import demo_ages


def table(ages: list[float]) -> pd.DataFrame:
    """Predicted ages of both people for each amount of atrophy."""
    labels = [person.label for person in demo_ages.heads()]
    spread = [age + change for age in ages for change in (-1, 1)]
    return pd.DataFrame(
        {"participant_id": [f"sub-{label}" for label in labels], "predicted_age": spread}
    )


def test_amounts_are_read_off_between_those_that_were_tried() -> None:
    points = dict(demo_ages.fitted(table([25, 45, 60, 80])))
    tried = dict(zip((25.0, 45.0, 60.0), demo_ages.AMOUNTS, strict=False))
    assert points | tried == points
    assert demo_ages.AMOUNTS[2] < points[75.0] < demo_ages.AMOUNTS[3]


def test_a_model_that_sees_too_little_is_told_and_amounts_stay_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ["session_id", "chronological_age", "ci95_lower", "ci95_upper", "gap_z"]
    flat = table([30, 35, 34, 50]).assign(**dict.fromkeys(columns, 0.0))
    monkeypatch.setattr(demo_ages, "predicted_ages", lambda *_: flat)
    monkeypatch.setattr("sys.argv", ["demo_ages"])
    demo_ages.main()
    out = capsys.readouterr().out
    assert "ATROPHY = ((25.0, 0.0)," in out
    assert "predicts no 75 years" in out


def test_age_always_shows() -> None:
    points = demo_ages.strictly_rising([(25.0, 0.0), (45.0, 1.6), (60.0, 1.6), (75.0, 1.6)])
    assert [amount for _, amount in points] == [0.0, 1.6, 1.65, 1.7]


def test_heads_differ_in_atrophy_and_person_only() -> None:
    scans = [person.scans[0] for person in demo_ages.heads()]
    assert {scan.atrophy for scan in scans} == set(demo_ages.AMOUNTS)
    assert len({person.label for person in demo_ages.heads()}) == 8
