"""Second opinions over people: means, standard errors, spread over members."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.regional.attributions import mean_attributions
from bidsapp_brainage.io import read_tsv
from tests.derivatives import NETWORKS, TEMPLATE, write_table
from tests.group.derivatives import write_derivatives

ATLAS = {"space": TEMPLATE, "atlas": "Blocks", "scale": "12"}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 99)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 49)


def table(key, values, *, baseline=None, spread=0.5):
    """One person's table of three regions, the last one empty."""
    signed = key != "noise"
    values = np.array([*values, np.nan])
    return pd.DataFrame({
        "index": [1, 2, 3],
        "name": ["a", "b", "c"],
        "network": NETWORKS[0],
        "n_voxels": [10, 20, 0],
        "volume_mm3": [1000.0, 2000.0, 0.0],
        "method": key,
        "baseline": baseline,
        "delta_age": values if signed else np.nan,
        "delta_age_sd_members": spread if signed else np.nan,
        "importance_sd_members": spread,
        "importance": np.abs(values),
        "importance_per_ml": np.abs(values) / np.array([1.0, 2.0, np.nan]),
    })  # fmt: skip


def people(key, values_of, **more):
    return pd.concat(
        table(key, values, **more).assign(participant_id=f"sub-{n}", scan=f"sub-{n}")
        for n, values in enumerate(values_of)
    )


def test_mean_standard_error_and_spread_of_every_region():
    values = [(1.0, -4.0), (3.0, -2.0), (5.0, -6.0), (7.0, -4.0)]
    ages = pd.Series([25.0, 28.0, 71.0, np.nan], index=[f"sub-{n}" for n in range(4)])
    found = mean_attributions({"lrp": people("lrp", values)}, ages).tables["attributionstats"]
    assert list(found["age_group"].unique()) == ["all", "20-30", "70-80"]
    everybody = found[found["age_group"] == "all"].set_index("index")
    first = np.array(values)[:, 0]
    error = first.std(ddof=1) / 2
    assert everybody.loc[1, "n_participants"] == 4
    assert everybody.loc[1, "mean_delta_age"] == pytest.approx(first.mean())
    assert everybody.loc[1, "se_delta_age"] == pytest.approx(error)
    assert everybody.loc[1, "ci95_upper"] == pytest.approx(first.mean() + 3.182446 * error)
    assert everybody.loc[1, "mean_delta_age_sd_members"] == pytest.approx(0.5)
    assert everybody.loc[2, "mean_delta_age"] == pytest.approx(-4)
    assert everybody.loc[2, "mean_importance"] == pytest.approx(4)
    assert everybody["rank"].tolist()[:2] == [1, 1]  # |sums| are equal
    assert everybody.loc[3, ["n_participants"]].tolist() == [0]
    assert everybody.loc[3, ["mean_importance", "rank"]].isna().all()
    young = found[found["age_group"] == "20-30"].set_index("index")
    assert young.loc[1, ["n_participants", "mean_delta_age"]].tolist() == [2, 2.0]


def test_methods_and_baselines_stay_apart_and_noise_has_no_sign():
    values = [(1.0, 2.0), (2.0, 3.0), (4.0, 5.0)]
    frames = {
        "ig": pd.concat([
            people("ig", values, baseline="background"),
            people("ig", -np.array(values), baseline="blur"),
        ]),
        "noise": people("noise", values),
        "lrp": pd.DataFrame(columns=["participant_id"]),
    }  # fmt: skip
    ages = pd.Series(np.nan, index=["sub-0", "sub-1", "sub-2"])
    found = mean_attributions(frames, ages).tables["attributionstats"]
    assert set(found["age_group"]) == {"all"}
    blocks = found.groupby(["method", "baseline"], dropna=False)["mean_delta_age"].first()
    assert blocks["ig", "background"] == -blocks["ig", "blur"] == pytest.approx(7 / 3)
    noise = found[found["method"] == "noise"].set_index("index")
    assert noise[["mean_delta_age", "mean_delta_age_sd_members"]].isna().all(axis=None)
    assert noise.loc[2, "mean_importance"] == pytest.approx(10 / 3)
    assert noise.loc[2, "mean_importance_sd_members"] == pytest.approx(0.5)
    assert noise.loc[2, "se_importance_per_ml"] == pytest.approx(0.5 * np.sqrt(7 / 9))
    assert noise.loc[2, "ci95_lower"] < 5 / 3 < noise.loc[2, "ci95_upper"]


def test_scans_of_a_person_are_averaged_and_files_are_found(tmp_path):
    write_derivatives(tmp_path, n_participants=4, sessions=("1", "2"), maps=False)
    for person, value in enumerate((1.0, 2.0, 3.0, 4.0), start=1):
        for session, more in (("1", 0.0), ("2", 10.0)):
            scan = (("sub", f"{person:02d}"), ("ses", session))
            write_table(tmp_path, "lrp", table("lrp", (value + more, 1.0)), scan, **ATLAS)
    (model,) = collect(tmp_path).models
    got = analyses.summarise(model, read_tsv(tmp_path / "participants.tsv"), seed=1)
    found = got.atlas_tables[0]["attributionstats"]
    first = found[found["age_group"] == "all"].set_index("index").loc[1]
    assert first["n_participants"] == 4
    assert first["mean_delta_age"] == pytest.approx(7.5)
    assert first["sd_delta_age"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1))


def test_without_second_opinions_there_is_no_table(tmp_path):
    write_derivatives(tmp_path, n_participants=3, maps=False)
    (model,) = collect(tmp_path).models
    got = analyses.summarise(model, pd.DataFrame(), seed=1)
    assert "attributionstats" not in got.atlas_tables[0]
