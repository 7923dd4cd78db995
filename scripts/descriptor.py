"""The Boutiques descriptor of the app, made from its options; document.py writes it."""

from __future__ import annotations

import argparse
import json
import typing
from collections.abc import Iterator
from typing import Any

_TYPES = {int: "Number", float: "Number"}
_NO_RUN = ("help", "version")


def descriptor() -> str:
    """Text of the descriptor: every option that changes a run, the exit codes, the image."""
    from bidsapp_brainage import __version__
    from bidsapp_brainage.cli.parser import PROGRAM, build_parser
    from bidsapp_brainage.errors import ExitCode

    parser = build_parser()
    inputs = list(_inputs(parser))
    keys = [item["value-key"] for item in inputs]
    content = {
        "name": PROGRAM,
        "tool-version": __version__,
        "description": parser.description,
        "author": "The bidsapp-brainage developers",
        "schema-version": "0.5",
        "command-line": " ".join([PROGRAM, *keys]),
        "container-image": {"type": "docker", "image": f"{PROGRAM}:{__version__}"},
        "inputs": inputs,
        "groups": list(_groups(parser)),
        "output-files": [
            {
                "id": "output",
                "name": "Derivatives",
                "description": "BIDS derivatives of every scan, reports, tables of the group.",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            },
            {
                "id": "reports",
                "name": "Reports",
                "description": "One page for every participant.",
                "path-template": "[OUTPUT_DIR]/sub-*.html",
                "list": True,
                "optional": True,
            },
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 6},
        "error-codes": [{"code": int(c), "description": c.meaning} for c in ExitCode if c],
        "tags": {"domain": ["neuroinformatics", "mri"], "bids-app": True},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _inputs(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    return (_input(action) for action in parser._actions if action.dest not in _NO_RUN)


def _input(action: argparse.Action) -> dict[str, Any]:
    """One positional argument or option, as Boutiques describes it."""
    from bidsapp_brainage.settings import all_options

    option = all_options().get(action.dest)
    flag = next((name for name in action.option_strings if name.startswith("--")), None)
    facts: dict[str, Any] = {
        "id": action.dest,
        "name": flag or action.dest,
        "type": _type(action),
        "description": (action.help or "").replace("%%", "%"),
        "value-key": f"[{action.dest.upper()}]",
        "optional": flag is not None,
    }
    if flag:
        facts["command-line-flag"] = flag
    if facts["type"] == "Number" and option is not None and option.kind is int:
        facts["integer"] = True
    if choices := _choices(action):
        facts["value-choices"] = choices
    if action.nargs in ("+", "*") or (option is not None and option.joined):
        facts["list"] = True
    if option is not None and option.joined:
        facts["list-separator"] = ","
    return facts


def _type(action: argparse.Action) -> str:
    """Kind of input; Boutiques asks for a File to be there before the run."""
    from bidsapp_brainage.settings import all_options

    option = all_options().get(action.dest)
    if action.nargs == 0:
        return "Flag"
    if option is None:
        return "File" if action.dest == "bids_dir" else "String"
    if option.exists and option.read is None:
        return "File"
    return "String" if option.read else _TYPES.get(option.kind, "String")


def _choices(action: argparse.Action) -> list[str]:
    """Words that are allowed, where nothing else is."""
    from bidsapp_brainage.settings import all_options, sections

    if action.choices is not None:
        return list(action.choices)
    option = all_options().get(action.dest)
    hint = option and typing.get_type_hints(sections()[option.section])[option.name]
    return list(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else []


def _groups(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    for number, group in enumerate(parser._mutually_exclusive_groups):
        yield {
            "id": f"exclusive_{number}",
            "name": "Only one of these",
            "members": [action.dest for action in group._group_actions],
            "mutually-exclusive": True,
        }
