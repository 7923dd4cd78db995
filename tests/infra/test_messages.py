"""The core speaks of arguments; only the command line knows its flags."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Options of other programs that the core names or starts.
FOREIGN = {"--nv", "--gpus", "--format"}
#: They declare the flags, or are pages and dictionaries for those who typed them.
ALLOWED = {"catalogue", "demo", "options", "reports", "settings"}


def _core() -> list[Path]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names = {name.partition(".")[2] for name in contracts["contracts"][1]["source_modules"]}
    assert names >= {"atlas", "bids", "explain", "group", "imaging", "model", "stats", "training"}
    places = [ROOT / "bidsapp_brainage" / name for name in sorted(names - ALLOWED)]
    modules = [place.with_suffix(".py") for place in places]
    files = [path for path in modules if path.exists()]
    return sorted(files + [path for place in places for path in place.rglob("*.py")])


@pytest.mark.parametrize("path", _core(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_core_names_no_flag(path: Path) -> None:
    text = re.sub(r"flags=\(.*\)", "", path.read_text(encoding="utf-8"))  # declarations
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*\w", text)) <= FOREIGN
