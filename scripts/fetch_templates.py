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
    """Return the files of one query; an empty answer or an empty file is a LookupError."""
    from templateflow import api

    found = api.get(template, **query)
    files = [Path(path) for path in (found if isinstance(found, list) else [found])]
    if not files or any(path.stat().st_size == 0 for path in files):
        raise LookupError(f"{template} {query}")
    return files


def fetch_all() -> list[str]:
    """Fetch every file, print its size, and return what TemplateFlow does not have."""
    missing = []
    for template, query in queries():
        try:
            for path in fetch(template, query):
                print(f"{path.name}: {path.stat().st_size} bytes")
        except LookupError as error:
            missing.append(str(error))
    return missing


def main() -> int:
    """Fetch everything, or say what could not be fetched."""
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode not in ("auto", "yes", "no") or "TEMPLATEFLOW_HOME" not in os.environ:
        print(f"{__doc__}\nTEMPLATEFLOW_HOME must name the folder to fill.", file=sys.stderr)
        return 2
    if mode == "no":
        print("Templates are not fetched: the embedded template and atlas remain.")
        return 0
    try:
        missing = fetch_all()
    except Exception as error:  # the client raises errors of several libraries when offline
        missing = [f"TemplateFlow cannot be reached: {error!r}"]
    if missing:
        listing = "\n  ".join(missing)
        print(f"Not fetched:\n  {listing}", file=sys.stderr)
        print("They can be fetched later; see docs/installation.md.", file=sys.stderr)
    return 1 if missing and mode == "yes" else 0


if __name__ == "__main__":
    sys.exit(main())
