"""Columns of participants.tsv, and whether the people were in the training set."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.group.people import (
    ParticipantColumns,
    card_of,
    load_factors,
    load_people,
    training_overlap,
)
from bidsapp_brainage.io import write_tsv
from bidsapp_brainage.model.cards import find_card
from bidsapp_brainage.morphometry import card as morphometry


@pytest.fixture
def folders(tmp_path):
    derived = pd.DataFrame({"participant_id": ["sub-1", "sub-2"], "age": [30, 40], "sex": "F"})
    raw = pd.DataFrame(
        {
            "participant_id": ["1", "sub-2", "sub-3"],
            "sex": ["M", "M", "M"],
            "diagnosis": ["HC", "SZ", "HC"],
            "scanner": [1, None, 3],
            "iq": [100, 110, 120],
            "empty": None,
        }
    )
    out, bids = tmp_path / "out", tmp_path / "bids"
    write_tsv(out / "participants.tsv", derived.assign(site=None))
    write_tsv(bids / "participants.tsv", raw)
    return out, bids


def test_derivatives_first_then_the_raw_table(folders):
    columns = ParticipantColumns("diagnosis", "HC", "scanner", ("iq", "cnr"))
    people, problems = load_people(*folders, columns, scan_columns=["cnr"])
    people = people.set_index("participant_id")
    assert problems == []
    assert people.loc["sub-1"].to_dict() == {"sex": "F", "site": "1", "group": "HC", "iq": 100}
    assert people.loc["sub-2", "site"] is None or pd.isna(people.loc["sub-2", "site"])


def test_raw_data_are_not_needed(folders):
    people, problems = load_people(folders[0], folders[1] / "nowhere", ParticipantColumns())
    assert list(people.columns) == ["participant_id", "sex"]
    assert problems == []
    nowhere = folders[1] / "nowhere"
    people, problems = load_people(nowhere, nowhere, ParticipantColumns())
    assert people.empty


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (ParticipantColumns(group="diagnosys"), ["`group_column`", "Did you mean 'diagnosis'"]),
        (ParticipantColumns(group="empty"), ["`group_column`", "Known: age, diagnosis"]),
        (ParticipantColumns(site="scaner"), ["`site_column`", "'scanner'"]),
        (ParticipantColumns(covariates=("iqq",)), ["`covariates`", "'iq'"]),
        (ParticipantColumns(covariates=("age",)), ["leave it out"]),
        (ParticipantColumns(reference="HC"), ["needs `group_column`"]),
        (ParticipantColumns("diagnosis", "hc"), ["`reference_group`", "Known: HC, SZ"]),
    ],
)
def test_wrong_columns_are_named_with_a_remedy(folders, columns, words):
    with pytest.raises(UsageError) as caught:
        load_people(*folders, columns, scan_columns=["cnr"])
    assert all(word in str(caught.value) for word in words)


def test_an_unreadable_table_is_told(folders):
    (folders[0] / "participants.tsv").write_bytes(b"\xff\xfe\x00")
    people, problems = load_people(*folders, ParticipantColumns())
    assert "participants.tsv" in problems[0]
    assert people.set_index("participant_id").loc["sub-1", "sex"] == "M"


@pytest.mark.parametrize(
    ("name", "labels", "word"),
    [
        ("Brain age: IXI Hammersmith 2 mm", ["sub-01"], "'IXI'"),
        ("Brain age: my ixi copy", ["sub-01"], "'IXI'"),
        ("Brain age of the hospital", ["sub-IXI012", "sub-x1"], "labels of its participants"),
        ("Brain age: classification learning", ["sub-01"], ""),
        ("Brain age of the hospital", ["sub-hospital1"], ""),
        ("", [], ""),
    ],
)
def test_training_cohorts_are_recognised_by_name(name, labels, word):
    card = find_card("sfcn2mm")
    card = dataclasses.replace(card, raw={"training": {"cohort": "IXI, Hammersmith Hospital"}})
    sentence = training_overlap(card, name, labels)
    assert word in sentence
    assert bool(sentence) == bool(word)


def test_card_of_a_model_that_is_not_installed(tmp_path):
    assert card_of({"Model": {"Name": "sfcn2mm"}}, None).name == "sfcn2mm"
    assert card_of({"Model": {"Name": "unheard"}}, tmp_path) is None
    assert card_of({}, None) is None


def test_a_broken_card_of_tables_is_as_one_that_is_not_installed(tmp_path, monkeypatch):
    (tmp_path / "fsbroken.json").write_text("{}")
    monkeypatch.setattr(morphometry, "bundled_folder", lambda: tmp_path)
    assert card_of({"Model": {"Name": "fsbroken"}}, None) is None


def test_factors_have_one_row_per_participant(tmp_path):
    path = tmp_path / "factors.tsv"
    write_tsv(path, pd.DataFrame({"participant_id": ["1", "sub-2"], "bmi": [21, 30], "none": None}))
    got = load_factors(path)
    assert list(got.index) == ["sub-1", "sub-2"] and list(got) == ["bmi"]
    write_tsv(path, pd.DataFrame({"participant_id": ["1", "sub-1"], "bmi": [21, 30]}))
    with pytest.raises(DataError, match=r"several rows .*`factors`"):
        load_factors(path)
    write_tsv(path, pd.DataFrame({"bmi": [21, 30]}))
    with pytest.raises(DataError, match="no column participant_id"):
        load_factors(path)
