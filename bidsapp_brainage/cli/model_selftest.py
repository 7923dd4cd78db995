"""Subcommand ``import`` of ``brainage-model``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.settings import all_options


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    parser = subparsers.add_parser(
        "import",
        help="put weight files that you downloaded where a card expects them",
        description="Files are recognised by their checksums, whatever their names are, and copied "
        "byte by byte; nothing is converted.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="weights, as published")
    parser.add_argument("--card", required=True, metavar="NAME", help="the model, or its card")
    parser.add_argument(
        "--accept-licence", action="store_true", help="accept a non-commercial licence"
    )
    parser.set_defaults(handler=import_model)
    add_option(parser, all_options()["models_dir"])


def import_model(options: argparse.Namespace) -> int:
    """Copy weights to their place and say what is there now."""
    from bidsapp_brainage.model.cards import fetched_folder, find_card
    from bidsapp_brainage.model.weights.importing import import_weights

    card = find_card(options.card, options.models_dir)
    print(f"{card.name}: licence: {card.licence}")
    done = import_weights(
        card,
        options.files,
        fetched_folder(options.models_dir),
        accept_licence=options.accept_licence,
    )
    for file, final in done.placed:
        print(f"{file} -> {final} (checksum as on the card)")
    if done.missing:
        print(f"{card.name}: still missing: {', '.join(done.missing)}")
        return 0
    print(f"{card.name}: complete in {done.card.folder}")
    return 0
