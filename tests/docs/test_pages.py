"""The pages about options and columns say what the code says."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bidsapp_brainage.catalogue.lookup import OUTPUTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("script", ["document.py", "draw.py"])
def test_what_is_generated_is_current(script: str) -> None:
    answer = subprocess.run(
        [sys.executable, f"scripts/{script}", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, f"run scripts/{script}: {answer.stdout}{answer.stderr}"


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("docs/*.md")) + [ROOT / "README.md"], ids=lambda path: path.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(linked), f"{page.name} links to {target}"


def test_documented_options_exist() -> None:
    options = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    foreign = {"--nv", "--cleanenv", "--containall", "--env", "--check", "--gpus", "--secret"}
    foreign |= {"--output-layout"}
    for page in ("usage", "limits"):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - foreign:
            assert f"`{option}`" in options, f"docs/{page}.md names {option}"


def test_the_glossary_names_what_there_is() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    places = [line.split("|")[3] for line in text.splitlines() if line.count("|") == 4]
    columns = {column.name for card in OUTPUTS for column in card.columns}
    for place in places:
        for name in re.findall(r"`(\w+(?:\.\w+)+)`", place):
            assert pkgutil.resolve_name(f"bidsapp_brainage.{name}") is not None, name
        for name in re.findall(r"`(\w+)`", place.partition("column")[2]):
            assert name in columns


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
