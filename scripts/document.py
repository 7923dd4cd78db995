"""Write options.md, atlases.md, columns.md, models/published.md and tables of others.

They are made from the parser and from the cards, and so is the Boutiques descriptor.

Usage: document.py [--check]. With --check nothing is written and the status is 1 if a page is
not what the code says; the test suite does that, so the pages cannot go stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidsapp_brainage.catalogue.cards import Column, Output
    from bidsapp_brainage.model.cards import ModelCard

DOCS = Path(__file__).resolve().parents[1] / "docs"
GENERATED = "<!-- made by scripts/document.py; do not edit -->\n"
BEGIN = {
    "dataset": "", "subject": "", "figures": "", "atlas": "", "group": "figures/group",
    "template": "tpl-T/anat/tpl-T", "phenotype": "phenotype/", "ratings": "ratings/",
}  # fmt: skip
LABELS = {
    "space": "T", "atlas": "A", "seg": "S", "scale": "N", "res": "R",
    "from": "T1w", "to": "T", "mode": "image", "label": "TISSUE", "cohort": "AGES", "rater": "NAME",
}  # fmt: skip


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
    """Return the page of all table columns, from the cards that make the dictionaries, too."""
    from bidsapp_brainage.catalogue.columns import SHARED
    from bidsapp_brainage.catalogue.lookup import OUTPUTS

    lines = [
        GENERATED,
        "# Columns of the tables",
        "",
        "The same text stands in the `.json` beside each table. A missing value is `n/a`.",
        "",
        "## In several tables",
        "",
        *_column_table(SHARED),
    ]
    told = {("", column) for column in map(repr, SHARED)}
    for card in (card for card in OUTPUTS if card.is_table):
        names = ", ".join(f"`{column.name}`" for column in card.columns)
        lines += [f"## `{_pattern(card)}`", "", f"{_sentence(card)} In this order: {names}.", ""]
        new = [c for c in card.columns if not {("", repr(c)), (card.suffix, repr(c))} & told]
        told |= {(card.suffix, repr(column)) for column in new}
        lines += _column_table(new) if new else []
    return "\n".join(lines)


def outputs_page() -> str:
    """Return the page about outputs with its tables made anew; the words around them stay."""
    from bidsapp_brainage.catalogue.lookup import OUTPUTS

    page = (DOCS / "outputs.md").read_text(encoding="utf-8")
    for name, chosen in _BLOCKS.items():
        rows = [_output_row(card) for card in OUTPUTS if chosen(card)]
        page = _filled(page, name, ["| file | what it is |", "|---|---|", *rows])
    return page


def intervals_page() -> str:
    """Return the page about intervals and flags with its tables made anew."""
    from bidsapp_brainage.catalogue.flags import FLAGS

    page = (DOCS / "intervals.md").read_text(encoding="utf-8")
    head = ["| flag | meaning | may stand in `ood_flag` |", "|---|---|---|"]
    rows = [f"| `{f.key}` | {f.meaning} | {'yes' if f.of_model else 'no'} |" for f in FLAGS]
    return _filled(_filled(page, "flags", [*head, *rows]), "quality", _quality_rows())


def _quality_rows() -> list[str]:
    """Measures of quality with their limits and what was seen in reference people."""
    from bidsapp_brainage.catalogue.lookup import output
    from bidsapp_brainage.imaging.expected import FAIL, REFERENCE, REFERENCE_PEOPLE, WARN

    lines = [
        f"| column | asks for a look | fails | seen in {REFERENCE_PEOPLE} |",
        "|---|---|---|---|",
    ]
    for name in (column.name for column in output("qc").columns):
        seen = REFERENCE.get(name)
        between = f"{seen[0]:g} to {seen[-1]:g}" if seen else ""
        cells = [_limit(WARN.get(name)), _limit(FAIL.get(name)), between]
        if any(cells):
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def _limit(limits: tuple[float | None, float | None] | None) -> str:
    low, high = limits or (None, None)
    ends = (("below", low), ("above", high))
    return " or ".join(f"{where} {end:g}" for where, end in ends if end is not None)


_BLOCKS: dict[str, Callable[[Output], object]] = {
    "dataset": lambda card: card.level in ("dataset", "atlas", "template"),
    "scan": lambda card: card.level == "subject",
    "figures": lambda card: card.level == "figures",
    "model": lambda card: card.level == "group" and card.suffix and "atlas" not in card.required,
    "atlas": lambda card: card.level == "group" and "atlas" in card.required,
    "elsewhere": lambda card: card.level in ("phenotype", "ratings") or not card.suffix,
}


def segmentation_page() -> str:
    """Return the page about the segmentation with the overlaps of its card; the words stay."""
    from bidsapp_brainage.segmentation.card import EMBEDDED, bundled_folder, load_segmentation_card

    card = load_segmentation_card(bundled_folder() / f"{EMBEDDED}.json")
    tissues = dict(zip(card.labels.table["name"], card.labels.table["tissue"], strict=True))
    dice = sorted(card.raw["dice"].items(), key=lambda item: item[0] in tissues)  # sums first
    rows = [f"| {name} | {tissues.get(name, '')} | {value:.2f} |" for name, value in dice]
    page = (DOCS / "models" / "segmentation.md").read_text(encoding="utf-8")
    return _filled(page, "dice", ["| region | tissue | Dice |", "|---|---|---|", *rows])


def _filled(page: str, name: str, lines: list[str]) -> str:
    """Put lines between the marks of a table."""
    before, start, rest = page.partition(f"<!-- table: {name} -->\n")
    return before + start + "\n".join([*lines, ""]) + rest[rest.index("<!-- end -->") :]


def _output_row(card: Output) -> str:
    mark = " *" if card.level == "group" and card.always and card.is_table else ""
    text = card.description[:1].lower() + card.description[1:].rstrip(".")
    return f"| `{_name(card)}`{mark} | {_cell(text)}{_condition(card)} |"


def _condition(card: Output) -> str:
    from bidsapp_brainage.catalogue.methods import METHODS

    keys = [m.key for m in METHODS if card in m.outputs and m.chosen == "option"]
    return f"; only with `--explain {keys[0]}`" if keys else ""


def _name(card: Output) -> str:
    """Name with capital letters for labels; what may be absent stands in brackets."""
    if card.level == "group" and card.suffix:
        return card.suffix + card.extension
    labels = LABELS | {"desc": card.desc.replace("{model}", "MODEL")}
    labels |= {"space": card.space} if card.space else {}
    parts = (
        f"_{key}-{labels[key]}" if key in card.required else f"[_{key}-{labels[key]}]"
        for key in card.entities
    )
    end = f"_{card.suffix or 'FIGURE'}{card.extension}"
    begin = BEGIN[card.level]
    if "cohort" in card.entities:
        begin = begin.replace("/", f"/[cohort-{LABELS['cohort']}/]", 1)
    folder, _, name = (begin + "".join(parts) + end).rpartition("/")
    return f"{folder}/{name.removeprefix('_')}".removeprefix("/")


def _pattern(card: Output) -> str:
    begin = {"group": "group_*_", "atlas": "atlas-*_", "subject": "*_"}.get(card.level)
    return f"{BEGIN[card.level] if begin is None else begin}{card.suffix}{card.extension}"


def _sentence(card: Output) -> str:
    text = card.description
    return f"{text[:1].upper()}{text[1:]}."


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


def published_page() -> str:
    """Return the page of the networks of others: how their authors preprocessed, and how we do."""
    from bidsapp_brainage.model.cards import bundled_folder, load_card
    from bidsapp_brainage.model.description import accuracy

    cards = [load_card(path) for path in sorted(bundled_folder().glob("[!.]*.json"))
             if path.name != "card.schema.json"]  # fmt: skip
    cards = [card for card in cards if "preprocessing" in card.raw]
    lines = [GENERATED, *_PUBLISHED.splitlines(), "", "| card | network | MAE (years) | "]
    lines[-1] += "measured on | ages | licence |"
    lines.append("|---|---|---|---|---|---|")
    for card in cards:
        mae, people = accuracy(card)
        members = f"{len(card.weights)} x " * (len(card.weights) > 1)
        network = members + str(card.architecture.get("text", "")).removeprefix("a ")
        ages = f"{card.age_range[0]:g}-{card.age_range[1]:g}"
        ages += " (assumed)" * ("age_range_source" in card.training)
        known = ("-", "-") if mae is None else (f"{mae:g}", people or "-")
        cells = (f"`{card.name}`", network, *known, ages, card.licence)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    alike: dict[str, list[ModelCard]] = {}
    for card in cards:
        alike.setdefault(json.dumps(card.raw["preprocessing"]), []).append(card)
    for same in alike.values():
        lines += ["", f"## {', '.join(f'`{card.name}`' for card in same)}", ""]
        lines += _preprocessing(same[0].raw["preprocessing"])
    return "\n".join(lines)


_PUBLISHED = """\
# Published networks and their preprocessing

How the authors of each network made its input, and how this app differs. `brainage-model show NAME`
tells the same. The errors are the authors' own, on their data."""


def _preprocessing(facts: dict[str, Any]) -> list[str]:
    """What a card tells about preprocessing, as lists."""
    headings = {
        "authors": f"The authors ({facts['source']}):",
        "differences": "This app differs:",
        "derivatives": "With `--derivatives` ([how](../models.md#the-authors-preprocessing)):",
    }
    lines = []
    for key, heading in headings.items():
        if key in facts:
            lines += [heading, "", *(f"- {_cell(text)}" for text in facts[key]), ""]
    return lines[:-1]


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


def _column_table(columns: Iterable[Column]) -> list[str]:
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    for column in columns:
        meaning = column.description or column.long_name
        if column.levels:
            levels = (f"`{name}`: {text.rstrip('.')}" for name, text in column.levels.items())
            meaning += f" Levels: {'; '.join(levels)}."
        lines.append(f"| `{column.name}` | {column.units} | {_cell(meaning)} |")
    return [*lines, ""]


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
    return " ".join(escaped.split())


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with its content."""
    from descriptor import descriptor  # beside this script

    yield DOCS / "options.md", options_page().rstrip() + "\n"
    yield DOCS / "atlases.md", atlases_page().rstrip() + "\n"
    yield DOCS / "columns.md", columns_page().rstrip() + "\n"
    yield DOCS / "intervals.md", intervals_page()
    yield DOCS / "models" / "published.md", published_page().rstrip() + "\n"
    yield DOCS / "models" / "segmentation.md", segmentation_page()
    yield DOCS / "outputs.md", outputs_page()
    yield DOCS.parent / "containers" / "bidsapp-brainage.json", descriptor()


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
