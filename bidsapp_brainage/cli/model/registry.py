"""Subcommands ``list``, ``show``, ``fetch`` and ``verify`` of ``brainage-model``."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.errors import BrainageError
from bidsapp_brainage.settings import all_options, in_flags

if TYPE_CHECKING:
    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.morphometry.card import MorphometryCard

    Card = ModelCard | MorphometryCard

_BAR_WIDTH = 28
_BAR_INTERVAL_S = 0.2
_BYTES_PER_PARAMETER = 4
_COLUMNS = ("name", "architecture", "ages", "mae", "people", "licence", "size", "state")
_WIDTHS = {"licence": 28, "people": 48}  # longer ones are cut in the table


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    parser = subparsers.add_parser("list", help="table of all models")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(handler=list_models)
    parser = _add_models_dir(parser)
    parser = subparsers.add_parser("show", help="everything about a model")
    parser.add_argument("name", help="of the model, or path of its card")
    parser.add_argument("--json", action="store_true", help="the card as it is")
    parser.set_defaults(handler=show_model)
    _add_models_dir(parser)
    parser = subparsers.add_parser("fetch", help="download weights (the only one that goes online)")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument(
        "--accept-licence", action="store_true", help="accept a non-commercial licence"
    )
    parser.set_defaults(handler=fetch_models)
    _add_models_dir(parser)
    parser = subparsers.add_parser("verify", help="hash all weights anew")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that are there")
    parser.set_defaults(handler=verify_models)
    _add_models_dir(parser)


def _add_models_dir(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    add_option(parser, all_options()["models_dir"])
    return parser


def list_models(options: argparse.Namespace) -> int:
    """Print one row per model; a card that cannot be used says why in its row."""
    found = _all_cards(options.models_dir)
    rows = [_row(card) for card in found.values() if not isinstance(card, BrainageError)]
    rows += [
        _broken_row(name, card) for name, card in found.items() if isinstance(card, BrainageError)
    ]
    rows.sort(key=lambda row: str(row["name"]))
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    table = [[name.upper() for name in _COLUMNS]]
    table += [[_cell(row, name) for name in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        text = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(text.rstrip())
    return 0


def show_model(options: argparse.Namespace) -> int:
    """Print a card in readable form."""
    card = _find(options.name, options.models_dir)
    if options.json:
        print(json.dumps(card.raw, indent=2, ensure_ascii=False))
        return 0
    print(f"{card.name} {card.version}\n{card.description}\n")
    print(f"state: {_state(card)}")
    print(f"folder: {card.folder}")
    for key, value in card.raw.items():
        if key not in ("name", "version", "description", "schema_version"):
            print("\n".join(_lines(key, value)))
    return 0


def fetch_models(options: argparse.Namespace) -> int:
    """Download the named models."""
    from bidsapp_brainage.model.cards import ModelCard, fetched_folder
    from bidsapp_brainage.model.weights.fetching import fetch

    folder = fetched_folder(options.models_dir)
    for name in options.names:
        card = _find(name, options.models_dir)
        if (
            not isinstance(card, ModelCard)
            or all(weight.url is None for weight in card.weights)
            and _state(card) == "ready"
        ):
            print(f"{name}: nothing to fetch, its weights came with it")
            continue
        print(f"{name}: licence: {card.licence}")
        bar = _Bar()
        try:
            fetched = fetch(card, folder, accept_licence=options.accept_licence, progress=bar)
        finally:
            bar.end()
        print(f"{name}: ready in {fetched.folder}")
    return 0


def verify_models(options: argparse.Namespace) -> int:
    """Hash weights; exits with the code of the first fault after all were looked at."""
    from bidsapp_brainage.model.weights.files import verify_weights

    chosen: dict[str, Card | BrainageError]
    if options.names:
        chosen = {name: _find(name, options.models_dir) for name in options.names}
    else:
        chosen = _all_cards(options.models_dir)
    code = 0
    for name, card in chosen.items():
        try:
            if isinstance(card, BrainageError):
                raise card
            if not options.names and _state(card) == "to fetch":
                continue
            verify_weights(card)
        except BrainageError as error:
            print(f"{name}: FAILED: {in_flags(str(error))}")
            code = error.exit_code
        else:
            print(f"{card.name}: ok ({len(card.weights)} files)")
    return code


class _Bar:
    """Progress on the standard error: a bar on a terminal, nothing into a file."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._open = False

    def __call__(self, file: str, done: int, total: int | None) -> None:
        complete = total is not None and done >= total
        if not sys.stderr.isatty() or (
            not complete and time.monotonic() - self._drawn < _BAR_INTERVAL_S
        ):
            return
        self._drawn, self._open = time.monotonic(), True
        known = f"{done / 1e6:.1f} MB"
        if total:
            filled = min(_BAR_WIDTH, _BAR_WIDTH * done // total)
            known = f"[{'#' * filled:<{_BAR_WIDTH}}] {known} of {total / 1e6:.1f} MB"
        line = f"{file} {known}"[: shutil.get_terminal_size().columns - 1]
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._open:
            print(file=sys.stderr)


def _find(name: str, models_dir: Path | None) -> Card:
    """A card of a model of images, or of measures of FreeSurfer."""
    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.morphometry import card as morphometry

    if name in morphometry.list_cards():
        return morphometry.load_card(morphometry.bundled_folder() / f"{name}.json")
    return find_card(name, models_dir)


def _all_cards(models_dir: Path | None) -> dict[str, Card | BrainageError]:
    """Every model by name: its card, or why the card cannot be used."""
    from bidsapp_brainage.model.cards import list_cards
    from bidsapp_brainage.morphometry import card as morphometry

    found: dict[str, Card | BrainageError] = {}
    for name in [*list_cards(models_dir), *morphometry.list_cards()]:
        try:
            found[name] = _find(name, models_dir)
        except BrainageError as error:
            found[name] = error
    return found


def _row(card: Card) -> dict[str, Any]:
    from bidsapp_brainage.model.description import accuracy

    sizes = [weight.size for weight in card.weights]
    exact = sum(size for size in sizes if size is not None) if None not in sizes else None
    parameters = card.architecture.get("n_parameters")
    about = None if parameters is None else _BYTES_PER_PARAMETER * parameters * len(sizes)
    mae, people = accuracy(card)
    return {
        "name": card.name,
        "version": card.version,
        "architecture": card.architecture["id"],
        "sees": _sees(card),
        "members": len(card.weights),
        "ages": list(card.age_range),
        "mae": mae,
        "people": people,
        "licence": card.licence,
        "non_commercial": card.non_commercial,
        "size": exact if exact is not None else about,
        "size_is_exact": exact is not None,
        "state": _state(card),
        "folder": str(card.folder),
    }


def _sees(card: Card) -> str:
    from bidsapp_brainage.morphometry.card import MorphometryCard

    return "FreeSurfer" if isinstance(card, MorphometryCard) else "image"


def _broken_row(name: str, error: BrainageError) -> dict[str, Any]:
    """Row of a card that cannot be used: its name, and the reason on one line."""
    reason = " ".join(in_flags(str(error)).split())
    return {"name": name, "state": f"broken: {reason}"}


def _state(card: Card) -> str:
    from bidsapp_brainage.model.weights.files import weights_present

    if weights_present(card):
        return "ready"
    fetchable = all(weight.url or weight.path.is_file() for weight in card.weights)
    return "to fetch" if fetchable else "weights missing"


def _cell(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return "" if "architecture" not in row else "?"
    if column == "architecture":
        several = f"{row['members']} x " if row["members"] > 1 else ""
        return several + value + (f" ({row['sees']})" if row["sees"] != "image" else "")
    if column == "ages":
        return f"{value[0]:g}-{value[1]:g}"
    if column == "mae":
        return f"{value:.2f}"
    if column == "size":
        return f"{'' if row['size_is_exact'] else '~'}{value / 1e6:.1f} MB"
    if column in _WIDTHS:
        short = str(value).split(" (")[0] if column == "licence" else str(value)
        return textwrap.shorten(short, _WIDTHS[column], placeholder=" ...", break_on_hyphens=False)
    return str(value)


def _lines(key: str, value: Any, depth: int = 0) -> Iterator[str]:
    """A value of a card as indented lines."""
    indent = "  " * depth
    if isinstance(value, dict) and value:
        yield f"{indent}{key}:"
        for name, item in value.items():
            yield from _lines(name, item, depth + 1)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield f"{indent}{key}:"
        for place, item in enumerate(value, start=1):
            yield from _lines(str(place), item, depth + 1)
    elif isinstance(value, list) and any(" " in str(item) for item in value):
        yield f"{indent}{key}:"
        yield from (f"{indent}  - {_plain(item)}" for item in value)
    else:
        yield f"{indent}{key}: {_plain(value)}"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return _joined(value)
    return str(value)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(f"({_plain(v)})" if isinstance(v, list) else _plain(v) for v in values)
