"""JSON that is nested or large beyond reason, in every place where a user can put one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bidsapp_brainage import io
from bidsapp_brainage.atlas.registry import list_atlases
from bidsapp_brainage.bids.ages import AgeBook
from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.bids.input.images import read_filter_file
from bidsapp_brainage.errors import BrainageError
from bidsapp_brainage.model.bias_correction import read_bias_correction
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.training.recipe import load_recipe

DEEP = '{"a":' * 10_000 + "1" + "}" * 10_000


def large(path: Path) -> None:
    """200 MB that no disk holds: one object with a hole in it."""
    path.write_text('{"a": 1')
    os.truncate(path, 200_000_000)


def deep(path: Path) -> None:
    path.write_text(DEEP)


def _ages(folder: Path, damage: Callable[[Path], None]) -> Path:
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    damage(folder / "participants.json")
    AgeBook(folder)
    return folder


#: What reads JSON of a user: called with the path of a file.
READERS: dict[str, Callable[[Path], object]] = {
    "model card": load_card,
    "bias correction": read_bias_correction,
    "filter file": read_filter_file,
    "recipe": load_recipe,
    "atlas card": lambda path: list_atlases(path.parent),
}


@pytest.mark.parametrize("damage", [deep, large])
@pytest.mark.parametrize("reader", READERS)
def test_it_is_refused_by_name(tmp_path: Path, reader: str, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "file.json"
    damage(path)
    with pytest.raises(BrainageError, match=r"file\.json.*(nested too deeply|200 MB)"):
        READERS[reader](path)


@pytest.mark.parametrize("damage", [deep, large])
def test_it_beside_a_table_is_refused_by_name(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with pytest.raises(BrainageError, match=r"participants\.json.*(nested too deeply|200 MB)"):
        _ages(tmp_path, damage)


@pytest.mark.parametrize("damage", [deep, large])
def test_it_among_derivatives_is_a_problem_that_is_noted(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(tmp_path / "a.json")
    derivatives = Derivatives(tmp_path)
    assert derivatives.facts(tmp_path / "a.json") == {}
    assert "a.json" in derivatives.problems[0]
    assert io.read_json(tmp_path / "a.json") == {}


def test_what_is_sane_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("\ufeff" + json.dumps({"a": [[[1]]]}))
    assert io.parse_json(path) == {"a": [[[1]]]}
