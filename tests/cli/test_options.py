"""One declaration makes the flag, the help, the type and the check of an option."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.options import Option, at_least, one_of, option, options_of
from bidsapp_brainage.settings import all_options


@dataclass(frozen=True)
class Section:
    how_many: int = option(3, check=at_least(2), help="how many")
    share: float = option(0.5, help="in % of all")
    mode: Literal["fast", "exact"] = option("fast", help="how")
    words: tuple[str, ...] = option(
        ("a",), joined=True, check=one_of(("a", "b")), metavar="WORD[,WORD...]", help="which"
    )
    folder: Path | None = option(None, flags=("-f", "--the-folder"), exists="folder", help="where")
    limit: int | None = option(None, check=at_least(1), help="at most (default: no limit)")
    started: str = ""


def options() -> dict[str, Option]:
    return {item.name: item for item in options_of(Section, "section", "some options")}


def parse(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    for item in options().values():
        if item.help:
            add_option(parser, item)
    return vars(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (("--how-many", "4", "--share", "2"), {"how_many": 4, "share": 2.0}),
        (("--how_many", "4"), {"how_many": 4}),
        (("--mode", "exact", "--words", "b, a,b"), {"mode": "exact", "words": ("b", "a")}),
        (("-f", "x"), {"folder": Path("x")}),
        (("--the_folder", "x"), {"folder": Path("x")}),
        (("--limit", "auto"), {"limit": None}),
    ],
)
def test_flags_and_values(arguments, values):
    assert parse(*arguments) == values


def test_values_become_the_words_that_give_them() -> None:
    """For all options of the app: words of their own values are read as these values."""
    special = {
        "country_code": "DEU",
        "derivatives": (("fmriprep", Path("/data/x")),),
        "memory_gb": 7.25,
        "bias_correction": "file:/data/line.json",
        "explain": ("cubes", "lrp"),
        "device": "cuda:1",
        "output_spaces": ("MNIInfant:cohort-2",),
        "occlusion_baseline": ("mean", "blur"),
        "lrp_rules": "epsilon_plus",
    }
    of_kind = {int: 3, float: 2.5, bool: True, str: "word", Path: Path("/data/x")}
    chosen = {}
    for item in all_options().values():
        if item.help:
            own = ("a1", "b2") if item.several else of_kind.get(item.kind)
            own = item.default if item.metavar.startswith("{") else own
            own = (Path("/a"), Path("/b")) if item.several and item.kind is Path else own
            chosen[item.name] = special.get(item.name, own)
    options = all_options()
    words = [word for name, value in chosen.items() for word in options[name].arguments(value)]
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    for name in chosen:
        add_option(parser, options[name])
    read = {key: options[key].take(value) for key, value in vars(parser.parse_args(words)).items()}
    given = {name: options[name].take(value) for name, value in chosen.items()}
    assert read == {name: value for name, value in given.items() if value not in (None, False, ())}
    assert options["verbose"].arguments(2) == ["--verbose", "--verbose"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--how-many", "1"), "1 is not a whole number of 2 or more"),
        (("--how-many", "x"), "'x' is not a whole number of 2 or more"),
        (("--share", "x"), "'x' is not a number"),
        (("--mode", "slow"), "'slow' is not one of fast, exact"),
        (("--words", "a,c"), "'c' is not one of a, b"),
    ],
)
def test_command_line_and_files_are_checked_alike(arguments, words, capsys):
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("how_many", 1, "`how_many`: 1 is not a whole number of 2 or more."),
        ("how_many", True, "expected a whole number"),
        ("mode", "slow", "`mode`: 'slow' is not one of fast, exact."),
        ("words", "a", "expected a list"),
        ("words", ["c"], "`words`: 'c' is not one of a, b."),
        ("folder", 3, "expected a path"),
    ],
)
def test_values_from_elsewhere(name, value, words):
    with pytest.raises(UsageError) as caught:
        options()[name].take(value)
    assert words in str(caught.value)


def test_help_tells_default_and_value():
    known = options()
    assert known["how_many"].full_help == "how many (default: 3)"
    assert known["words"].full_help == "which (default: a)"
    assert known["limit"].full_help == "at most (default: no limit)"
    assert known["folder"].full_help == "where"
    assert [known[name].metavar for name in ("how_many", "mode", "folder")] == [
        "N",
        "{fast,exact}",
        "DIR",
    ]
    assert not known["started"].recorded
