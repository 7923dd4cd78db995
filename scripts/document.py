"""Write docs/options.md, atlases.md and columns.md from the parser, the cards and dictionaries.

Usage: document.py [--check]. With --check nothing is written and the status is 1 if a page is
not what the code says; the test suite does that, so the pages cannot go stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
GENERATED = "<!-- made by scripts/document.py; do not edit -->\n"
TITLES = {
    "brainage": "`*_brainage.tsv`: predicted age",
    "agedist": "`*_agedist.tsv`: distribution over age bins",
    "occlusion": "`*_occlusion.tsv`: contribution of each region",
    "qc": "`*_qc.tsv`: image quality",
    "metrics": "`group_*_metrics.tsv`: accuracy",
    "occlusionstats": "`group_*_occlusionstats.tsv`: contributions in the group",
    "participants": "`participants.tsv`",
    "dseg": "`atlas-*_dseg.tsv`",
    "descriptions": "`descriptions.tsv`",
}


def options_page() -> str:
    """Return the page of all command-line options, in the order of ``--help``."""
    from bidsapp_brainage.cli.parser import build_parser
    from bidsapp_brainage.errors import ExitCode

    parser = build_parser()
    lines = [GENERATED, "# Options", "", "```text", _usage(parser), "```", ""]
    lines += ["Every option may be written with underscores instead of hyphens.", ""]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        if not actions:
            continue
        lines += [f"## {(group.title or 'Options').capitalize()}", ""]
        if group.description:
            lines += [group.description, ""]
        lines += ["| option | meaning |", "|---|---|"]
        lines += [_option_row(parser, action) for action in actions]
        lines.append("")
    lines += ["## Exit status", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {code} | {code.meaning} |" for code in ExitCode]
    return "\n".join(lines)


def columns_page() -> str:
    """Return the page of all table columns, from the dictionaries written beside the tables."""
    text = resources.files("bidsapp_brainage").joinpath("data/bids_columns.json").read_text("utf-8")
    dictionaries = json.loads(text)
    lines = [
        GENERATED,
        "# Columns of the tables",
        "",
        "The same text stands in the `.json` beside each table. A missing value is `n/a`.",
        "",
        "## In several tables",
        "",
        *_column_table(dictionaries["shared"]),
    ]
    for kind, columns in dictionaries["kinds"].items():
        if columns:
            lines += [f"## {TITLES.get(kind, f'`*_{kind}.tsv`')}", "", *_column_table(columns)]
    return "\n".join(lines)


def atlases_page() -> str:
    """Return the page of all atlas cards that come with the app."""
    folder = resources.files("bidsapp_brainage").joinpath("data/atlases")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".json"))
    lines = [GENERATED, "# Atlases", "", "| `--atlas` | what it is | template | licence |"]
    lines.append("|---|---|---|---|")
    for name in names:
        card = json.loads(folder.joinpath(name).read_text("utf-8"))
        licence = card["description"].get("License", "")
        cells = (f"`{card['name']}`", card["summary"], card["template"], licence)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _usage(parser: argparse.ArgumentParser) -> str:
    return f"{parser.prog} BIDS_DIR OUTPUT_DIR {{participant,group}} [options]"


def _option_row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    shown = [name for name in action.option_strings if "_" not in name]
    names = ", ".join(f"`{name}`" for name in shown) or f"`{action.dest}`"
    value = _value(action)
    meaning = (action.help or "") % _help_values(parser, action)
    return f"| {names}{f' *{value}*' if value else ''} | {_cell(meaning)} |"


def _help_values(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, Any]:
    values = {**vars(action), "prog": parser.prog}
    if action.choices is not None:
        values["choices"] = ", ".join(map(str, action.choices))
    return values


def _value(action: argparse.Action) -> str:
    """What is written after the option."""
    if action.nargs == 0 or not action.option_strings:
        return ""
    if action.metavar:
        name = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices is not None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        name = action.dest.upper()
    return name + (" ..." if action.nargs in ("+", "*") else "")


def _column_table(columns: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    for name, facts in columns.items():
        meaning = facts.get("Description", facts.get("LongName", ""))
        levels = facts.get("Levels", {})
        if levels:
            meaning += " Levels: " + "; ".join(_level(k, v) for k, v in levels.items()) + "."
        lines.append(f"| `{name}` | {facts.get('Units', '')} | {_cell(meaning)} |")
    return [*lines, ""]


def _level(name: str, meaning: Any) -> str:
    text = meaning.get("Description", "") if isinstance(meaning, dict) else str(meaning)
    return f"`{name}`: {text.rstrip('.')}"


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
    return " ".join(escaped.split())


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated page with its content."""
    yield DOCS / "options.md", options_page().rstrip() + "\n"
    yield DOCS / "atlases.md", atlases_page().rstrip() + "\n"
    yield DOCS / "columns.md", columns_page().rstrip() + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for path, text in pages():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"{'stale' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
