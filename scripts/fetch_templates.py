"""Fetch the templates and atlases that the app's cards name into TEMPLATEFLOW_HOME.

Usage: fetch_templates.py {auto,yes,no}. Used while the container image is built, and by hand
to fill a folder that is then given to the app on a machine without network. With ``auto`` a
failure is only reported.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

EMBEDDED_TEMPLATE = "MNI152NLin2009aSym"
IMAGE = [".nii.gz"]


def atlas_cards() -> list[dict[str, Any]]:
    """Return the cards of all atlases that come through TemplateFlow."""
    folder = resources.files("bidsapp_brainage").joinpath("data/atlases")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".json"))
    cards = [json.loads(folder.joinpath(name).read_text("utf-8")) for name in names]
    return [
        card
        for card in cards
        if card["source"] == "templateflow" and card["template"] != EMBEDDED_TEMPLATE
    ]


def queries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield template and query of every file to fetch: templates first, then atlases."""
    cards = atlas_cards()
    for template in sorted({card["template"] for card in cards}):
        yield template, {"resolution": 1, "desc": None, "suffix": "T1w", "extension": IMAGE}
        yield template, {"resolution": 1, "desc": "brain", "suffix": "mask", "extension": IMAGE}
    for card in cards:
        yield card["template"], {**card["image"], "extension": IMAGE}
        yield card["template"], {**card["table"]["query"], "extension": ".tsv"}


def fetch(template: str, query: dict[str, Any]) -> list[Path]:
    """Return the files of one query; an empty answer or an empty file is an error."""
    from templateflow import api

    found = api.get(template, **query)
    files = [Path(path) for path in (found if isinstance(found, list) else [found])]
    if not files or any(path.stat().st_size == 0 for path in files):
        raise OSError(f"TemplateFlow gave nothing for {template} {query}")
    return files


def fetch_all() -> None:
    """Fetch every file and print its size."""
    for template, query in queries():
        for path in fetch(template, query):
            print(f"{path.name}: {path.stat().st_size} bytes")


def remove_placeholders(home: Path) -> None:
    """Remove the empty files by which TemplateFlow marks what could be fetched, and empty folders.

    Without network they look like templates and are none.
    """
    for path in list(home.rglob("*")):
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()
    for path in sorted(home.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def main() -> int:
    """Fetch everything, or say what could not be fetched."""
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode not in ("auto", "yes", "no") or "TEMPLATEFLOW_HOME" not in os.environ:
        print(f"{__doc__}\nTEMPLATEFLOW_HOME must name the folder to fill.", file=sys.stderr)
        return 2
    if mode == "no":
        print("Templates are not fetched: the embedded template and atlas remain.")
        return 0
    status = 0
    try:
        fetch_all()
    except Exception as error:  # the client raises errors of several libraries when offline
        print(f"TemplateFlow could not be read: {error!r}", file=sys.stderr)
        print("What is missing can be fetched later; see docs/installation.md.", file=sys.stderr)
        status = 1 if mode == "yes" else 0
    remove_placeholders(Path(os.environ["TEMPLATEFLOW_HOME"]))
    return status


if __name__ == "__main__":
    sys.exit(main())
