from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.bids.ages import AgeBook, find_age_column, parse_age, parse_sex
from bidsapp_brainage.errors import DataError, UsageError
from tests.tables import tabbed


@pytest.mark.parametrize(
    ("text", "units", "years", "capped"),
    [
        (25, None, 25.0, False),
        ("25.5", "year", 25.5, False),
        ("25,5", "years", 25.5, False),
        ("034Y", None, 34.0, False),
        ("25 yrs", "months", 25.0, False),
        (300, "months", 25.0, False),
        ("300", "Months", 25.0, False),
        (104.3571, "weeks", 2.0, False),
        (7305, "days", 20.0, False),
        (30, "[years old]", 30.0, False),
        ("89+", None, 89.0, True),
        (">89", "year", 89.0, True),
        (">= 90", None, 90.0, True),
        (0, None, 0.0, False),
    ],
)
def test_ages_are_read_in_years(text, units, years, capped):
    age = parse_age(text, units)
    assert age.value == pytest.approx(years, abs=1e-3)
    assert age.capped is capped


@pytest.mark.parametrize("text", [None, "n/a", "N/A", "", float("nan"), "unknown"])
def test_missing_ages_are_unknown_without_complaint(text):
    age = parse_age(text)
    assert age.value is None
    assert age.note == ""


@pytest.mark.parametrize(
    ("text", "units", "complaint"),
    [
        ("adult", None, "not a number"),
        ("20-25", None, "not a number"),
        ("-5", None, "not a number"),
        (300, None, "set Units"),
        (300, "year", "above 120"),
        (25, "furlong", "furlong"),
    ],
)
def test_ages_that_cannot_be_understood_are_unknown_with_a_reason(text, units, complaint):
    age = parse_age(text, units)
    assert age.value is None
    assert age.source == "n/a"
    assert complaint in age.note


def test_conversion_and_cap_are_noted():
    assert "months" in parse_age(240, "month").note
    assert "lower bound" in parse_age("89+").note


@pytest.mark.parametrize(
    ("text", "letter"),
    [("F", "F"), ("female", "F"), ("Male", "M"), ("other", "O"), ("x", "n/a"), (None, "n/a")],
)
def test_sex(text, letter):
    assert parse_sex(text) == letter


def test_age_column_is_found_in_its_usual_spellings():
    assert find_age_column(["participant_id", "age"]) == "age"
    assert find_age_column(["Age"]) == "Age"
    assert find_age_column(["age_at_scan", "handedness"]) == "age_at_scan"
    assert find_age_column(["age", "scan_age"], "scan_age") == "scan_age"
    assert find_age_column(["age"], "scan_age") is None


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tabbed(text) if name.endswith(".tsv") else text)
    return root


PARTICIPANTS = {"participants.tsv": "participant_id age sex site\nsub-01 30 F A\nsub-02 n/a M B"}
SCAN = "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"


def test_participants_table(tmp_path):
    person = AgeBook(write(tmp_path, PARTICIPANTS)).person({"sub": "01"}, "x")
    assert (person.age.value, person.age.source) == (30.0, "participants.tsv")
    assert (person.sex, person.site) == ("F", "A")


def test_no_tables_at_all(tmp_path):
    person = AgeBook(tmp_path).person({"sub": "01"}, "x")
    assert (person.age.value, person.age.source, person.sex) == (None, "n/a", "n/a")


def test_session_age_wins_over_participant_age(tmp_path):
    root = write(
        tmp_path,
        PARTICIPANTS
        | {
            "sub-01/sub-01_sessions.tsv": "session_id age\nses-1 30\nses-2 32.5",
            "sub-01/ses-2/sub-01_ses-2_scans.tsv": f"filename age\n{SCAN[13:]} 99",
        },
    )
    age = AgeBook(root).person({"sub": "01", "ses": "2"}, SCAN).age
    assert (age.value, age.source) == (32.5, "sessions.tsv")


def test_scans_age_wins_over_participant_age(tmp_path):
    root = write(
        tmp_path,
        PARTICIPANTS
        | {
            "sub-01/sub-01_sessions.tsv": "session_id age\nses-1 30\nses-2 n/a",
            "sub-01/ses-2/sub-01_ses-2_scans.tsv": f"filename age\n{SCAN[13:]} 33",
        },
    )
    age = AgeBook(root).person({"sub": "01", "ses": "2"}, SCAN).age
    assert (age.value, age.source) == (33.0, "scans.tsv")


def test_units_of_sessions_are_inherited_from_the_root(tmp_path):
    root = write(
        tmp_path,
        {
            "sub-01/sub-01_sessions.tsv": "session_id age_at_session\nses-2 240",
            "sessions.json": '{"age_at_session": {"Units": "months"}}',
        },
    )
    assert AgeBook(root).person({"sub": "01", "ses": "2"}, SCAN).age.value == 20.0


def test_age_file_wins_and_falls_through(tmp_path):
    root = write(
        tmp_path,
        PARTICIPANTS | {"ages.tsv": "participant_id session_id age\n01 2 31\n01 3 35\n02 n/a 50"},
    )
    book = AgeBook(root, age_file=root / "ages.tsv")
    assert book.person({"sub": "01", "ses": "2"}, SCAN).age.value == 31.0
    assert book.person({"sub": "02", "ses": "9"}, "x").age.source == "age-file"
    assert book.person({"sub": "01", "ses": "4"}, "x").age.source == "participants.tsv"


def test_exact_session_is_preferred_to_the_row_for_all(tmp_path):
    root = write(
        tmp_path, {"ages.tsv": "participant_id session_id age\nsub-01 n/a 30\nsub-01 2 31"}
    )
    book = AgeBook(root, age_file=root / "ages.tsv")
    assert book.person({"sub": "01", "ses": "2"}, SCAN).age.value == 31.0
    assert book.person({"sub": "01", "ses": "1"}, SCAN).age.value == 30.0


def test_months_without_units_are_not_taken_for_years(tmp_path):
    rows = "\n".join(f"sub-{i:02d} {80 + 10 * i}" for i in range(10))
    root = write(tmp_path, {"participants.tsv": f"participant_id age\n{rows}"})
    for label in ("00", "09"):  # 80 might be years, 170 not: neither is used
        age = AgeBook(root).person({"sub": label}, "x").age
        assert age.value is None
        assert "set Units" in age.note
        assert "participants.tsv" in age.note


def test_one_absurd_age_does_not_spoil_the_others(tmp_path):
    rows = "\n".join(f"sub-{i:02d} {30 + i}" for i in range(19)) + "\nsub-99 350"
    root = write(tmp_path, {"participants.tsv": f"participant_id age\n{rows}"})
    assert AgeBook(root).person({"sub": "03"}, "x").age.value == 33.0
    assert AgeBook(root).person({"sub": "99"}, "x").age.value is None


def test_text_age_is_unknown_with_a_note_and_others_go_on(tmp_path):
    root = write(tmp_path, {"participants.tsv": "participant_id age\nsub-01 old\nsub-02 40"})
    book = AgeBook(root)
    assert "'old' is not a number" in book.person({"sub": "01"}, "x").age.note
    assert book.person({"sub": "02"}, "x").age.value == 40.0


def test_double_participant_is_an_error_that_names_file_and_id(tmp_path):
    root = write(tmp_path, {"participants.tsv": "participant_id age\nsub-01 30\nsub-01 31"})
    with pytest.raises(DataError, match=r"participants\.tsv lists sub-01 more than once"):
        AgeBook(root)


def test_participant_per_session_is_not_double(tmp_path):
    root = write(
        tmp_path, {"participants.tsv": "participant_id session_id age\nsub-01 1 30\nsub-01 2 31"}
    )
    assert AgeBook(root).person({"sub": "01", "ses": "2"}, "x").age.value == 31.0


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"participants.tsv": "id age\n1 30"}, DataError, "no column participant_id"),
        (PARTICIPANTS | {"participants.json": "{"}, DataError, "participants.json is not valid"),
        ({"ages.tsv": "participant_id years\n01 3"}, UsageError, "`age_column`"),
        ({"ages.tsv": "participant_id age\n01 3\n01 4"}, DataError, "more than once"),
        ({}, UsageError, "does not exist"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, files, error, words):
    root = write(tmp_path, files)
    age_file = None if "participants.tsv" in files else root / "ages.tsv"
    with pytest.raises(error, match=words):
        AgeBook(root, age_file=age_file)
