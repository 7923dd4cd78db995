"""Comparison of all combinations of modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.cli.models import main
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv, write_tsv
from bidsapp_brainage.training.combinations import compare, sources


def branched(n: int = 60) -> pd.DataFrame:
    """Two sources whose errors are independent, and a third that knows nothing."""
    rng = np.random.default_rng(1)
    age = rng.uniform(20, 80, n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{index}" for index in range(n)],
            "age": age,
            "predicted_age": age,
            "branch_age_T1w": age + rng.normal(0, 6, n),
            "branch_age_T2w": age + rng.normal(0, 6, n),
            "branch_age_FLAIR": 50 + rng.normal(0, 6, n),
        }
    )


def test_every_combination_is_the_mean_of_its_sources() -> None:
    people = branched()
    table = compare(sources({"all": people}), n_boot=200).set_index("combination")
    assert list(table.index) == [
        "T1w", "T2w", "FLAIR", "T1w+T2w", "T1w+FLAIR", "T2w+FLAIR", "T1w+T2w+FLAIR",
    ]  # fmt: skip
    mean = (people["branch_age_T1w"] + people["branch_age_T2w"]) / 2
    two = table.loc["T1w+T2w"]
    assert two["mae"] == pytest.approx((mean - people["age"]).abs().mean())
    assert two["mae"] < min(table.loc["T1w", "mae"], table.loc["T2w", "mae"])
    assert two["mae_lower"] < two["mae"] < two["mae_upper"]
    assert table.loc["FLAIR", "r2"] < 0.1 < table.loc["T1w", "r2"]


def test_differences_are_paired_and_against_all_together() -> None:
    table = compare(sources({"all": branched()}), n_boot=200).set_index("combination")
    everything = table.loc["T1w+T2w+FLAIR"]
    difference = table["mae"] - everything["mae"]
    assert np.allclose(table["mae_difference"], difference)
    assert everything["mae_difference"] == 0
    better, worse = table.loc["T1w+T2w"], table.loc["FLAIR"]
    assert better["mae_difference_upper"] < 0 < worse["mae_difference_lower"]


def test_tables_of_single_models_are_joined_by_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = branched(20)
    for name in ("T1w", "T2w"):
        own = people.assign(predicted_age=people[f"branch_age_{name}"]).iloc[: 20 - len(name)]
        write_tsv(tmp_path / f"{name}.tsv", own[["participant_id", "age", "predicted_age"]])
    inputs = [f"{name}={tmp_path / name}.tsv" for name in ("T1w", "T2w")]
    arguments = ["evaluate", "-", *inputs, "--combinations", "--out", str(tmp_path / "tables")]
    assert main([*arguments, "--n-boot", "100"]) == 0
    written = read_tsv(tmp_path / "tables" / "combinations.tsv")
    assert written["combination"].tolist() == ["T1w", "T2w", "T1w+T2w"]
    assert set(written["n_participants"]) == {17}
    assert "T1w+T2w   " in capsys.readouterr().out


def test_one_source_cannot_be_combined() -> None:
    with pytest.raises(DataError, match="2 to 8 sources, and there are 0"):
        sources({"one": branched().drop(columns=["branch_age_T1w", "branch_age_T2w",
                                                 "branch_age_FLAIR"])})  # fmt: skip


def test_people_without_one_of_the_sources_are_left_out() -> None:
    people = branched()
    people.loc[:9, "branch_age_T2w"] = np.nan
    assert len(sources({"all": people})) == 50
    people["branch_age_T2w"] = np.nan
    with pytest.raises(DataError, match="No person of known age"):
        sources({"all": people})
