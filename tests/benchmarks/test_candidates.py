"""The comparison of candidates finds an age that is in the volumes, on a scanner left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.candidates.__main__ import main
from benchmarks.candidates.people import (
    People,
    read_cat12,
    read_derivatives,
    read_freesurfer,
    read_wide,
)
from benchmarks.candidates.protocol import (
    FEATURES,
    balancing_weights,
    features,
    few_notes,
    predictions,
    splits,
)
from benchmarks.candidates.regressors import LEARNERS
from benchmarks.candidates.results import balanced_mae, mixture, slope, summary
from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError

REGIONS = {
    51: ("LateralVentricle_R", "R", 0.01, 0.0002),
    52: ("LateralVentricle_L", "L", 0.01, 0.0002),
    59: ("ThalamusProper_R", "R", 0.006, -0.00002),
    60: ("ThalamusProper_L", "L", 0.006, -0.00002),
    106: ("AngularGyrus_R", "R", 0.008, -0.00004),
    107: ("AngularGyrus_L", "L", 0.008, -0.00004),
    108: ("CalcarineCortex_R", "R", 0.003, 0.0),
}


def simulated(sizes: dict[str, int], seed: int = 0) -> People:
    rng = np.random.default_rng(seed)
    rows, header = [], []
    for cohort, size in sizes.items():
        for number, age in enumerate(rng.uniform(20, 80, size)):
            header.append((f"sub-{number:03d}", cohort, age))
            rows.append([m + k * (age - 20) + 0.0005 * rng.normal() for _, _, m, k in values()])
    table = pd.DataFrame(header, columns=["participant_id", "cohort", "age"])
    names = [name for name, *_ in values()]
    parcels = frozenset(name for index, (name, *_) in REGIONS.items() if index >= 100)
    sides = {name: name[:-2] for name in names}
    return People(table, pd.DataFrame(rows, columns=names), sides, parcels)


def values():
    return REGIONS.values()


def written(folder, people: People):
    """Derivatives with one table of volumes per person, and the table of ages."""
    for row, person in people.table.iterrows():
        fractions = people.volumes.loc[row]
        table = pd.DataFrame(
            {
                "kind": "region",
                "index": list(REGIONS),
                "name": [name for name, *_ in values()],
                "hemisphere": [side for _, side, *_ in values()],
                "tissue": "GM",
                "volume_ml": 1500 * fractions.to_numpy(),
                "fraction": fractions.to_numpy(),
            }
        )
        whole = {"name": "intracranial", "kind": "total", "volume_ml": 1500, "fraction": 1}
        table = pd.concat([table.astype({"index": object}), pd.DataFrame([whole])])
        name = person["participant_id"]
        io.write_tsv(folder / name / "anat" / f"{name}_desc-regions_volumes.tsv", table)
    io.write_tsv(folder / "participants.tsv", people.table[["participant_id", "age"]])


def test_derivatives_become_people(tmp_path):
    people = simulated({"a": 4})
    written(tmp_path, people)
    read = read_derivatives("a", tmp_path, tmp_path / "participants.tsv")
    np.testing.assert_allclose(read.volumes.to_numpy(), people.volumes.to_numpy(), rtol=1e-4)
    np.testing.assert_allclose(read.ages, people.ages, rtol=1e-4)
    assert (read.sides, read.parcels) == (people.sides, people.parcels)
    both = read.both_sides(one_cortex=False)
    assert list(both)[2:] == ["AngularGyrus", "CalcarineCortex"]
    grouped = read.both_sides(one_cortex=True)
    assert list(grouped) == ["LateralVentricle", "ThalamusProper", "Cortex"]
    parcels = ["AngularGyrus_R", "AngularGyrus_L", "CalcarineCortex_R"]
    np.testing.assert_allclose(grouped["Cortex"], read.volumes[parcels].sum(axis=1))


def test_a_folder_without_volumes_or_ages_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no \\*_volumes.tsv"):
        read_derivatives("a", tmp_path, tmp_path / "participants.tsv")
    written(tmp_path, simulated({"a": 2}))
    strangers = pd.DataFrame({"participant_id": ["sub-x"], "age": [30]})
    io.write_tsv(tmp_path / "participants.tsv", strangers)
    with pytest.raises(DataError, match="no age of anybody"):
        read_derivatives("a", tmp_path, tmp_path / "participants.tsv")


def test_a_wide_table_groups_by_the_index_of_a_region(tmp_path):
    people = simulated({"a": 3})
    wide = people.table.join(people.volumes)
    io.write_tsv(tmp_path / "wide.tsv", wide)
    read = read_wide(tmp_path / "wide.tsv")
    assert (read.sides, read.parcels) == (people.sides, people.parcels)
    np.testing.assert_allclose(read.volumes, people.volumes, rtol=1e-4)
    io.write_tsv(tmp_path / "wide.tsv", wide.drop(columns="cohort"))
    with pytest.raises(DataError, match="needs the columns"):
        read_wide(tmp_path / "wide.tsv")


def test_people_without_a_brain_are_left_out(tmp_path):
    people = simulated({"a": 3})
    people.volumes.iloc[1] = np.nan
    written(tmp_path, people)
    read = read_derivatives("a", tmp_path, tmp_path / "participants.tsv")
    assert read.table["participant_id"].tolist() == ["sub-000", "sub-002"]


def test_every_scanner_is_left_out_and_nobody_is_asked_who_was_learned_from():
    people = simulated({"a": 30, "b": 10})
    found = list(splits(people))
    assert [split.name for split in found[:2]] == ["a", "b"]
    assert [split.kind for split in found[2:]] == ["out of fold"] * 5
    for split in found:
        assert not set(split.learnt) & set(split.asked)
    assert set(people.cohorts[found[0].learnt]) == {"b"}
    largest = np.flatnonzero(people.cohorts == "a")
    assert sorted(np.concatenate([s.asked for s in found[2:]])) == sorted(largest)
    assert few_notes(found)[0] == "left out, a: learned from 10 people only."


def test_scanners_in_parts_and_one_scanner_alone():
    people = simulated({"a": 30, "b": 10, "c": 10, "d": 10})
    found = list(splits(people, parts=2))
    assert [len(split.asked) for split in found] == [30, 30]
    for split in found:
        assert not set(people.cohorts[split.learnt]) & set(people.cohorts[split.asked])
    (alone,) = splits(people, train_on="a")
    assert set(people.cohorts[alone.learnt]) == {"a"}
    assert len(alone.asked) == 30


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_finds_the_age(learner):
    people = simulated({"a": 120, "b": 40})
    (split,) = splits(people, train_on="a")
    table = predictions(people, learner, "fractions", [split])
    error = (table["predicted"] - table["age"]).abs().mean()
    assert error < 8  # answering with the mean gives 15
    assert slope(table["age"].to_numpy(), table["predicted"].to_numpy()) > 0.6


def test_what_a_learner_says_does_not_depend_on_who_else_is_asked():
    people = simulated({"a": 60, "b": 5})
    (split,) = splits(people, train_on="a")
    wild = people.volumes.copy()
    wild.iloc[-1] *= 100
    other = replace(people, volumes=wild)
    for learner in LEARNERS:
        plain, changed = (
            predictions(p, learner, "logs", [split])["predicted"].to_numpy()
            for p in (people, other)
        )
        np.testing.assert_allclose(changed[:-1], plain[:-1], rtol=1e-5)


def test_answers_stay_near_the_ages_learned_from():
    people = simulated({"a": 40, "b": 5})
    people.volumes.iloc[-1] = 10.0
    (split,) = splits(people, train_on="a")
    answer = predictions(people, "ridge", "fractions", [split])["predicted"].iloc[-1]
    ages = people.ages[split.learnt]
    assert answer in (ages.min() - 2, ages.max() + 2)


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_finite_with_empty_regions(name):
    people = simulated({"a": 3})
    people.volumes.iloc[0, 0] = 0.0
    people.volumes["LateralVentricle_L"] = 0.0
    found = features(people, name)
    assert np.isfinite(found).all()
    size = {"grouped": 3, "sides": 4}.get(name.partition("-")[2], 7)
    assert found.shape == (3, size)


def test_weights_balance_age():
    ages = np.array([20.0] * 90 + [70.0] * 30)
    weights = balancing_weights(ages)
    assert weights[:90].sum() == pytest.approx(weights[90:].sum())
    assert weights.mean() == pytest.approx(1)


def test_numbers_of_a_known_error():
    ages = np.array([20.0, 30.0, 40.0, 70.0, 71.0, 72.0])
    halved = 45 + (ages - 45) / 2
    assert slope(ages, halved) == pytest.approx(0.5)
    assert balanced_mae(ages, ages + np.array([1, 2, 3, 4, 4, 4])) == pytest.approx(2.5)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{n}" for n in range(6)],
            "cohort": ["a", "a", "a", "b", "b", "b"],
            "age": ages,
            "predicted": ages + [1, 1, 1, 3, 3, 3],
            "sd": np.nan,
            "split": "left out",
            "n_learnt": 300,
        }
    )
    rows = summary({"x": table}, 0).set_index("cohort")
    assert rows.loc["all", "mae"] == pytest.approx(2)
    assert rows.loc["mean of scanners", "mae"] == pytest.approx(2)
    assert rows.loc["b", "mean_error"] == pytest.approx(3)
    few = table.assign(n_learnt=np.where(table["cohort"] == "a", 5, 300))
    folds = table[table["cohort"] == "a"].assign(split="out of fold", predicted=lambda t: t["age"])
    chosen = summary({"x": pd.concat([few, folds])}, 0).set_index("cohort").loc["mean of scanners"]
    assert chosen["mae"] == pytest.approx(1.5)  # a out of fold 0, b left out 3
    other = table.assign(predicted=table["age"] - 1).iloc[1:]
    mixed = mixture([table, other])
    assert len(mixed) == 5
    assert (mixed["predicted"] - mixed["age"]).tolist() == pytest.approx([0, 0, 1, 1, 1])


def test_one_table_of_candidates_given_predictions_and_mixtures(tmp_path, capsys):
    people = simulated({"a": 30, "b": 12})
    for cohort in ("a", "b"):
        here = people.cohorts == cohort
        part = People(
            people.table[here].reset_index(drop=True),
            people.volumes[here].reset_index(drop=True),
            people.sides,
            people.parcels,
        )
        written(tmp_path / cohort, part)
    given = people.table.assign(predicted=people.table["age"] + 2)
    io.write_tsv(tmp_path / "net.tsv", given)
    folders = [f"{name}={tmp_path / name}" for name in ("a", "b")]
    options = ["--learners", "ridge", "--features", "logs", "--n-boot", "50"]
    more = ["--given", f"net={tmp_path / 'net.tsv'}", "--mix", "net+ridge:logs"]
    assert main([*folders, *options, *more, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "| net | left out | b | 12 |  | 2.00" in printed
    assert "| net | out of fold | a | 30 |" in printed
    assert "learned from 12 people only" in printed
    mixed = io.read_tsv(tmp_path / "out" / "net+ridge_logs_predictions.tsv")
    assert sorted(mixed["split"].value_counts()) == [12, 30]
    with pytest.raises(SystemExit):
        main([*folders, *options, "--mix", "net+nothing"])


def test_tables_of_other_tools_lose_the_size_of_the_head(tmp_path):
    rng = np.random.default_rng(0)
    size = rng.uniform(1000, 2000, 20)
    cat = pd.DataFrame({"participant_id": [f"p{n}" for n in range(20)], "site": "X"})
    cat["age"], cat["tiv"] = rng.uniform(20, 80, 20), size
    cat["lHip_GM_Vol"], cat["rHip_GM_Vol"] = size * rng.random(20), size * rng.random(20)
    cat.to_csv(tmp_path / "cat.tsv", sep="\t", index=False)
    people = read_cat12(tmp_path / "cat.tsv")
    assert people.volumes.max().max() < 1
    assert set(people.sides.values()) == {"Hip_GM_Vol"}

    free = cat[["participant_id", "age"]].assign(dataset="ds", BrainSegVol=size)
    for name in ("Left-Lateral-Ventricle", "CC_Anterior", "lh_cuneus_volume"):
        free[name] = size * rng.random(20)
    free["lh_cuneus_thickness"] = 2 + rng.random(20)
    free.to_csv(tmp_path / "free.tsv", sep="\t", index=False)
    people = read_freesurfer(tmp_path / "free.tsv", first_age=1)
    assert people.volumes["lh_cuneus_volume"].max() < 1
    assert people.volumes["lh_cuneus_thickness"].min() > 2
    assert people.parcels == {"lh_cuneus_volume"}
    assert people.sides["lh_cuneus_volume"] == "cuneus_volume"
