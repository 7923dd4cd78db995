"""Known answers: compared with tolerances, explained by what differs, written into cards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bidsapp_brainage.demo import known_answers
from bidsapp_brainage.demo.known_answers import PREPARED, Answer, compare, likely_causes
from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.cards import load_card
from tests.model.tiny import make_card

REGIONS = tuple(f"region {k}" for k in range(10))
RECORDED = {
    "weights": "a", "segmentation": "s", "torch": "2.7.0", "SimpleITK": "2.4", "nilearn": "0.11",
    "template": "abc", "device": "cpu", "processors": "2",
}  # fmt: skip


def expected(**tolerances: float) -> dict:
    answers = {PREPARED: Answer(50.0, (40.0, 60.0)), "older": Answer(70.0, (60.0, 80.0), REGIONS)}
    return {
        "answers": {name: answer.as_json() for name, answer in answers.items()},
        "tolerances": tolerances,
        "recorded_with": RECORDED,
    }


def deviating(found: dict[str, Answer], **tolerances: float) -> list[str]:
    return [one.text for one in compare(expected(**tolerances), found) if not one.agrees]


def test_the_same_answers_agree_in_every_quantity() -> None:
    found = {PREPARED: Answer(50.05, (40.0, 60.0)), "older": Answer(71.0, (62.0, 80.0), REGIONS)}
    compared = compare(expected(), found)
    assert [one.agrees for one in compared] == [True] * 5


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(72.0, (60.0, 80.0), REGIONS), "age 72.00, expected 70.00"),
        (Answer(70.0, (60.0, 84.0), REGIONS), "interval 60.0 to 84.0"),
        (Answer(70.0, None, REGIONS), "interval none"),
        (Answer(70.0, (60.0, 80.0), REGIONS[3:]), "2 of the 5 top regions"),
    ],
)
def test_each_quantity_can_deviate_alone(answer: Answer, words: str) -> None:
    (text,) = deviating({"older": answer})
    assert words in text


def test_a_network_alone_is_held_to_less_than_a_whole_run() -> None:
    assert deviating({PREPARED: Answer(50.5, (40.0, 60.0))})
    assert not deviating({"older": Answer(70.5, (60.0, 80.0), REGIONS)})


def test_the_card_may_set_its_own_tolerances() -> None:
    answer = {"older": Answer(74.0, (60.0, 80.0), REGIONS)}
    assert deviating(answer)
    assert not deviating(answer, years=5.0)


def test_what_was_not_asked_for_is_not_missed() -> None:
    assert compare(expected(), {PREPARED: Answer(50.0, (40.0, 60.0))})[0].reference == PREPARED


@pytest.mark.parametrize(
    ("found", "agrees"),
    [({"brain": 1040.0}, True), ({"brain": 1100.0}, False), ({}, False)],
)
def test_volumes_are_compared_where_the_card_has_them(found: dict, agrees: bool) -> None:
    known = {"answers": {"older": Answer(70.0, volumes={"brain": 1000.0}).as_json()}}
    (age, volume) = compare(known, {"older": Answer(70.0, volumes=found)})
    assert age.agrees
    assert volume.agrees == agrees
    assert "expected 1000 ml +- 5 %" in volume.text


@pytest.mark.parametrize(
    ("change", "names", "first"),
    [
        ({"torch": "2.8.0"}, [PREPARED, "older"], "torch 2.8.0 here, 2.7.0 when recorded"),
        ({"device": "cuda"}, [PREPARED], "device cuda here, cpu when recorded"),
        ({"SimpleITK": "2.5"}, ["older"], "SimpleITK 2.5 here, 2.4 when recorded"),
        ({"processors": "64"}, ["older"], "processors 64 here"),
        ({"template": "xyz"}, ["older"], "template xyz here"),
        ({}, ["older"], "nothing that was recorded differs"),
    ],
)
def test_causes_are_what_differs(change: dict, names: list[str], first: str) -> None:
    where, *causes = likely_causes(RECORDED, RECORDED | change, names)
    assert ("the network itself" in where) == (PREPARED in names)
    assert first in causes[0]
    assert len(causes) == 1


def test_likelier_causes_come_first() -> None:
    present = RECORDED | {"torch": "3", "SimpleITK": "3"}
    assert "torch" in likely_causes(RECORDED, present, [PREPARED])[1]
    assert "SimpleITK" in likely_causes(RECORDED, present, ["older"])[1]


@pytest.mark.parametrize("part", ["weights", "segmentation"])
def test_other_weights_explain_everything(part: str) -> None:
    (cause,) = likely_causes(RECORDED, RECORDED | {part: "b", "torch": "3"}, [PREPARED])
    assert f"the {part} " in cause
    assert "record anew" in cause


def test_answers_are_written_into_the_card_and_read_again(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    answers = {PREPARED: Answer(50.0, (40.0, 60.0)), "older": Answer(70.0, None, REGIONS)}
    present = known_answers.environment(card, "cuda:1", 3)
    assert present["device"] == "cuda"
    assert present["processors"] == "3"
    path = known_answers.record(card, answers, present)
    again = load_card(path)
    assert again.raw["selftest"]["recorded_with"] == present
    assert again.raw["selftest"]["answers"]["older"]["regions"] == list(REGIONS[:5])
    assert all(one.agrees for one in compare(again.raw["selftest"], answers))


def test_tolerances_of_the_card_survive_a_new_record(tmp_path: Path) -> None:
    card = make_card(tmp_path, selftest=expected(years=4.0))
    known_answers.record(card, {PREPARED: Answer(50.0)}, {})
    raw = json.loads((tmp_path / "tiny.json").read_text())
    assert raw["selftest"]["tolerances"]["years"] == 4.0
    assert list(raw["selftest"]["answers"]) == [PREPARED]


def test_a_card_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    card = make_card(tmp_path)
    monkeypatch.setattr("bidsapp_brainage.io.write_json", refuse)
    with pytest.raises(ResourceError, match=r"tiny.json cannot be written: read-only.*models_dir"):
        known_answers.record(card, {PREPARED: Answer(50.0)}, {})
