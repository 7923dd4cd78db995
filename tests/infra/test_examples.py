"""The examples in the docstrings give what they say, offline."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "examples.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "bidsapp_brainage").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.attempted
    assert not result.failed


def test_the_page_of_examples_gives_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*$", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    page = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    result = doctest.DocTestRunner(optionflags=FLAGS).run(page)
    assert result.attempted
    assert not result.failed


def test_every_public_function_has_an_example() -> None:
    page, python, api = (
        (ROOT / "docs" / name).read_text(encoding="utf-8")
        for name in ("examples.md", "python.md", "api.md")
    )
    page += python
    listed = re.findall(r"automodule:: (\S+)\n\s+:members:(.*)", api)
    assert listed
    for module_name, members in listed:
        module = importlib.import_module(module_name)
        names = [name.strip() for name in members.split(",") if name.strip()]
        for name in names or [name for name in vars(module) if not name.startswith("_")]:
            thing = getattr(module, name)
            if inspect.isfunction(thing) and thing.__module__ == module_name:
                has_own = ">>> " in (thing.__doc__ or "")
                assert has_own or re.search(rf"\b{name}\(", page), f"{module_name}.{name}"
