"""The simulation of calibrated sites prints what the docs quote."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks import site_calibration as bench


def test_both_tables_are_printed(capsys, monkeypatch):
    monkeypatch.setattr(bench, "N_CONTROLS", (10, 30))
    assert bench.main(["--repeats", "6"]) == 0
    main, _, further = capsys.readouterr().out.partition("\n\n")
    assert len(main.splitlines()) == 2 + 2 * len(bench.SITES)
    assert len(further.splitlines()) == 2 + 2 * 3 * 3
    for line in main.splitlines()[2:]:
        assert len(re.findall(r"[\d.]+ → [\d.]+", line)) == 5


def test_a_shifted_site_is_found_false_before_and_not_after():
    rng = np.random.default_rng(0)
    rows = [bench.replicate(bench.SITES[1], 50, rng) for _ in range(20)]
    found = {when: np.mean([row[f"found_{when}"] for row in rows]) for when in ("before", "after")}
    assert found["before"] > 0.5
    assert found["after"] < 0.3
    assert np.mean([row["bias_before"] for row in rows]) == pytest.approx(9, abs=1)
    assert np.mean([row["bias_after"] for row in rows]) < 2
